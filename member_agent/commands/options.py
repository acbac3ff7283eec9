"""What the commands share: the home, and JSON output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from member_agent.config import Home

JSON = typer.Option(False, "--json", help="Machine-readable output.")
BANK = typer.Option("", help="NAME or banks/NAME; needed where this member has several.")


def home(context: typer.Context) -> Home:
    from member_agent.config import Home

    return Home(path=context.obj["home"])
