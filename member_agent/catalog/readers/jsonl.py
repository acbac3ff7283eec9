"""JSON Lines: one object a line, one level of nesting as `offer.price`, numbers exactly as written.

The columns are those of the first thousand objects; a key that first appears later is not a column. Lists of plain
values become lines of one cell, which is how several images of a product are told apart.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from alliance.errors import InvalidInput
from member_agent.catalog.readers.records import Record, broken, checked

_SAMPLE_ROWS = 1000
_MAX_LINE = 1 << 20


class JsonlReader:
    """Reads a JSON Lines file.

    Raises:
        InvalidInput: NOT_JSONL when none of the first lines is an object.
    """

    def __init__(self, path: Path, encoding: str) -> None:
        self._path = path
        self._encoding = encoding
        self._done = 0
        self.total = path.stat().st_size
        names = {name: None for record in islice(self.records(), _SAMPLE_ROWS) for name in record.cells}
        self.columns = tuple(name for name in names if name.encode("utf-8", "replace").decode() == name)
        if not self.columns:
            raise InvalidInput(
                f"{path.name} has no JSON object in its first lines",
                reason="NOT_JSONL",
                remedy="write one JSON object a line (jq -c '.[]' makes that of an array)",
            )

    @property
    def done(self) -> int:
        return self._done

    def records(self) -> Iterator[Record]:
        with (
            self._path.open("rb") as file,
            io.TextIOWrapper(file, self._encoding, "surrogateescape", newline="\n") as stream,
        ):
            number = 0
            while line := stream.readline(_MAX_LINE):
                number += 1
                whole = line.endswith("\n") or len(line) < _MAX_LINE
                while not whole and (rest := stream.readline(_MAX_LINE)):
                    line, whole = "", rest.endswith("\n")
                self._done = file.tell()
                if not line:
                    yield broken(number, "LINE_TOO_LONG", f"a line of {_MAX_LINE:,} characters or more")
                elif line.strip():
                    yield _record(number, line)
            self._done = self.total


def _record(number: int, line: str) -> Record:
    try:
        value = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
    except json.JSONDecodeError as error:
        return broken(number, "JSON_MALFORMED", f"{error.msg.lower()} at character {error.pos + 1}")
    except RecursionError:
        return broken(number, "JSON_MALFORMED", "nested too deeply")
    if not isinstance(value, dict):
        return broken(number, "JSON_NOT_AN_OBJECT", "the line is not a JSON object")
    cells: dict[str, str] = {}
    for name, item in value.items():
        if isinstance(item, dict):
            cells.update((f"{name}.{inner}", _text(deep)) for inner, deep in item.items())
        else:
            cells[name] = _text(item)
    return checked(number, cells)


def _text(value: object) -> str:
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "\n".join(_text(item) for item in value if not isinstance(item, list | dict))
    return str(value)
