"""What imports write. One transaction a batch: rows, their errors and the cursor are committed together or not at all,
so a run killed anywhere goes on after the last row it committed, and no row is counted twice.

Only one import writes at a time (`service` holds the lock). Reading is in `views`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from member_agent.catalog import schema as t
from member_agent.catalog.merge import Batch, Stored, Write, digests
from member_agent.catalog.model import (
    ChangeSeq,
    Format,
    Image,
    ImportCounts,
    Product,
    ProductId,
    ProductState,
    RowError,
    RunId,
    SourceId,
    SourceName,
)
from member_agent.catalog.views import images_of
from member_agent.database import LocalDatabase

MAX_STORED_ERRORS = 100_000
"""Row errors kept of one run; the rest are counted only."""
_CHANGE = (
    sa.update(t.product)
    .where(t.product.c.id == sa.bindparam("id_"))
    .values(change_seq=sa.func.coalesce(sa.bindparam("seq"), t.product.c.change_seq))
)
"""With the columns of `_values`; a `seq` of None leaves the product where it is in the order of changes."""
_DROP_IMAGES = sa.delete(t.image).where(t.image.c.product_id == sa.bindparam("id_"))
_COUNTS = tuple(field.name for field in fields(ImportCounts))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A run that has not ended: how far it is committed, and of what."""

    id: RunId
    input_digest: bytes
    map_digest: bytes
    cursor: int


class ImportStore:
    """Every method raises Unavailable where the database cannot be used (disk full, locked by a stranger)."""

    def __init__(self, db: LocalDatabase) -> None:
        self._db = db

    def source(self, name: SourceName, format_: Format) -> SourceId:
        """Finds a source or makes it."""
        with self._db.write() as db:
            found = db.execute(sa.select(t.source.c.id).where(t.source.c.name == name)).scalar()
            if found is None:
                made = sa.insert(t.source).values(name=name, format=format_).returning(t.source.c.id)
                found = db.execute(made).scalar_one()
            else:
                db.execute(sa.update(t.source).where(t.source.c.id == found).values(format=format_))
            return SourceId(found)

    def find_open_run(self, source: SourceName) -> OpenRun | None:
        run = t.import_run.c
        query = (
            sa.select(run.id, run.input_digest, run.map_digest, run.cursor)
            .join(t.source)
            .where(t.source.c.name == source, run.state == "reading")
        )
        with self._db.read() as db:
            row = db.execute(query).one_or_none()
        if row is None:
            return None
        return OpenRun(id=RunId(row.id), input_digest=row.input_digest, map_digest=row.map_digest, cursor=row.cursor)

    def begin(self, source: SourceId, *, input_digest: bytes, map_digest: bytes, now: datetime) -> RunId:
        """Starts a run; one of the same source that had not ended is abandoned, its rows stay."""
        run = t.import_run
        with self._db.write() as db:
            stale = sa.select(run.c.id).where(run.c.source_id == source, run.c.state == "reading")
            db.execute(sa.delete(t.seen).where(t.seen.c.run_id.in_(stale)))
            db.execute(sa.update(run).where(run.c.id.in_(stale)).values(state="abandoned"))
            insert = (
                sa.insert(run)
                .values(
                    source_id=source,
                    state="reading",
                    input_digest=input_digest,
                    map_digest=map_digest,
                    started_time=now.isoformat(),
                )
                .returning(run.c.id)
            )
            return RunId(db.execute(insert).scalar_one())

    def stored(self, source: SourceName, keys: Sequence[str], run: RunId | None) -> tuple[dict[str, Stored], ProductId]:
        """What the catalogue has under these keys (at most 30,000), and the first free product id.

        What was seen already is told for `run`.
        """
        columns = t.product.c
        query = (
            sa.select(columns.id, columns.source_key, columns.row_digest, columns.content_digest, columns.state)
            .add_columns(t.seen.c.row, t.seen.c.whole)
            .join(t.source, t.source.c.id == columns.source_id)
            .outerjoin(t.seen, (t.seen.c.product_id == columns.id) & (t.seen.c.run_id == run))
            .where(t.source.c.name == source, columns.source_key.in_(keys))
        )
        with self._db.read() as db:
            rows = db.execute(query).all()
            images = images_of(db, [ProductId(row.id) for row in rows])
            last = db.execute(sa.select(t.counter.c.value).where(t.counter.c.name == "product")).scalar() or 0
        found = {
            row.source_key: Stored(
                id=ProductId(row.id),
                row_digest=row.row_digest,
                content_digest=row.content_digest,
                state=ProductState(row.state),
                seen_row=row.row or 0,
                seen_whole=bool(row.whole),
                images=images.get(ProductId(row.id), ()),
            )
            for row in rows
        }
        return found, ProductId(last + 1)

    def commit(self, run: RunId, source: SourceId, batch: Batch) -> None:
        """Applies a batch and moves the run's cursor past it."""
        with self._db.write() as db:
            seq = _advance(db, "change", 1)
            if batch.new:
                _advance(db, "product", len(batch.new))
                made = {"source_id": source, "first_run_id": run, "changed_run_id": run, "change_seq": seq}
                rows = [_values(one) | made | {"id": one.id, "source_key": one.key} for one in batch.new]
                db.execute(sa.insert(t.product), rows)
            if batch.changed:
                rows = [
                    _values(one) | {"id_": one.id, "changed_run_id": run, "seq": seq if one.announce else None}
                    for one in batch.changed
                ]
                db.execute(_CHANGE, rows)
                db.execute(_DROP_IMAGES, [{"id_": one.id} for one in batch.changed])
            _insert_images(db, [*batch.new, *batch.changed])
            _mark_seen(db, run, batch)
            _record_errors(db, run, batch.errors)
            columns = t.import_run.c
            counted = {name: columns[name] + getattr(batch.counts, name) for name in _COUNTS}
            db.execute(sa.update(t.import_run).where(columns.id == run).values(cursor=batch.cursor, **counted))

    def finish(self, run: RunId, source: SourceId, *, prune: bool, now: datetime) -> None:
        """Ends a run: marks what vanished, withdraws it when asked to, forgets what was seen and older runs' errors."""
        product, runs = t.product, t.import_run
        met = sa.select(t.seen.c.product_id).where(t.seen.c.run_id == run)
        active = (product.c.source_id == source) & (product.c.state == ProductState.ACTIVE)
        vanished = active & product.c.id.not_in(met)
        with self._db.write() as db:
            db.execute(
                sa.update(product)
                .where(active, product.c.missing_run_id.is_not(None), product.c.id.in_(met))
                .values(missing_run_id=None)
            )
            count = db.execute(sa.select(sa.func.count()).where(vanished)).scalar_one()
            db.execute(
                sa.update(product).where(vanished, product.c.missing_run_id.is_(None)).values(missing_run_id=run)
            )
            if prune and count:
                seq = _advance(db, "change", 1)
                gone = {"state": ProductState.WITHDRAWN, "change_seq": seq, "changed_run_id": run}
                db.execute(sa.update(product).where(vanished).values(gone))
            db.execute(sa.delete(t.seen).where(t.seen.c.run_id == run))
            older = sa.select(runs.c.id).where(runs.c.source_id == source, runs.c.id < run)
            db.execute(sa.delete(t.row_error).where(t.row_error.c.run_id.in_(older)))
            ended = sa.update(runs).where(runs.c.id == run).values(state="finished", finished_time=now.isoformat())
            db.execute(ended.values(vanished=count, withdrawn=count if prune else 0))

    def unfetched(self, source: SourceName, *, after: tuple[int, int], limit: int) -> list[tuple[ProductId, int, str]]:
        """Links of active products without a file, as (product, position, link), in that order."""
        columns = t.image.c
        query = (
            sa.select(columns.product_id, columns.position, columns.link)
            .join(t.product, t.product.c.id == columns.product_id)
            .join(t.source, t.source.c.id == t.product.c.source_id)
            .where(t.source.c.name == source, t.product.c.state == ProductState.ACTIVE, columns.path.is_(None))
            .where(sa.tuple_(columns.product_id, columns.position) > sa.tuple_(*after))
            .order_by(columns.product_id, columns.position)
            .limit(limit)
        )
        with self._db.read() as db:
            return [(ProductId(row.product_id), row.position, row.link) for row in db.execute(query)]

    def record_fetched(self, product: Product, position: int, image: Image) -> None:
        """Stores the file made of a link, which changes the product's content.

        `product` is as read now, `image` the replacement for its image at `position`.
        """
        images = tuple(image if place == position else one for place, one in enumerate(product.images))
        row_digest, content_digest = digests(product.source_key, product, images)
        columns = t.image.c
        with self._db.write() as db:
            db.execute(
                sa.update(t.image)
                .where(columns.product_id == product.id, columns.position == position)
                .values(_image_values(product.id, position, image))
            )
            db.execute(
                sa.update(t.product)
                .where(t.product.c.id == product.id)
                .values(row_digest=row_digest, content_digest=content_digest, change_seq=_advance(db, "change", 1))
            )


