"""How both command lines print: aligned columns for people, JSON for programs, one line for an error."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence

from alliance.errors import AllianceError

_BREAKS = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]")
# Control characters, and those that turn the direction of what follows.
_OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def show(rows: Sequence[dict[str, object]], *, as_json: bool) -> None:
    """A list as aligned columns or as a JSON array; the keys of the first row are the columns."""
    if as_json:
        print(json.dumps(rows, indent=2, default=str))
        return
    if not rows:
        print("(none)")
        return
    columns = list(rows[0])
    cells = [columns] + [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def show_one(row: dict[str, object], *, as_json: bool) -> None:
    """One thing, a line per property or a JSON object."""
    if as_json:
        print(json.dumps(row, indent=2, default=str))
        return
    width = max(len(key) for key in row)
    for key, value in row.items():
        print(f"{key.ljust(width)}  {_cell(value)}")


def run(command_line: Callable[[], object]) -> None:
    """Loads and runs a command line; an AllianceError becomes one line on standard error and its exit code."""
    plain_help()
    try:
        command_line()
    except AllianceError as error:
        print(f"error: {plain(str(error))} [{plain(error.reason)}]", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def plain_help() -> None:
    """Keeps typer 0.20 from escaping the brackets of "[required]" where rich is installed."""
    import typer.core

    typer.core.HAS_RICH = False


def plain(text: str) -> str:
    """On one line, with nothing that a terminal obeys: names and messages may come from whoever is at the other end."""
    return _OBEYED.sub("\N{REPLACEMENT CHARACTER}", _BREAKS.sub(" ", text))


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return plain(" ".join(f"{key}={inner}" for key, inner in value.items()))
    if isinstance(value, list | tuple):
        return plain(" ".join(str(inner) for inner in value))
    return plain(str(value))
