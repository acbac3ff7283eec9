"""The result on the terminal: who took part, what was found, what the hub saw, and where to look next."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo.hub_cli import Hub
from demo.result import Outcome
from demo.scoring import ImageScore

_ROW_BYTES = 32


def show(outcome: Outcome, console: Console) -> None:
    """Prints the result. Generated data is called so in every heading."""
    mark = "GENERATED data: " if outcome.generated else ""
    for heading, table in (
        ("members", _members(outcome)),
        ("what was found", _figures(outcome)),
        ("altered pictures found again, of one copy of each kind a picture", _transforms(outcome.images)),
        ("what members gained by training together, on rows they held back", _gains(outcome)),
        ("what left the members, by type, from their own ledgers", _sent(outcome)),
    ):
        console.print(Text(f"\n{mark}{heading}", style="bold"))
        console.print(table)
    _at_the_hub(outcome, console)


def show_around(hub: Hub, place: Path, console: Console) -> None:
    """Prints the commands that look at the alliance while it is up."""
    console.print()
    lines = (
        f"The alliance is up: hub on {hub.address()}, an agent for every member. Look around from another terminal:",
        f"  alliance-hub --home {hub.home} member list",
        f"  alliance-hub --home {hub.home} bank list",
        f"  alliance-hub --home {hub.home} audit verify",
        f"  alliance-agent --home {place}/agents/MEMBER status",
        f"  alliance-agent --home {place}/agents/MEMBER egress log",
        f"  operator kit {hub.kit}, logs {place}/logs",
        "Ctrl-C stops it and removes everything.",
    )
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _members(outcome: Outcome) -> Table:
    table = Table()
    for heading in ("member", "role", "holds, and keeps"):
        table.add_column(heading)
    table.add_column("bytes sent", justify="right")
    for member in outcome.members:
        table.add_row(member.name, member.role, member.holds, f"{sum(member.sent.values()):,}")
    return table


def _figures(outcome: Outcome) -> Table:
    text, images = outcome.text, outcome.images
    table = Table(show_header=False)
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("meaning")
    published = ", ".join(f"{count:,} {bank}" for bank, count in outcome.published.items())
    table.add_row("fingerprints", f"{sum(outcome.published.values()):,}", published)
    for one in outcome.screenings:
        table.add_row(
            f"{one.member}, {one.bank}", f"{one.matches:,}", f"of {one.listings:,} listings match; {one.pairs:,} pairs"
        )
    table.add_row("text PC", f"{text.pc:.3f}", f"{text.found:,} of {text.true_pairs:,} true pairs are candidates")
    table.add_row("text PQ", f"{text.pq:.3f}", f"of {text.candidates:,} candidates")
    table.add_row(
        "image recall",
        f"{images.recall:.3f}",
        f"{sum(images.found.values()):,} of {sum(images.copies.values()):,} altered copies of published pictures",
    )
    table.add_row(
        "image false matches",
        f"{images.false_matches:,}",
        f"among those and {images.strangers:,} altered copies of unpublished ones",
    )
    table.add_row("told to publishers", f"{outcome.matched:,}", "fingerprints matched somewhere; how often, in buckets")
    table.add_row(
        "log", f"{outcome.log.size:,}", "entries, " + ("verified" if outcome.log.verified else "NOT VERIFIED")
    )
    table.add_row("time", f"{outcome.seconds:.0f} s", outcome.source)
    return table


def _transforms(images: ImageScore) -> Table:
    table = Table()
    table.add_column("copy was")
    for heading in ("found", "of", "recall"):
        table.add_column(heading, justify="right")
    for name, recall in images.by_transform.items():
        table.add_row(name, f"{images.found[name]:,}", f"{images.copies[name]:,}", f"{recall:.3f}")
    return table


def _gains(outcome: Outcome) -> Table:
    notes = [f"{one.detector}: {one.source}, {one.rounds} rounds" for one in outcome.learnt]
    notes.append("* for comparison, by the demo itself: no member and no hub has these rows together")
    notes.append("† halfway between alone and together, made by the member for itself: what it screens with")
    table = Table(caption="\n".join(notes), caption_justify="left")
    for heading in ("detector", "member", "metric"):
        table.add_column(heading)
    for heading in ("rows", "alone", "together", "gain", "blend†"):
        table.add_column(heading, justify="right")
    for learnt in outcome.learnt:
        for name, gain in learnt.gains.items():
            figures = (
                f"{gain.rows:,}",
                f"{gain.local:.3f}",
                f"{gain.federated:.3f}",
                f"{gain.federated - gain.local:+.3f}",
                f"{gain.blended:.3f}",
            )
            table.add_row(learnt.detector, name, learnt.metric, *figures)
        alone, together, blended = (fmean(gain[at] for gain in learnt.gains.values()) for at in range(3))
        figures = ("", f"{alone:.3f}", f"{together:.3f}", f"{together - alone:+.3f}", f"{blended:.3f}")
        table.add_row(learnt.detector, "mean", learnt.metric, *figures)
        figures = ("", "", f"{learnt.pooled:.3f}", f"{learnt.pooled - alone:+.3f}", "")
        table.add_row(learnt.detector, "all rows in one place*", learnt.metric, *figures)
        table.add_section()
    return table


def _sent(outcome: Outcome) -> Table:
    table = Table()
    table.add_column("type")
    table.add_column("bytes", justify="right")
    for kind, count in outcome.sent.items():
        table.add_row(kind, f"{count:,}")
    return table


def _at_the_hub(outcome: Outcome, console: Console) -> None:
    seen = outcome.at_the_hub
    console.print(
        Text(
            f"\nWhat the hub holds: {seen.size:,} bytes in {seen.files} files. "
            f"Of {seen.sought} product titles looked for in them, {seen.found} were found."
        )
    )
    if seen.sample:
        console.print(Text(f"For example, from {seen.sample_of[:40]}:"))
        for start in range(0, len(seen.sample), _ROW_BYTES):
            console.print(Text("  " + seen.sample[start : start + _ROW_BYTES].hex(" ", 4)), soft_wrap=True)