def _advance(db: sa.Connection, name: str, by: int) -> ChangeSeq:
    value = t.counter.c.value
    insert = sqlite.insert(t.counter).values(name=name, value=by)
    added = insert.on_conflict_do_update(index_elements=[t.counter.c.name], set_={"value": value + by})
    return ChangeSeq(db.execute(added.returning(value)).scalar_one())


def _values(write: Write) -> dict[str, object]:
    facts = write.facts
    return {
        "state": ProductState.ACTIVE,
        "title": facts.title,
        "brand": facts.brand,
        "model": facts.model,
        "gtin": facts.gtin,
        "mpn": facts.mpn,
        "category": facts.category,
        "condition": facts.condition,
        "url": facts.url,
        "price": None if facts.price is None else str(facts.price),
        "currency": facts.currency,
        "row_digest": write.row_digest,
        "content_digest": write.content_digest,
    }


def _insert_images(db: sa.Connection, writes: Sequence[Write]) -> None:
    rows = [_image_values(one.id, place, image) for one in writes for place, image in enumerate(one.images)]
    if rows:
        db.execute(sa.insert(t.image), rows)


def _image_values(product: ProductId, position: int, image: Image) -> dict[str, object]:
    return {
        "product_id": product,
        "position": position,
        "path": None if image.path is None else str(image.path),
        "link": image.link,
        "sha256": image.sha256,
        "size": image.size,
        "modified_ns": image.modified_ns,
    }


def _mark_seen(db: sa.Connection, run: RunId, batch: Batch) -> None:
    if batch.seen:
        rows = [
            {"product_id": id_, "run_id": run, "row": row, "whole": whole} for id_, (row, whole) in batch.seen.items()
        ]
        db.execute(sa.insert(t.seen).prefix_with("OR REPLACE"), rows)


def _record_errors(db: sa.Connection, run: RunId, errors: Sequence[RowError]) -> None:
    if not errors:
        return
    columns = t.row_error.c
    kept = db.execute(sa.select(sa.func.count()).where(columns.run_id == run)).scalar_one()
    rows = [
        {"run_id": run, "row": one.row, "field": one.field, "severity": one.severity}
        | {"reason": one.reason, "message": one.message}
        for one in errors[: max(0, MAX_STORED_ERRORS - kept)]
    ]
    if rows:
        db.execute(sa.insert(t.row_error), rows)
