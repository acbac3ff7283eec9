"""Tables of banks, entries, segments and hits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from alliance.audience import Tlp
from alliance.names import BankId, Digest, GroupId, MemberId
from alliance.prepared import Prepared
from alliance.v1 import fingerprint_pb2 as pb
from hub.fingerprints.model import Bank, Hit, HitSummary, Published, Segment
from hub.runtime.db import Int64, metadata

bank_table = Table(
    "bank",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("group_name", ForeignKey("sharing_group.name"), nullable=False, index=True),
    Column("scheme", String(40), nullable=False),
    # The label's number; banks of before have amber.
    Column("tlp", Integer, nullable=False, server_default="3"),
    Column("head_seq", Int64, nullable=False),
    Column("head_digest", LargeBinary(32), nullable=False),
    Column("create_time", Int64, nullable=False),
)
entry_table = Table(
    "bank_entry",
    metadata,
    Column("bank", ForeignKey("bank.name"), primary_key=True),
    Column("seq", Int64, primary_key=True, autoincrement=False),
    # Set for a batch only: one digest, one place.
    Column("batch_digest", LargeBinary(32)),
    Column("publisher", ForeignKey("member.name"), nullable=False, index=True),
    Column("row_count", Integer, nullable=False),
    Column("size", Int64, nullable=False),
    # The serialised BankEntry.
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("bank", "batch_digest"),
    CheckConstraint("seq > 0", name="seq_positive"),
)
segment_table = Table(
    "bank_segment",
    metadata,
    Column("bank", ForeignKey("bank.name"), primary_key=True),
    Column("first_seq", Int64, primary_key=True, autoincrement=False),
    Column("last_seq", Int64, nullable=False),
    Column("digest", ForeignKey("blob.digest"), nullable=False),
    Column("size", Int64, nullable=False),
)
hit_table = Table(
    "fingerprint_hit",
    metadata,
    Column("bank", ForeignKey("bank.name"), primary_key=True),
    Column("batch_digest", LargeBinary(32), primary_key=True),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("reporter", ForeignKey("member.name"), primary_key=True),
    Column("bucket", Integer, nullable=False),
    Column("time", Int64, nullable=False),
)
# A report brings hundreds of hits.
_REPLACED = Prepared(
    delete(hit_table).where(*(column == bindparam(column.name) for column in hit_table.primary_key.columns))
)
_REPORTED = Prepared(insert(hit_table))


def find_bank(tx: Connection, bank: BankId) -> Bank | None:
    row = tx.execute(select(bank_table).where(bank_table.c.name == bank)).first()
    return None if row is None else _bank(row)


def lock_bank(tx: Connection, bank: BankId) -> Bank | None:
    """The bank, locked for this transaction, so that appends get dense numbers."""
    row = tx.execute(select(bank_table).where(bank_table.c.name == bank).with_for_update()).first()
    return None if row is None else _bank(row)


def banks(tx: Connection, *, groups: Sequence[GroupId] | None, after: str | None, limit: int) -> list[Bank]:
    """All banks, or those of some groups."""
    query = select(bank_table).order_by(bank_table.c.name).limit(limit)
    if groups is not None:
        query = query.where(bank_table.c.group_name.in_(groups))
    if after is not None:
        query = query.where(bank_table.c.name > after)
    return [_bank(row) for row in tx.execute(query)]


def add_bank(tx: Connection, bank: Bank) -> None:
    tx.execute(
        insert(bank_table).values(
            name=bank.id,
            group_name=bank.group,
            scheme=bank.scheme,
            tlp=bank.tlp,
            head_seq=bank.head_seq,
            head_digest=bank.head_digest,
            create_time=bank.create_time,
        )
    )


def append(tx: Connection, bank: Bank, entry: pb.BankEntry) -> None:
    """Saves the bank's new head and the entry that made it."""
    batch = entry.batch if entry.HasField("batch") else None
    tx.execute(
        insert(entry_table).values(
            bank=bank.id,
            seq=entry.seq,
            batch_digest=batch.digest if batch else None,
            publisher=batch.publisher if batch else entry.tombstone.publisher,
            row_count=batch.row_count if batch else 0,
            size=batch.size if batch else 0,
            body=entry.SerializeToString(deterministic=True),
        )
    )
    tx.execute(
        update(bank_table)
        .where(bank_table.c.name == bank.id)
        .values(head_seq=bank.head_seq, head_digest=bank.head_digest)
    )


def find_batch(tx: Connection, bank: BankId, digest: Digest) -> Published | None:
    row = tx.execute(
        select(entry_table).where(entry_table.c.bank == bank, entry_table.c.batch_digest == digest)
    ).first()
    return None if row is None else _published(row)


