"""What a leaf says, what is found wrong with one row, and the few ways to tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select

from hub.migrations.tables import metadata


class Said(NamedTuple):
    """What a leaf says: a digest or a word, and which leaf it is."""

    value: bytes | str
    leaf: int


class Told(NamedTuple):
    """A leaf, as far as it concerns a row that has no digest of its own in the log; `time` in microseconds."""

    actor: str
    digest: bytes
    time: int
    leaf: int


# A row and its leaf are of one transaction, and each reads the clock.
TOLERANCE = 60 * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One object that is not what the log says: where it is stored, its key, and what is wrong."""

    table: str
    key: str
    problem: str


def rows(tx: Connection, table: str) -> Iterator[Row[Any]]:
    """Every row of a table, by its primary key, a page at a time in memory."""
    found = metadata.tables[table]
    query = select(found).order_by(*found.primary_key.columns).execution_options(yield_per=1000)
    yield from tx.execute(query)


def compare(table: str, key: str, what: str, found: bytes | str | None, said: Said | None) -> Iterator[Finding]:
    if said is None:
        yield Finding(table=table, key=key, problem="the log says nothing of it")
    elif found != said.value:
        shown = in_words(said.value)
        yield Finding(table=table, key=key, problem=f"its {what} is {in_words(found)}, {by(said)} says {shown}")


def timed(table: str, key: str, what: str, found: int, told: Told) -> Iterator[Finding]:
    """A row's time against that of its leaf."""
    if abs(found - told.time) > TOLERANCE:
        yield Finding(table=table, key=key, problem=f"its {what} is {found}, leaf {told.leaf} is of {told.time}")


def absent(table: str, keys: set[Any], said: Mapping[Any, Said | Told]) -> Iterator[Finding]:
    for key in sorted(keys):
        yield Finding(table=table, key=key_of(key), problem=f"is missing, {by(said[key])} says it was made")


def unexplained(table: str, keys: set[Any]) -> Iterator[Finding]:
    for key in sorted(keys):
        yield Finding(table=table, key=key_of(key), problem="the log says nothing of it")


def by(said: Said | Told) -> str:
    return f"leaf {said.leaf}" if said.leaf >= 0 else "the log"


def key_of(key: object) -> str:
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def in_words(value: bytes | str | None) -> str:
    if value is None:
        return "none"
    return value.hex() if isinstance(value, bytes) else value
