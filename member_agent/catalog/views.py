"""What the catalogue is asked: products in order, what changed since when, sources, a run's errors.

Long answers are read page by page on keys that do not move, so no transaction stays open behind a slow reader and
an import may run meanwhile: a product changed after `changes` was called is left to the next call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from member_agent.catalog import schema as t
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
    Severity,
    SourceName,
    SourceSummary,
)
from member_agent.database import LocalDatabase

_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The difference between two moments of the catalogue.

    Publish what `changed` gives, withdraw what `withdrawn` gives, then keep `upto` and ask from there next time. A
    product may come again although nothing of it that is published changed: compare its `content_digest`.
    """

    upto: ChangeSeq
    changed: Iterator[Product]
    withdrawn: Iterator[ProductId]


class CatalogViews:
    def __init__(self, db: LocalDatabase) -> None:
        self._db = db

    def products(
        self, source: SourceName | None = None, *, state: ProductState = ProductState.ACTIVE
    ) -> Iterator[Product]:
        """Products in the order of their ids."""
        columns = t.product.c
        query = _products().where(columns.state == state).order_by(columns.id).limit(_PAGE)
        if source is not None:
            query = query.where(t.source.c.name == source)
        last = 0
        while page := self._page(query.where(columns.id > last)):
            yield from page
            last = page[-1].id

    def find_product(self, id_: ProductId) -> Product | None:
        found = self._page(_products().where(t.product.c.id == id_))
        return found[0] if found else None

    def changes(self, since: ChangeSeq) -> Changes:
        """What changed after `since` (0: everything)."""
        with self._db.read() as db:
            query = sa.select(t.counter.c.value).where(t.counter.c.name == "change")
            upto = ChangeSeq(db.execute(query).scalar() or 0)
        return Changes(upto=upto, changed=self._changed(since, upto), withdrawn=self._withdrawn(since, upto))

    def sources(self) -> list[SourceSummary]:
        """Every source, by name."""
        product, run = t.product.c, t.import_run.c
        of_source = product.source_id == t.source.c.id
        is_active = product.state == ProductState.ACTIVE
        tallies = [
            sa.select(sa.func.count()).where(of_source, is_active).scalar_subquery().label("active"),
            sa.select(sa.func.count()).where(of_source, ~is_active).scalar_subquery().label("withdrawn"),
            sa.select(sa.func.count())
            .where(of_source, is_active, product.missing_run_id.is_not(None))
            .scalar_subquery()
            .label("missing"),
            sa.select(sa.func.max(run.finished_time))
            .where(run.source_id == t.source.c.id)
            .scalar_subquery()
            .label("imported_time"),
            sa.exists().where(run.source_id == t.source.c.id, run.state == "reading").label("interrupted"),
        ]
        query = sa.select(t.source.c.name, t.source.c.format, *tallies).order_by(t.source.c.name)
        with self._db.read() as db:
            return [
                SourceSummary(
                    name=SourceName(row.name),
                    format=Format(row.format),
                    active=row.active,
                    withdrawn=row.withdrawn,
                    missing=row.missing,
                    imported_time=datetime.fromisoformat(row.imported_time) if row.imported_time else None,
                    interrupted=row.interrupted,
                )
                for row in db.execute(query)
            ]

    def counts(self, run: RunId) -> ImportCounts:
        """The counts a run has committed."""
        with self._db.read() as db:
            row = db.execute(sa.select(t.import_run).where(t.import_run.c.id == run)).one()
        return ImportCounts(**{field.name: getattr(row, field.name) for field in fields(ImportCounts)})

    def errors(self, run: RunId) -> Iterator[RowError]:
        """The stored errors of a run, in row order."""
        columns = t.row_error.c
        query = sa.select(t.row_error).where(columns.run_id == run).order_by(columns.id).limit(_PAGE)
        last = 0
        while True:
            with self._db.read() as db:
                page = db.execute(query.where(columns.id > last)).all()
            if not page:
                return
            for row in page:
                yield RowError(
                    row=row.row,
                    field=row.field,
                    reason=row.reason,
                    message=row.message,
                    severity=Severity(row.severity),
                )
            last = page[-1].id

    def missing_keys(self, source: SourceName, limit: int) -> tuple[str, ...]:
        """Keys of active products that the source's last import did not see."""
        columns = t.product.c
        query = (
            sa.select(columns.source_key)
            .join(t.source)
            .where(t.source.c.name == source, columns.missing_run_id.is_not(None))
            .where(columns.state == ProductState.ACTIVE)
            .order_by(columns.id)
            .limit(limit)
        )
        with self._db.read() as db:
            return tuple(db.execute(query).scalars())

    def active_ids(self, source: SourceName) -> Iterator[tuple[ProductId, str]]:
        """(id, source key) of a source's active products."""
        columns = t.product.c
        query = (
            sa.select(columns.id, columns.source_key)
            .join(t.source)
            .where(t.source.c.name == source, columns.state == ProductState.ACTIVE)
            .order_by(columns.id)
        )
        with self._db.read() as db:
            for row in db.execute(query):
                yield ProductId(row.id), row.source_key

    def _changed(self, since: ChangeSeq, upto: ChangeSeq) -> Iterator[Product]:
        columns = t.product.c
        query = (
            _products()
            .where(columns.state == ProductState.ACTIVE, columns.change_seq <= upto)
            .order_by(columns.change_seq, columns.id)
            .limit(_PAGE)
        )
        last: tuple[int, int] = (since, 1 << 62)
        while True:
            after = sa.tuple_(columns.change_seq, columns.id) > sa.tuple_(*last)
            with self._db.read() as db:
                rows = db.execute(query.where(after)).all()
                images = images_of(db, [ProductId(row.id) for row in rows])
            if not rows:
                return
            yield from (_product(row, images) for row in rows)
            last = (rows[-1].change_seq, rows[-1].id)

    def _withdrawn(self, since: ChangeSeq, upto: ChangeSeq) -> Iterator[ProductId]:
        columns = t.product.c
        query = (
            sa.select(columns.id)
            .where(columns.state == ProductState.WITHDRAWN)
            .where(columns.change_seq > since, columns.change_seq <= upto)
            .order_by(columns.id)
            .limit(_PAGE)
        )
        last = 0
        while True:
            with self._db.read() as db:
                page = db.execute(query.where(columns.id > last)).scalars().all()
            if not page:
                return
            yield from map(ProductId, page)
            last = page[-1]

    def _page(self, query: sa.Select[Any]) -> list[Product]:
        with self._db.read() as db:
            rows = db.execute(query).all()
            images = images_of(db, [ProductId(row.id) for row in rows])
        return [_product(row, images) for row in rows]


