"""audit: this member's own verification of the log."""

from __future__ import annotations

import typer

from alliance.output import show_one
from member_agent.commands.options import JSON, home

audit = typer.Typer(no_args_is_help=True, help="The Merkle log of every exchange, verified here.")


@audit.command("verify")
def verify(context: typer.Context, as_json: bool = JSON) -> None:
    """Fetch what is new, recompute the root, compare it with the signed head; a difference exits with 11."""
    from member_agent.app import open_agent

    with open_agent(home(context)) as agent, agent.connect() as hub:
        head = agent.log.update(hub)
    show_one({"verified": True, "size": head.size, "root": head.root.hex()}, as_json=as_json)
