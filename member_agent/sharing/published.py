"""What this member published, by product: the link between its own catalogue and its fingerprints. Local only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Column, Connection, Index, Integer, LargeBinary, String, Table, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert

from alliance.audience import Tlp
from alliance.names import BankId, Digest
from member_agent.state import metadata

published_table = Table(
    "published",
    metadata,
    Column("bank", String, primary_key=True),
    Column("batch_digest", LargeBinary, primary_key=True),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("product", Integer, nullable=False),
    Column("source", String, nullable=False),
    Column("source_key", String, nullable=False),
    Column("kind", String, nullable=False),
    # Of the product as published; another digest means publish again.
    Column("content_digest", LargeBinary, nullable=False),
    Column("withdrawn", Integer, nullable=False, default=0),
    # `Tlp`: whom its publisher showed it to; empty in rows of an older agent, whose default was amber.
    Column("tlp", Integer),
    Index("ix_published_bank_product", "bank", "product"),
)
_LABEL = func.coalesce(published_table.c.tlp, int(Tlp.AMBER))
withheld_table = Table(
    "withheld",
    metadata,
    Column("bank", String, primary_key=True),
    Column("product", Integer, primary_key=True, autoincrement=False),
)
cursor_table = Table(
    "publish_cursor",
    metadata,
    Column("bank", String, primary_key=True),
    Column("source", String, primary_key=True),
    Column("upto", Integer, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    bank: BankId
    batch_digest: Digest
    row: int
    product: int
    source: str
    source_key: str
    kind: str
    content_digest: bytes
    withdrawn: bool = False
    tlp: Tlp = Tlp.AMBER


def add(tx: Connection, rows: Iterable[PublishedRow]) -> None:
    values = [
        {
            "bank": row.bank,
            "batch_digest": row.batch_digest,
            "row": row.row,
            "product": row.product,
            "source": row.source,
            "source_key": row.source_key,
            "kind": row.kind,
            "content_digest": row.content_digest,
            "withdrawn": 0,
            "tlp": row.tlp,
        }
        for row in rows
    ]
    if values:
        tx.execute(insert(published_table), values)


def live(
    tx: Connection,
    bank: BankId,
    *,
    product: int | None = None,
    source: str | None = None,
    batch: Digest | None = None,
    wider_than: Tlp | None = None,
) -> list[PublishedRow]:
    """Rows not withdrawn, of one product, source or batch if named, in (batch, row) order; or with a wider label."""
    query = select(published_table).where(published_table.c.bank == bank, published_table.c.withdrawn == 0)
    if product is not None:
        query = query.where(published_table.c.product == product)
    if source is not None:
        query = query.where(published_table.c.source == source)
    if batch is not None:
        query = query.where(published_table.c.batch_digest == batch)
    if wider_than is not None:
        query = query.where(wider_than > _LABEL)
    return list(_rows(tx.execute(query.order_by(published_table.c.batch_digest, published_table.c.row)).all()))


def all_rows(tx: Connection, bank: BankId) -> list[PublishedRow]:
    query = select(published_table).where(published_table.c.bank == bank)
    return list(_rows(tx.execute(query.order_by(published_table.c.batch_digest, published_table.c.row)).all()))


def digest_of(tx: Connection, bank: BankId, product: int) -> bytes | None:
    """The content digest a product is published under now, None if it is not."""
    return tx.execute(
        select(published_table.c.content_digest)
        .where(
            published_table.c.bank == bank,
            published_table.c.product == product,
            published_table.c.withdrawn == 0,
        )
        .limit(1)
    ).scalar_one_or_none()


def strictest(tx: Connection, bank: BankId, product: int) -> Tlp | None:
    """The strictest label a product was ever published with here, since it was last widened; None for never."""
    found = tx.execute(
        select(func.max(_LABEL)).where(published_table.c.bank == bank, published_table.c.product == product)
    ).scalar_one()
    return None if found is None else Tlp(found)


def labels(tx: Connection, bank: BankId, source: str | None) -> set[Tlp]:
    """Of all rows that are out there, or of those of one source."""
    query = select(_LABEL).distinct().where(published_table.c.bank == bank, published_table.c.withdrawn == 0)
    if source is not None:
        query = query.where(published_table.c.source == source)
    return {Tlp(value) for value in tx.execute(query).scalars()}


def widen(tx: Connection, bank: BankId, product: int, tlp: Tlp) -> None:
    """A product's stricter labels of before no longer count: its publisher chose a wider one."""
    of_product = (published_table.c.bank == bank) & (published_table.c.product == product)
    tx.execute(update(published_table).where(of_product, tlp < _LABEL).values(tlp=tlp))


def mark_withdrawn(tx: Connection, bank: BankId, batch_digest: Digest, rows: list[int]) -> None:
    # Row lists stay below SQLite's limit of variables in one statement.
    for at in range(0, len(rows), 10_000):
        tx.execute(
            update(published_table)
            .where(
                published_table.c.bank == bank,
                published_table.c.batch_digest == batch_digest,
                published_table.c.row.in_(rows[at : at + 10_000]),
            )
            .values(withdrawn=1)
        )


def forget_batch(tx: Connection, digest: Digest) -> None:
    """A batch the hub refused for good: its products count as never published, and are looked at again."""
    banks = (
        tx.execute(select(published_table.c.bank).where(published_table.c.batch_digest == digest).distinct())
        .scalars()
        .all()
    )
    tx.execute(delete(published_table).where(published_table.c.batch_digest == digest))
    tx.execute(delete(cursor_table).where(cursor_table.c.bank.in_(banks)))


def withhold(tx: Connection, bank: BankId, products: Iterable[int]) -> None:
    """Withdrawn by hand: `publish` leaves these out until told otherwise."""
    values = [{"bank": bank, "product": product} for product in products]
    if values:
        tx.execute(insert(withheld_table).on_conflict_do_nothing(), values)


def withheld(tx: Connection, bank: BankId) -> set[int]:
    return set(tx.execute(select(withheld_table.c.product).where(withheld_table.c.bank == bank)).scalars())


def release(tx: Connection, bank: BankId) -> None:
    """Ends every withholding; the next publish looks at the whole catalogue again."""
    tx.execute(delete(withheld_table).where(withheld_table.c.bank == bank))
    tx.execute(delete(cursor_table).where(cursor_table.c.bank == bank))


def cursor(tx: Connection, bank: BankId, source: str) -> int:
    """Up to which change of the catalogue a bank is published; 0 for never."""
    found = tx.execute(
        select(cursor_table.c.upto).where(cursor_table.c.bank == bank, cursor_table.c.source == source)
    ).scalar_one_or_none()
    return found or 0


def set_cursor(tx: Connection, bank: BankId, source: str, upto: int) -> None:
    tx.execute(
        insert(cursor_table)
        .values(bank=bank, source=source, upto=upto)
        .on_conflict_do_update(index_elements=["bank", "source"], set_={"upto": upto})
    )


def _rows(found: Iterable[object]) -> Iterator[PublishedRow]:
    for row in found:
        values = row._mapping  # type: ignore[attr-defined]  # because Core rows are typed by their select only
        yield PublishedRow(
            bank=BankId(values["bank"]),
            batch_digest=Digest(bytes(values["batch_digest"])),
            row=values["row"],
            product=values["product"],
            source=values["source"],
            source_key=values["source_key"],
            kind=values["kind"],
            content_digest=bytes(values["content_digest"]),
            withdrawn=bool(values["withdrawn"]),
            tlp=Tlp(values["tlp"] or Tlp.AMBER),
        )
