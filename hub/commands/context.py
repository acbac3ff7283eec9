"""What every command shares: the home and the client."""

from __future__ import annotations

from collections.abc import Iterator
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
        opened.look_after_kit()
    finally:
        opened.close()


def _options(context: typer.Context) -> Options:
    found = context.find_object(Options)
    return found or Options()
