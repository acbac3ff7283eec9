"""screen: a file of listings against the banks and the models held here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from alliance.output import show_one
from member_agent.commands.options import JSON, home

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from member_agent.screening.model import Hits, Result, Summary

SHOWN_PROBLEMS = 20


def screen(
    context: typer.Context,
    file: Path = typer.Argument(..., help="Listings: CSV, TSV, JSONL, or a folder of pictures."),
    out: Path = typer.Option(..., help="Result file; .csv, .jsonl or .parquet."),
    bank: list[str] = typer.Option([], help="Only these banks; may be repeated."),
    no_banks: bool = typer.Option(False, "--no-banks", help="Look nothing up in banks, only ask models."),
    model: list[str] = typer.Option(
        [], help="Only the models of these detectors; may be repeated. By default all held whose columns the file has."
    ),
    no_models: bool = typer.Option(False, "--no-models", help="Ask no models, only look up in banks."),
    as_released: bool = typer.Option(
        False, "--as-released", help="Ask the shared models themselves, not this member's blends of them and its own."
    ),
    role: list[str] = typer.Option(
        [], help="[DETECTOR:]ROLE=COLUMN, where a model's column is not found by itself; may be repeated."
    ),
    model_threshold: int = typer.Option(
        50, min=0, max=100, help="A model's score that lists a listing which no fingerprint matches."
    ),
    column: list[str] = typer.Option([], help="FIELD=COLUMN, where the guess is wrong; may be repeated."),
    delimiter: str | None = typer.Option(None, help="Column delimiter, where the guess is wrong."),
    encoding: str | None = typer.Option(None, help="Text encoding; UTF-8 by default."),
    images: Path | None = typer.Option(None, help="Folder that image paths start from."),
    threshold: float = typer.Option(0.2, min=0.0, max=1.0, help="Least cosine of two titles."),
    per_listing: int = typer.Option(2, min=1, help="Most title candidates per listing."),
    per_fingerprint: int = typer.Option(3, min=1, help="Most title candidates per fingerprint and block."),
    tlp_at_most: str | None = typer.Option(
        None, help="Match only what may be shown so widely, for a result to hand on: clear, green, amber."
    ),
    report_hits: bool = typer.Option(True, "--report-hits/--no-report-hits", help="Tell publishers bucketed counts."),
    as_json: bool = JSON,
) -> None:
    """Match listings, and score them by models, locally; nothing of them leaves. One row per listing and match."""
    from collections import Counter
    from contextlib import ExitStack
    from functools import partial

    from alliance.audience import tlp
    from alliance.errors import InvalidInput
    from alliance.names import bank_id, qualified
    from member_agent.app import open_agent
    from member_agent.catalog.listings import open_listings
    from member_agent.catalog.mapping import parse_assignments
    from member_agent.clock import utc_now
    from member_agent.commands import held_models
    from member_agent.screening import model as results_model
    from member_agent.screening import results, service
    from member_agent.screening.bank_index import TextLimits
    from member_agent.screening.pipeline import Screener

    results.check(out)
    at_most = None if tlp_at_most is None else tlp(tlp_at_most, field="--tlp-at-most")
    for one, excluded, field in ((bank, no_banks, "--bank"), (model, no_models, "--model")):
        if one and excluded:
            raise InvalidInput("named and excluded at once", field=field, remedy="leave one of the two out")
    roles = held_models.parse_roles(role)
    wanted = {bank_id(qualified("banks", name)) for name in bank}
    counted: Hits = Counter()
    with open_agent(home(context)) as agent, ExitStack() as stack:
        opened = (
            held_models.Opened() if no_models else held_models.open_models(agent, stack, model, as_released=as_released)
        )
        said = parse_assignments(column)
        read = partial(open_listings, file, said=said, delimiter=delimiter, encoding=encoding, images=images)
        listings = read(titled=not opened.scorers)
        chosen = held_models.choose(opened, listings, roles, insist=bool(model))
        _tell_left_out({} if as_json else chosen.left_out)
        if no_banks:
            held_models.require_any(chosen)
        # Without a model to ask, listings must have what banks are searched by.
        listings = listings if chosen.models else read()
        banks_wanted = not no_banks and (wanted or agent.banks.states() or not chosen.models)
        contents = []
        if banks_wanted:
            contents = service.open_contents(agent.banks, agent.keyring, wanted, now=utc_now(), at_most=at_most)
        screener = Screener(
            contents,
            agent.keyring,
            decoder=agent.decoder,
            limits=TextLimits(threshold=threshold, per_listing=per_listing, per_fingerprint=per_fingerprint),
            models=chosen.models,
            least_risk=model_threshold,
        )

        def kept() -> Iterator[Result]:
            source = listings.rows(keep=chosen.columns)
            for one in screener.run(source, progress=lambda s: _note(f"{s.listings} listings")):
                counted.update(results_model.hits((one,)))
                yield one

        results.write(out, kept())
        if report_hits:
            service.report_hits(agent.db, counted, now=utc_now())
    _tell(screener.summary, chosen.left_out, out, as_json=as_json)


def _tell(summary: Summary, left_out: Mapping[str, str], out: Path, *, as_json: bool) -> None:
    row: dict[str, object] = {
        "listings": summary.listings,
        "matches": summary.matches,
        "candidates": summary.candidates,
        "scored": summary.scored,
        "risks": summary.risks,
        "images": summary.images,
        "fingerprints": summary.fingerprints,
        "versions": summary.versions,
        "models": summary.models,
        "problems": list(summary.problems) if as_json else summary.problem_count,
        "out": str(out),
    }
    if as_json:
        row |= {"problem_count": summary.problem_count, "models_left_out": dict(left_out)}
    show_one(row, as_json=as_json)
    if not as_json:
        for problem in summary.problems[:SHOWN_PROBLEMS]:
            typer.echo(f"left out: {problem}", err=True)


def _tell_left_out(left_out: Mapping[str, str]) -> None:
    for name, why in left_out.items():
        typer.echo(f"not asked: {name}: {why}", err=True)


def _note(text: str) -> None:
    """Progress, where someone is looking."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
