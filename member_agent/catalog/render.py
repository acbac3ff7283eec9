"""What the catalogue's commands print: tables for people on a terminal, plain values for `--json`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from member_agent.catalog.model import ColumnMap, ImportReport, Product, SourceSummary
from member_agent.catalog.planning import ImportPlan

_SAMPLE_WIDTH = 60
_SHOWN_KEYS = 5
_PIPE_WIDTH = 200


def plan(plan: ImportPlan) -> None:
    """Shows, on standard error, the columns an import would use."""
    table = Table(title=f"Columns of {plan.source}, guessed", title_justify="left")
    for heading in ("field", "column", "for example"):
        table.add_column(heading)
    for field, column in plan.columns.columns.items():
        table.add_row(field.value, column, plan.samples.get(field, "")[:_SAMPLE_WIDTH])
    _print(table, stderr=True)
    if plan.unmapped:
        print(f"left out: {', '.join(plan.unmapped)}", file=sys.stderr)


def report(report: ImportReport, *, prune: bool) -> None:
    """Prints how an import ended."""
    counts = report.counts
    head = f"{report.source}: {counts.rows:,} rows" + (" (dry run, nothing stored)" if report.dry_run else "")
    if report.resumed_after:
        head += f", resumed after row {report.resumed_after:,}"
    print(head)
    print(
        f"  new {counts.new:,}, changed {counts.changed:,}, unchanged {counts.unchanged:,}, "
        f"rejected {counts.rejected:,}, warnings {counts.warnings:,}"
    )
    if counts.vanished:
        shown = ", ".join(report.vanished_keys[:_SHOWN_KEYS])
        keys = f" ({shown}{', ...' if counts.vanished > _SHOWN_KEYS else ''})" if shown else ""
        what = "withdrawn" if counts.withdrawn else "still active; withdraw them with --prune"
        if report.prune_held:
            what = "still active: rows without a readable id may be theirs; repair those and import again"
        elif report.dry_run and prune:
            what = "would be withdrawn"
        print(f"  vanished {counts.vanished:,}{keys}: {what}")
    if report.errors_file:
        print(f"  row errors: {report.errors_file}", file=sys.stderr)


def products(found: Sequence[Product]) -> None:
    """Prints products, one a row."""
    table = Table()
    for heading in ("id", "source", "key", "title", "brand", "model", "pictures"):
        shrinks = heading in ("key", "title")
        table.add_column(heading, overflow="ellipsis", no_wrap=True, min_width=None if shrinks else len(heading))
    for one in found:
        pictures = str(len(one.image_paths) or "")
        table.add_row(str(one.id), one.source, one.source_key, one.title, one.brand, one.model, pictures)
    _print(table)


def sources(found: Sequence[SourceSummary]) -> None:
    """Prints sources, one a row."""
    table = Table()
    for heading in ("source", "format", "active", "missing", "withdrawn", "last import"):
        table.add_column(heading)
    for one in found:
        last = one.imported_time.isoformat(timespec="seconds") if one.imported_time else "never finished"
        last += " (a later one was interrupted)" if one.interrupted and one.imported_time else ""
        table.add_row(one.name, one.format, str(one.active), str(one.missing), str(one.withdrawn), last)
    _print(table)


def lines(values: Mapping[str, object]) -> str:
    width = max(map(len, values))
    return "\n".join(f"{name:<{width}}  {_line(value)}" for name, value in values.items())


def report_values(report: ImportReport, columns: ColumnMap) -> dict[str, Any]:
    return {
        "source": report.source,
        "dry_run": report.dry_run,
        **dataclasses.asdict(report.counts),
        "resumed_after": report.resumed_after,
        "prune_held": report.prune_held,
        "vanished_keys": list(report.vanished_keys),
        "errors_file": str(report.errors_file) if report.errors_file else None,
        "map": map_values(columns),
    }


def product_values(product: Product) -> dict[str, Any]:
    return {
        "id": product.id,
        "source": product.source,
        "source_key": product.source_key,
        "state": product.state.value,
        "title": product.title,
        "brand": product.brand,
        "model": product.model,
        "gtin": product.gtin,
        "mpn": product.mpn,
        "category": product.category,
        "condition": product.condition,
        "url": product.url,
        "price": None if product.price is None else str(product.price),
        "currency": product.currency,
        "images": [str(path) for path in product.image_paths],
        "links_not_fetched": [image.link for image in product.images if image.path is None],
        "content_digest": product.content_digest.hex(),
    }


def source_values(source: SourceSummary) -> dict[str, Any]:
    values = dataclasses.asdict(source)
    values["imported_time"] = source.imported_time.isoformat() if source.imported_time else None
    return values


def map_values(columns: ColumnMap) -> dict[str, Any]:
    values = dataclasses.asdict(dataclasses.replace(columns, columns={}))
    return values | {"columns": {field.value: column for field, column in columns.columns.items()}}


def _print(table: Table, *, stderr: bool = False) -> None:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    # cells are the member's text, not markup
    Console(file=stream, width=width, markup=False, emoji=False, highlight=False).print(table)


def _line(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
