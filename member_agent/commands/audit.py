"""audit: this member's own verification of the log, and what other members saw of it."""

from __future__ import annotations

from pathlib import Path

import typer

from alliance.output import show, show_one
from member_agent.commands.options import JSON, home

audit = typer.Typer(no_args_is_help=True, help="The Merkle log of every exchange, verified here.")


@audit.command("verify")
def verify(
    context: typer.Context,
    leaves: bool = typer.Option(False, "--leaves", help="Also fetch every leaf again and compare it with the copy."),
    as_json: bool = JSON,
) -> None:
    """Recompute this member's whole copy, compare it with the hub's newest head and with what others saw.

    A difference exits with 11.
    """
    from member_agent.app import open_agent

    with open_agent(home(context)) as agent, agent.connect() as hub:
        agent.witnesses.exchange(hub)
        head = agent.log.recompute()
        if leaves:
            agent.log.compare_leaves(hub)
        others = [one for one in agent.witnesses.seen() if not one.own and not one.gone]
    show_one({"verified": True, "size": head.size, "root": head.root.hex(), "witnesses": len(others)}, as_json=as_json)


@audit.command("status")
def status(context: typer.Context, as_json: bool = JSON) -> None:
    """Show which member has seen which head, as each signed it; without asking the hub."""
    from member_agent.app import open_agent

    with open_agent(home(context)) as agent:
        head = agent.log.head()
        size = head.size if head else 0
        rows: list[dict[str, object]] = [
            {
                "member": one.member + (" (this one)" if one.own else ""),
                "size": one.size,
                "behind": size - one.size,
                "root": one.root.hex()[:16],
                "time": one.time.isoformat(timespec="seconds"),
            }
            for one in agent.witnesses.seen()
            if not one.gone
        ]
        missing = agent.witnesses.missing()
    show(rows, as_json=as_json)
    if missing:
        typer.echo('warning: no other member was heard of for a day; compare with "audit compare"', err=True)


@audit.command("head")
def head(
    context: typer.Context,
    key: bool = typer.Option(False, "--key", help="Print the log's key, as it was pinned at joining."),
    as_json: bool = JSON,
) -> None:
    """Print the newest verified head as the hub signed it, to be sent to another member."""
    from alliance.errors import FailedPrecondition
    from member_agent.app import open_agent

    with open_agent(home(context)) as agent:
        found, log_key = agent.log.head(), str(agent.log.key)
    if key:
        typer.echo(log_key)
        return
    if found is None:
        raise FailedPrecondition("no head was verified yet", reason="LOG_EMPTY", remedy='run "audit verify" first')
    if as_json:
        show_one({"size": found.size, "root": found.root.hex(), "checkpoint": found.note, "key": log_key}, as_json=True)
    else:
        typer.echo(found.note, nl=False)


@audit.command("compare")
def compare(
    context: typer.Context,
    file: typer.FileText = typer.Argument(..., help="What another member's `audit head` printed; - reads it here."),
    as_json: bool = JSON,
) -> None:
    """Hold another member's head against this member's log: a hub that shows two logs is found out, exit code 11."""
    from alliance.checkpoint import MAX_NOTE_CHARS
    from member_agent.app import open_agent

    note = file.read(MAX_NOTE_CHARS + 1)
    with open_agent(home(context)) as agent, agent.connect() as hub:
        found = agent.witnesses.compare(hub, note)
    show_one({"same": True, "size": found.size, "root": found.root.hex()}, as_json=as_json)


@audit.command("export")
def export(
    context: typer.Context,
    out: Path = typer.Option(..., "--out", help="A new folder."),
    as_json: bool = JSON,
) -> None:
    """Write the whole log with everybody's statements, for an auditor who checks it without us."""
    from member_agent.app import open_agent
    from member_agent.proofs import export_log

    with open_agent(home(context)) as agent, agent.connect() as hub:
        newest = agent.witnesses.exchange(hub)
        agent.log.complete(hub)
        count = export_log(out, agent.log, newest, witnesses=agent.witnesses, directory=agent.directory, hub=hub)
    show_one({"folder": str(out), "leaves": count, "root": newest.root.hex()}, as_json=as_json)
