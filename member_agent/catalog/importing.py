"""Running a plan: rows in, batches committed, a report out. Also the same without writing anything.

Both go through `merge`, so a dry run counts what a real one would do. A batch is one transaction with the cursor in
it; `progress` is told of rows only once they are committed.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from member_agent.catalog.images import find_images
from member_agent.catalog.merge import Batch, Stored, merge
from member_agent.catalog.model import ImportCounts, Progress, RowError, RunId, SourceId
from member_agent.catalog.parse import ParsedRow, RowParser
from member_agent.catalog.planning import ImportPlan
from member_agent.catalog.store import MAX_STORED_ERRORS, ImportStore
from member_agent.catalog.views import CatalogViews

REPORTED_KEYS = 20
ProgressSink = Callable[[Progress], None]


def import_rows(
    plan: ImportPlan,
    store: ImportStore,
    run: RunId,
    source: SourceId,
    *,
    after: int,
    batch_rows: int,
    progress: ProgressSink,
) -> None:
    """Stores the rows of a plan that come after row `after`, batch by batch."""
    for rows in _batches(plan, after, batch_rows):
        batch = _decide(plan, store, rows, run=run, met={})
        store.commit(run, source, batch)
        progress(Progress(rows=batch.cursor, done=plan.opened.reader.done, total=plan.opened.reader.total))


def rehearse(
    plan: ImportPlan, store: ImportStore, views: CatalogViews, *, batch_rows: int, progress: ProgressSink
) -> tuple[ImportCounts, tuple[str, ...], list[RowError]]:
    """Does a plan in memory only.

    Returns:
        The counts, the first keys that would vanish, and the row errors (as many as a run stores).
    """
    met: dict[str, Stored] = {}
    counts, errors = ImportCounts(), list[RowError]()
    for rows in _batches(plan, 0, batch_rows):
        batch = _decide(plan, store, rows, run=None, met=met)
        met.update(batch.after)
        counts += batch.counts
        errors += batch.errors[: MAX_STORED_ERRORS - len(errors)]
        progress(Progress(rows=batch.cursor, done=plan.opened.reader.done, total=plan.opened.reader.total))
    seen = {stored.id for stored in met.values() if stored.seen_row}
    vanished = [key for id_, key in views.active_ids(plan.source) if id_ not in seen]
    return counts + ImportCounts(vanished=len(vanished)), tuple(vanished[:REPORTED_KEYS]), errors


def write_errors(path: Path, errors: Iterable[RowError]) -> Path | None:
    """Writes row errors as CSV (row, severity, field, reason, message), all or nothing.

    With no errors, a file of an earlier import is removed and None returned.
    """
    rows = iter(errors)
    first = next(rows, None)
    if first is None:
        path.unlink(missing_ok=True)
        return None
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("row", "severity", "field", "reason", "message"))
        for one in (first, *rows):
            writer.writerow((one.row or "", one.severity, one.field, one.reason, one.message))
    draft.replace(path)
    return path


def _batches(plan: ImportPlan, after: int, size: int) -> Iterator[list[ParsedRow]]:
    parser = RowParser(plan.columns)
    rows = (parser.parse(record) for record in plan.opened.reader.records() if record.number > after)
    while batch := list(islice(rows, size)):
        yield batch


def _decide(
    plan: ImportPlan, store: ImportStore, rows: list[ParsedRow], *, run: RunId | None, met: dict[str, Stored]
) -> Batch:
    keys = {row.key for row in rows if row.key}
    stored, next_id = store.stored(plan.source, sorted(keys), run)
    stored |= {key: met[key] for key in keys & met.keys()}
    found = []
    for row in rows:
        known = stored[row.key].images if row.key in stored else ()
        images, warnings = find_images(plan.image_root, row.images, row.links, row=row.number, known=known)
        found.append((row.with_images(len(images), warnings), images))
    return merge(found, stored, next_id=next_id, cursor=rows[-1].number)