def images_of(db: sa.Connection, ids: Sequence[ProductId]) -> dict[ProductId, tuple[Image, ...]]:
    """The images of products (at most 30,000), in order."""
    columns = t.image.c
    query = sa.select(t.image).where(columns.product_id.in_(ids)).order_by(columns.product_id, columns.position)
    found: dict[ProductId, list[Image]] = {}
    for row in db.execute(query):
        image = Image(
            path=Path(row.path) if row.path else None,
            link=row.link,
            sha256=row.sha256,
            size=row.size,
            modified_ns=row.modified_ns,
        )
        found.setdefault(ProductId(row.product_id), []).append(image)
    return {id_: tuple(images) for id_, images in found.items()}


def _products() -> sa.Select[Any]:
    return sa.select(t.product, t.source.c.name.label("source_name")).join(
        t.source, t.source.c.id == t.product.c.source_id
    )


def _product(row: sa.Row[Any], images: dict[ProductId, tuple[Image, ...]]) -> Product:
    return Product(
        id=ProductId(row.id),
        source=SourceName(row.source_name),
        source_key=row.source_key,
        content_digest=row.content_digest,
        images=images.get(ProductId(row.id), ()),
        state=ProductState(row.state),
        title=row.title,
        brand=row.brand,
        model=row.model,
        gtin=row.gtin,
        mpn=row.mpn,
        category=row.category,
        condition=row.condition,
        url=row.url,
        price=None if row.price is None else Decimal(row.price),
        currency=row.currency,
    )
