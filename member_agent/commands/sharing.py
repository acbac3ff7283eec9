"""publish, withdraw, published, sync: what this member shares and what it got."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import TYPE_CHECKING, TypeVar

import typer

from alliance.output import show, show_one
from member_agent.commands.options import BANK, JSON, home

if TYPE_CHECKING:
    from member_agent.sharing.publishing import Report

SHOWN_PROBLEMS = 20
E = TypeVar("E", bound=IntEnum)


def publish(
    context: typer.Context,
    bank: str = BANK,
    source: str = typer.Option("", help="Only products of this source of the catalogue."),
    marks: str = typer.Option(
        "genuine", help="What the fingerprints mark: genuine, counterfeit, never_made, authorised."
    ),
    confidence: int = typer.Option(100, min=0, max=100, help="How sure you are, in percent."),
    tlp: str = typer.Option(
        "amber", help="TLP 2.0 label, no stricter than the bank may hold: clear, green, amber, amber_strict."
    ),
    widen: bool = typer.Option(False, "--widen", help="Give this label also to what has a stricter one."),
    expires_days: int = typer.Option(0, min=0, help="Days until the fingerprints expire; 0 is never."),
    include_withheld: bool = typer.Option(False, "--include-withdrawn", help="Also what was withdrawn by hand."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Compute everything, send and keep nothing."),
    wait: bool = typer.Option(True, "--send/--no-send", help="Send now, or leave it to `run`."),
    as_json: bool = JSON,
) -> None:
    """Publish fingerprints of what is new or changed in the catalogue; withdraw what left it."""
    from alliance import audience
    from member_agent.app import default_bank, open_agent
    from member_agent.clock import utc_now
    from member_agent.sharing.making import Labels
    from member_agent.sharing.publishing import expiry_day
    from member_agent.sharing.rows import Marks

    labels = Labels(
        marks=_choice(Marks, marks, "--marks"),
        confidence=confidence,
        tlp=audience.tlp(tlp, field="--tlp"),
        expiry=expiry_day(expires_days, utc_now()),
    )
    with open_agent(home(context)) as agent, agent.connect() as hub, agent.publisher() as publisher:
        target = agent.target(hub, default_bank(agent, hub, bank), dry_run=dry_run)
        report = publisher.publish(
            target,
            labels,
            source=source,
            dry_run=dry_run,
            include_withheld=include_withheld,
            widen=widen,
            progress=lambda so_far: _note(f"{so_far.products} products, {so_far.rows} fingerprints"),
        )
        sent = agent.send(hub) if wait and not dry_run else None
    row = _report_row(report, dry_run=dry_run)
    if sent is not None:
        row |= {"sent": sent.sent, "failed": sent.failed, "waiting": sent.waiting}
    if as_json:
        row["problems"] = list(report.problems)
    show_one(row, as_json=as_json)
    if not as_json:
        for problem in report.problems[:SHOWN_PROBLEMS]:
            typer.echo(f"left out: {problem}", err=True)
        if len(report.problems) > SHOWN_PROBLEMS:
            typer.echo(f"... {len(report.problems) - SHOWN_PROBLEMS} more; --json shows all", err=True)
    if sent is not None and sent.failed:
        raise typer.Exit(1)


def withdraw(
    context: typer.Context,
    bank: str = BANK,
    source: str = typer.Option("", help="Everything of this source."),
    product: list[str] = typer.Option([], help="A product's key in its source; may be repeated."),
    everything: bool = typer.Option(False, "--all", help="Everything this agent published in the bank."),
    lost: bool = typer.Option(
        False, "--other-agents", help="What other agents of this member published, such as one that was lost."
    ),
    as_json: bool = JSON,
) -> None:
    """Withdraw published fingerprints; tombstones reach every member."""
    from alliance.errors import InvalidInput
    from member_agent.app import default_bank, open_agent
    from member_agent.sharing import lost as lost_batches

    if not (source or product or everything or lost):
        raise InvalidInput(
            "nothing named", field="--product", remedy="name --product, --source, --all or --other-agents"
        )
    with open_agent(home(context)) as agent, agent.connect() as hub, agent.publisher() as publisher:
        name = default_bank(agent, hub, bank)
        rows = 0
        if source or product or everything:
            rows += publisher.withdraw(name, source=source or None, keys=frozenset(product))
        if lost:
            agent.synchroniser.run(hub, only=name)
            rows += lost_batches.withdraw(agent.db, agent.banks, name, agent.identity)
        sent = agent.send(hub)
    show_one({"withdrawn": rows, "sent": sent.sent, "failed": sent.failed, "waiting": sent.waiting}, as_json=as_json)


def published(context: typer.Context, bank: str = BANK, as_json: bool = JSON) -> None:
    """List what this member published, with the bucketed match counts that others report."""
    from alliance.v1 import fingerprint_pb2 as pb
    from member_agent.app import default_bank, open_agent
    from member_agent.sharing import published as store

    with open_agent(home(context)) as agent, agent.connect() as hub:
        name = default_bank(agent, hub, bank)
        answers = hub.pages(pb.ListHitsRequest(bank=name), pb.ListHitsResponse, lambda page: page.hits)
        hits = {(bytes(one.batch_digest), one.row): one for one in answers}
        with agent.db.read() as tx:
            found = store.all_rows(tx, name)
    rows: list[dict[str, object]] = []
    for row in found:
        hit = hits.get((row.batch_digest, row.row))
        bucket = pb.HitBucket.Name(hit.bucket).removeprefix("HIT_BUCKET_").lower() if hit else "none"
        rows.append(
            {
                "fingerprint": f"{row.batch_digest.hex()}:{row.row}",
                "source": row.source,
                "product": row.source_key,
                "kind": row.kind,
                "tlp": row.tlp.label,
                "withdrawn": row.withdrawn,
                "hits": bucket,
                "reporting_members": hit.reporting_members if hit else 0,
            }
        )
    show(rows, as_json=as_json)


def sync(
    context: typer.Context,
    bank: str = typer.Option("", help="Only this bank."),
    again: bool = typer.Option(False, "--again", help="Forget what is held, fetch from the start."),
    as_json: bool = JSON,
) -> None:
    """Bring keys, banks and models to the hub's head, checking every byte; send what waits."""
    from alliance.errors import FailedPrecondition
    from alliance.names import bank_id, qualified
    from member_agent.app import open_agent

    only = bank_id(qualified("banks", bank)) if bank else None
    with open_agent(home(context)) as agent, agent.connect() as hub:
        hub.handshake()
        agent.follow_authorities(hub)
        agent.audit(hub)
        keys = agent.keyring.current_all(hub)
        agent.send(hub)
        synced = agent.synchroniser.run(
            hub, only=only, again=again, progress=lambda at: _note(f"{at.bank} {at.cursor}/{at.head}")
        )
        came = set() if only else {one.detector for one in agent.models.fetch(hub)}
        held = agent.models.held()
    rows: list[dict[str, object]] = [
        {
            "bank": one.bank,
            "scheme": one.scheme,
            "cursor": one.cursor,
            "new": one.new_entries,
            "batches": one.batches,
            "rows": one.rows,
        }
        for one in synced
    ]
    models: list[dict[str, object]] = [
        {"model": one.detector, "version": one.label, "new": one.detector in came} for one in held
    ]
    if as_json:
        waiting = {group: str(key) for group, key in keys.items() if isinstance(key, FailedPrecondition)}
        show_one({"banks": rows, "models": models, "keys_awaited": waiting}, as_json=True)
        return
    show(rows, as_json=False)
    if models:
        typer.echo("")
        show(models, as_json=False)
    for group, key in keys.items():
        if isinstance(key, FailedPrecondition):
            typer.echo(f"{group}: {key}", err=True)


def _report_row(report: Report, *, dry_run: bool) -> dict[str, object]:
    return {
        "bank": report.bank,
        "dry_run": dry_run,
        "products": report.products,
        "rows": report.rows,
        "batches": report.batches,
        "bytes": report.bytes_,
        "unchanged": report.unchanged,
        "withheld": report.withheld,
        "withdrawn": report.withdrawn,
        "kept_stricter": report.kept_stricter,
        "problems": len(report.problems),
    }


def _choice(kinds: type[E], text: str, field: str) -> E:
    from alliance.errors import InvalidInput

    try:
        return kinds[text.upper()]
    except KeyError:
        known = ", ".join(kind.name.lower() for kind in kinds)
        raise InvalidInput(f"unknown {text!r}", field=field, remedy=f"use one of {known}") from None


def _note(text: str) -> None:
    """Progress, where someone is looking."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
