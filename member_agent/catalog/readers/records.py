"""One row as read, and what every reader offers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from member_agent.catalog.model import RowError


@dataclass(frozen=True, slots=True)
class Record:
    """A row's cells by column name. With an `error`, the cells are those that could still be told apart."""

    number: int
    cells: Mapping[str, str]
    error: RowError | None = None


class Reader(Protocol):
    """A source opened for reading; `records()` may be called again and starts from the first row."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def total(self) -> int:
        """Bytes (or files) there are to read; 0 where nobody knows."""

    @property
    def done(self) -> int:
        """Bytes (or files) read by the latest `records()`."""

    def records(self) -> Iterator[Record]: ...


def broken(number: int, reason: str, message: str, cells: Mapping[str, str] | None = None) -> Record:
    """A record of a row whose structure is wrong."""
    error = RowError(row=number, field="", reason=reason, message=message)
    return Record(number, cells or {}, error)


def checked(number: int, cells: Mapping[str, str]) -> Record:
    """A record whose structure is right, with the error in it if its text cannot be stored."""
    text = "".join(cells.values())
    if "\0" in text:
        return broken(number, "NUL_BYTE", "a zero byte in the row", cells)
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return broken(number, "ENCODING_WRONG", "bytes that are not of the file's encoding", cells)
    return Record(number, cells)


def distinct(names: list[str]) -> tuple[str, ...]:
    """Column names made different: the second `price` becomes `price (2)`, an empty name its place."""
    seen: dict[str, int] = {}
    out: list[str] = []
    for place, raw in enumerate(names, start=1):
        name = raw.strip() or f"column {place}"
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(out)
