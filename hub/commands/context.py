"""What every command shares: the home, the client, and how results are printed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from hub.config import Home
    from hub.operator_client import OperatorClient

JSON = typer.Option(False, "--json", help="Machine-readable output.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The global options, before any command."""

    home: Path | None = None
    kit: Path | None = None
    hub: str = ""


def home(context: typer.Context) -> Home:
    from hub.config import home_of

    return home_of(_options(context).home)


@contextmanager
def client(context: typer.Context) -> Iterator[OperatorClient]:
    from hub.operator_client import open_client

    options = _options(context)
    opened = open_client(home(context), kit=options.kit, address=options.hub)
    try:
        yield opened
    finally:
        opened.close()


def show(rows: Sequence[dict[str, object]], *, as_json: bool) -> None:
    """A list as aligned columns or as JSON; the keys of the first row are the columns."""
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        typer.echo("(none)")
        return
    columns = list(rows[0])
    cells = [columns] + [[str(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def show_one(row: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(row, indent=2))
        return
    width = max(len(key) for key in row)
    for key, value in row.items():
        typer.echo(f"{key.ljust(width)}  {value}")


def _options(context: typer.Context) -> Options:
    found = context.find_object(Options)
    return found or Options()
