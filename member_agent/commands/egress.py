"""egress: what left this member, and what is about to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from alliance.output import show, show_one
from member_agent.commands.options import JSON, home

if TYPE_CHECKING:
    from member_agent.outbox import Item

egress = typer.Typer(no_args_is_help=True, help="What left this member, and what is about to leave.")


@egress.command("log")
def log(
    context: typer.Context, last: int = typer.Option(50, min=1, help="How many of the newest."), as_json: bool = JSON
) -> None:
    """List payloads sent: when, what kind, how many bytes, their SHA-256."""
    from member_agent.ledger import Ledger

    place = home(context)
    place.load()
    ledger = Ledger(place.ledger_file)
    rows: list[dict[str, object]] = [
        {
            "id": entry.id,
            "time": entry.time.isoformat(timespec="milliseconds"),
            "kind": entry.kind,
            "message": entry.message,
            "bytes": entry.size,
            "sha256": entry.digest.hex(),
        }
        for entry in ledger.entries(last=last)
    ]
    ledger.close()
    show(rows, as_json=as_json)


@egress.command("summary")
def summary(context: typer.Context, as_json: bool = JSON) -> None:
    """Bytes sent, in all and by kind."""
    from member_agent.ledger import Ledger

    place = home(context)
    place.load()
    ledger = Ledger(place.ledger_file)
    totals = ledger.totals()
    ledger.close()
    show_one({"bytes": sum(totals.values()), "by_type": totals}, as_json=as_json)


@egress.command("prove")
def prove(
    context: typer.Context,
    payload: str = typer.Argument(..., help="A number of `egress log`, a SHA-256 of payload or batch, or: last."),
    out: Path | None = typer.Option(None, "--out", help="Write the proof to this file, for verify_log.py."),
    as_json: bool = JSON,
) -> None:
    """Show that what was sent stands in the hub's log: its leaf, under a head that was verified here."""
    import json

    from member_agent import proofs
    from member_agent.app import open_agent

    with open_agent(home(context)) as agent:
        entry, leaves = proofs.find(agent.ledger, payload)
        with agent.connect() as hub:
            head = agent.log.update(hub)
            agent.log.complete(hub)
        member = agent.identity.public.member
        made = proofs.prove(agent.log, head, member=member, payload=entry, leaves=leaves)
    documents = [proof.document() for proof in made]
    if out is not None:
        out.write_text(json.dumps(documents[0] if len(documents) == 1 else documents, indent=2))
    if as_json:
        show(documents, as_json=True)
        return
    show(
        [
            {
                "leaf": proof.leaf_index,
                "of": head.size,
                "event": proof.logged.event,
                "subject": proof.logged.subject,
                "content": proof.logged.content.hex(),
                "hashes": len(proof.hashes),
            }
            for proof in made
        ],
        as_json=False,
    )


@egress.command("types")
def types(as_json: bool = JSON) -> None:
    """The closed list: every message and field that can leave at all."""
    from member_agent.egress import CLOSED_LIST

    rows: list[dict[str, object]] = [
        {"message": name, "kind": entry.kind or "(part)", "fields": list(entry.fields)}
        for name, entry in sorted(CLOSED_LIST.items())
    ]
    show(rows, as_json=as_json)


@egress.command("preview")
def preview(
    context: typer.Context,
    limit: int = typer.Option(10, min=1, help="How many waiting items."),
    sealed_bytes: int = typer.Option(256, min=0, help="How many bytes of each sealed batch to show."),
    as_json: bool = JSON,
) -> None:
    """Show what waits in the outbox, byte for byte, before it goes."""
    from itertools import islice

    from member_agent.app import open_agent
    from member_agent.outbox import State

    with open_agent(home(context)) as agent:
        rows = [
            _row(item, agent.outbox.sealed(item)[:sealed_bytes])
            for item in islice(agent.outbox.items(State.WAITING), limit)
        ]
    if as_json:
        show(rows, as_json=True)
        return
    for row in rows:
        show_one(row, as_json=False)
        typer.echo("")
    typer.echo(f"{len(rows)} waiting")


def _row(item: Item, sealed: bytes) -> dict[str, object]:
    from google.protobuf.json_format import MessageToDict

    return {
        "item": item.id,
        "message": item.message,
        "fields": MessageToDict(item.request, preserving_proto_field_name=True),
        "bytes": item.request.SerializeToString(deterministic=True).hex(),
        "sealed_size": item.sealed_size,
        "sealed": sealed.hex(),
    }