def batches_of(tx: Connection, publisher: MemberId) -> list[Published]:
    rows = tx.execute(
        select(entry_table)
        .where(entry_table.c.publisher == publisher, entry_table.c.batch_digest.is_not(None))
        .order_by(entry_table.c.bank, entry_table.c.seq)
    )
    return [_published(row) for row in rows]


def entries(
    tx: Connection, bank: BankId, *, after_seq: int, limit: int, last_seq: int | None = None
) -> list[pb.BankEntry]:
    query = select(entry_table.c.body).where(entry_table.c.bank == bank, entry_table.c.seq > after_seq)
    if last_seq is not None:
        query = query.where(entry_table.c.seq <= last_seq)
    rows = tx.execute(query.order_by(entry_table.c.seq).limit(limit))
    return [pb.BankEntry.FromString(row.body) for row in rows]


def tail_sizes(tx: Connection, bank: BankId) -> list[tuple[int, int]]:
    """(seq, size) of the entries behind the last segment."""
    end = tx.execute(select(func.max(segment_table.c.last_seq)).where(segment_table.c.bank == bank)).scalar_one()
    rows = tx.execute(
        select(entry_table.c.seq, entry_table.c.size)
        .where(entry_table.c.bank == bank, entry_table.c.seq > (end or 0))
        .order_by(entry_table.c.seq)
    )
    return [(row.seq, row.size) for row in rows]


def add_segment(tx: Connection, segment: Segment) -> None:
    tx.execute(
        insert(segment_table).values(
            bank=segment.bank,
            first_seq=segment.first_seq,
            last_seq=segment.last_seq,
            digest=segment.digest,
            size=segment.size,
        )
    )


def segments(tx: Connection, bank: BankId, *, after_seq: int, limit: int) -> list[Segment]:
    """Segments that start behind a sequence number, in order."""
    rows = tx.execute(
        select(segment_table)
        .where(segment_table.c.bank == bank, segment_table.c.first_seq > after_seq)
        .order_by(segment_table.c.first_seq)
        .limit(limit)
    )
    return [
        Segment(
            bank=bank, first_seq=row.first_seq, last_seq=row.last_seq, digest=Digest(bytes(row.digest)), size=row.size
        )
        for row in rows
    ]


def save_hits(tx: Connection, bank: BankId, reporter: MemberId, hits: Sequence[Hit], *, now: int) -> None:
    """The newest report of a member replaces its earlier one."""
    keys = [{"bank": bank, "batch_digest": h.batch_digest, "row": h.row, "reporter": reporter} for h in hits]
    _REPLACED.change_all(tx, keys)
    _REPORTED.change_all(tx, [key | {"bucket": h.bucket, "time": now} for key, h in zip(keys, hits, strict=True)])


def hits_of(
    tx: Connection, bank: BankId, publisher: MemberId, *, after: tuple[bytes, int] | None, limit: int
) -> list[HitSummary]:
    """Hits on a publisher's own fingerprints, summed over reporters, in (batch, row) order."""
    key = (hit_table.c.batch_digest, hit_table.c.row)
    query = (
        select(*key, func.max(hit_table.c.bucket).label("bucket"), func.count().label("reporters"))
        .join(
            entry_table,
            (entry_table.c.bank == hit_table.c.bank) & (entry_table.c.batch_digest == hit_table.c.batch_digest),
        )
        .where(hit_table.c.bank == bank, entry_table.c.publisher == publisher)
        .group_by(*key)
        .order_by(*key)
        .limit(limit)
    )
    if after is not None:
        batch, row = after
        query = query.where((key[0] > batch) | ((key[0] == batch) & (key[1] > row)))
    return [
        HitSummary(
            batch_digest=Digest(bytes(row.batch_digest)),
            row=row.row,
            bucket=row.bucket,
            reporters=row.reporters,
        )
        for row in tx.execute(query)
    ]


def _bank(row: Row[Any]) -> Bank:
    return Bank(
        id=BankId(row.name),
        group=GroupId(row.group_name),
        tlp=Tlp(row.tlp),
        scheme=row.scheme,
        head_seq=row.head_seq,
        head_digest=Digest(bytes(row.head_digest)),
        create_time=row.create_time,
    )


def _published(row: Row[Any]) -> Published:
    return Published(
        bank=BankId(row.bank),
        digest=Digest(bytes(row.batch_digest)),
        publisher=MemberId(row.publisher),
        row_count=row.row_count,
        seq=row.seq,
    )
