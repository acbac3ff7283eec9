"""screen: a file of listings against the banks held here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from alliance.output import show_one
from member_agent.commands.options import JSON, home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from member_agent.screening.model import Candidate

SHOWN_PROBLEMS = 20


def screen(
    context: typer.Context,
    file: Path = typer.Argument(..., help="Listings: CSV, TSV, JSONL, or a folder of pictures."),
    out: Path = typer.Option(..., help="Result file; .csv, .jsonl or .parquet."),
    bank: list[str] = typer.Option([], help="Only these banks; may be repeated."),
    column: list[str] = typer.Option([], help="FIELD=COLUMN, where the guess is wrong; may be repeated."),
    delimiter: str | None = typer.Option(None, help="Column delimiter, where the guess is wrong."),
    encoding: str | None = typer.Option(None, help="Text encoding; UTF-8 by default."),
    images: Path | None = typer.Option(None, help="Folder that image paths start from."),
    threshold: float = typer.Option(0.2, min=0.0, max=1.0, help="Least cosine of two titles."),
    per_listing: int = typer.Option(2, min=1, help="Most title candidates per listing."),
    per_fingerprint: int = typer.Option(3, min=1, help="Most title candidates per fingerprint and block."),
    report_hits: bool = typer.Option(True, "--report-hits/--no-report-hits", help="Tell publishers bucketed counts."),
    as_json: bool = JSON,
) -> None:
    """Match listings locally; nothing of them leaves. One result row per listing and fingerprint."""
    from alliance.names import bank_id, qualified
    from member_agent.app import open_agent
    from member_agent.catalog.listings import listings
    from member_agent.catalog.mapping import parse_assignments
    from member_agent.clock import utc_now
    from member_agent.screening import model, results, service
    from member_agent.screening.bank_index import TextLimits
    from member_agent.screening.pipeline import Screener

    results.check(out)
    wanted = {bank_id(qualified("banks", name)) for name in bank}
    with open_agent(home(context)) as agent:
        source = listings(file, said=parse_assignments(column), delimiter=delimiter, encoding=encoding, images=images)
        screener = Screener(
            service.open_contents(agent.banks, agent.keyring, wanted, now=utc_now()),
            agent.keyring,
            decoder=agent.decoder,
            limits=TextLimits(threshold=threshold, per_listing=per_listing, per_fingerprint=per_fingerprint),
        )
        found: list[Candidate] = []

        def kept() -> Iterator[Candidate]:
            for candidate in screener.run(source, progress=lambda s: _note(f"{s.listings} listings")):
                found.append(candidate)
                yield candidate

        results.write(out, kept())
        if report_hits:
            service.report_hits(agent.db, model.hits(found), now=utc_now())
    summary = screener.summary
    row: dict[str, object] = {
        "listings": summary.listings,
        "matches": summary.matches,
        "candidates": summary.candidates,
        "images": summary.images,
        "fingerprints": summary.fingerprints,
        "versions": summary.versions,
        "problems": list(summary.problems) if as_json else len(summary.problems),
        "out": str(out),
    }
    show_one(row, as_json=as_json)
    if not as_json:
        for problem in summary.problems[:SHOWN_PROBLEMS]:
            typer.echo(f"left out: {problem}", err=True)


def _note(text: str) -> None:
    """Progress, where someone is looking."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
