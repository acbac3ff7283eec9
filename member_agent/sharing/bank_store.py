"""`banks.db`: the sealed banks as synced. Nothing in it is in clear, and all of it can be fetched again.

A page of entries and the cursor behind it commit together, so a killed sync resumes with nothing lost or
doubled; two replays give the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from alliance.audience import Audience, Tlp
from alliance.canonical import CHAIN_START
from alliance.errors import Corrupt
from alliance.names import BankId, Digest, GroupId, MemberId
from member_agent.database import LocalDatabase

metadata = MetaData()
SCHEMA_VERSION = 2
bank_table = Table(
    "bank",
    metadata,
    Column("name", String, primary_key=True),
    Column("group_name", String, nullable=False),
    Column("scheme", String, nullable=False),
    Column("cursor", Integer, nullable=False),
    Column("chain_digest", LargeBinary, nullable=False),
    # The strictest label that its rows may have; empty in rows of an older agent.
    Column("ceiling", Integer),
)
batch_table = Table(
    "batch",
    metadata,
    Column("bank", String, primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary, nullable=False),
    Column("publisher", String, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("row_count", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    UniqueConstraint("bank", "digest"),
)
tombstone_table = Table(
    "tombstone",
    metadata,
    Column("bank", String, primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("batch_digest", LargeBinary, nullable=False),
    Column("publisher", String, nullable=False),
    # Row numbers as little-endian u32; empty: the whole batch.
    Column("rows", LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BankState:
    """How far a bank is held: all entries up to `cursor`, whose chain gives `chain_digest`."""

    id: BankId
    audience: Audience
    scheme: str
    cursor: int
    chain_digest: Digest

    @property
    def group(self) -> GroupId:
        return self.audience.group


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedBatch:
    bank: BankId
    seq: int
    digest: Digest
    publisher: MemberId
    epoch: int
    row_count: int
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTombstone:
    """`rows` of the batch that no longer count, if it is of the same publisher; empty means all."""

    seq: int
    batch_digest: Digest
    publisher: MemberId
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BankSize:
    batches: int
    rows: int
    tombstones: int


class BankStore:
    def __init__(self, path: Path) -> None:
        self.db = LocalDatabase(path, metadata, version=SCHEMA_VERSION)

    def state(self, bank: BankId) -> BankState | None:
        with self.db.read() as tx:
            row = tx.execute(select(bank_table).where(bank_table.c.name == bank)).first()
        if row is None:
            return None
        return BankState(
            id=bank,
            audience=Audience(group=GroupId(row.group_name), ceiling=Tlp(row.ceiling or Tlp.AMBER)),
            scheme=row.scheme,
            cursor=row.cursor,
            chain_digest=Digest(bytes(row.chain_digest)),
        )

    def states(self) -> list[BankState]:
        with self.db.read() as tx:
            names = tx.execute(select(bank_table.c.name).order_by(bank_table.c.name)).scalars().all()
        found = (self.state(BankId(name)) for name in names)
        return [state for state in found if state is not None]

    def open_bank(self, bank: BankId, audience: Audience, scheme: str) -> BankState:
        """The bank's state; a new one starts at nothing. Its audience is the one given: the log's."""
        found = self.state(bank)
        if found is not None and found.audience == audience:
            return found
        told = {"group_name": audience.group, "ceiling": audience.ceiling}
        with self.db.write() as tx:
            if found is not None:
                tx.execute(update(bank_table).where(bank_table.c.name == bank).values(told))
                return replace(found, audience=audience)
            start = BankState(id=bank, audience=audience, scheme=scheme, cursor=0, chain_digest=CHAIN_START)
            tx.execute(insert(bank_table).values(name=bank, scheme=scheme, cursor=0, chain_digest=CHAIN_START, **told))
        return start

    def append(self, state: BankState, batches: Sequence[SealedBatch], tombstones: Sequence[StoredTombstone]) -> None:
        """Stores entries and the state behind them, in one transaction. Raises: Corrupt for a batch held already."""
        with self.db.write() as tx:
            if batches:
                try:
                    tx.execute(insert(batch_table), [_batch_values(batch) for batch in batches])
                except IntegrityError as error:
                    raise Corrupt(
                        f"{state.id} has a batch twice", reason="BANK_CORRUPT", remedy="tell the alliance"
                    ) from error
            for tombstone in tombstones:
                tx.execute(
                    insert(tombstone_table).values(
                        bank=state.id,
                        seq=tombstone.seq,
                        batch_digest=tombstone.batch_digest,
                        publisher=tombstone.publisher,
                        rows=np.asarray(tombstone.rows, dtype="<u4").tobytes(),
                    )
                )
            tx.execute(
                update(bank_table)
                .where(bank_table.c.name == state.id)
                .values(cursor=state.cursor, chain_digest=state.chain_digest)
            )

    def drop(self, bank: BankId) -> None:
        """Forgets a bank; the next sync fetches it from the start."""
        with self.db.write() as tx:
            for table in (batch_table, tombstone_table):
                tx.execute(delete(table).where(table.c.bank == bank))
            tx.execute(delete(bank_table).where(bank_table.c.name == bank))

    def batches(self, bank: BankId) -> Iterator[SealedBatch]:
        """Every batch, in order."""
        with self.db.read() as tx:
            seqs = (
                tx.execute(select(batch_table.c.seq).where(batch_table.c.bank == bank).order_by(batch_table.c.seq))
                .scalars()
                .all()
            )
        for seq in seqs:
            with self.db.read() as tx:
                row = tx.execute(select(batch_table).where(batch_table.c.bank == bank, batch_table.c.seq == seq)).one()
            yield SealedBatch(
                bank=bank,
                seq=row.seq,
                digest=Digest(bytes(row.digest)),
                publisher=MemberId(row.publisher),
                epoch=row.epoch,
                row_count=row.row_count,
                sealed=bytes(row.sealed),
            )

    def digests(self, bank: BankId, publisher: MemberId) -> list[tuple[Digest, int]]:
        """One publisher's batches, in order: digest and number of rows."""
        query = select(batch_table.c.digest, batch_table.c.row_count).order_by(batch_table.c.seq)
        with self.db.read() as tx:
            rows = tx.execute(query.where(batch_table.c.bank == bank, batch_table.c.publisher == publisher)).all()
        return [(Digest(bytes(row.digest)), row.row_count) for row in rows]

    def tombstones(self, bank: BankId) -> list[StoredTombstone]:
        with self.db.read() as tx:
            rows = tx.execute(
                select(tombstone_table).where(tombstone_table.c.bank == bank).order_by(tombstone_table.c.seq)
            ).all()
        return [
            StoredTombstone(
                seq=row.seq,
                batch_digest=Digest(bytes(row.batch_digest)),
                publisher=MemberId(row.publisher),
                rows=tuple(np.frombuffer(row.rows, dtype="<u4").tolist()),
            )
            for row in rows
        ]

    def size(self, bank: BankId) -> BankSize:
        with self.db.read() as tx:
            batches, rows = tx.execute(
                select(func.count(), func.coalesce(func.sum(batch_table.c.row_count), 0)).where(
                    batch_table.c.bank == bank
                )
            ).one()
            tombstones = _count(tx, tombstone_table, bank)
        return BankSize(batches=batches, rows=rows, tombstones=tombstones)

    def close(self) -> None:
        self.db.close()


def _count(tx: Connection, table: Table, bank: BankId) -> int:
    return tx.execute(select(func.count()).select_from(table).where(table.c.bank == bank)).scalar_one()


def _batch_values(batch: SealedBatch) -> dict[str, object]:
    return {
        "bank": batch.bank,
        "seq": batch.seq,
        "digest": batch.digest,
        "publisher": batch.publisher,
        "epoch": batch.epoch,
        "row_count": batch.row_count,
        "sealed": batch.sealed,
    }
