"""Which blobs are complete, and who may read them; the bytes are `files`."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Connection,
    Exists,
    ForeignKey,
    LargeBinary,
    Select,
    Table,
    bindparam,
    delete,
    exists,
    insert,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from alliance.names import Digest, GroupId, MemberId
from alliance.prepared import Prepared
from hub.blobs.model import StoredBlob
from hub.runtime.db import Int64, is_write, metadata

blob_table = Table(
    "blob",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("size", Int64, nullable=False),
    Column("create_time", Int64, nullable=False),
)
# Who proved to have the bytes by uploading them; equal bytes of several members are stored once.
uploader_table = Table(
    "blob_uploader",
    metadata,
    Column("digest", ForeignKey("blob.digest"), primary_key=True),
    Column("member", ForeignKey("member.name"), primary_key=True),
)
reader_table = Table(
    "blob_reader",
    metadata,
    Column("digest", ForeignKey("blob.digest"), primary_key=True),
    Column("group_name", ForeignKey("sharing_group.name"), primary_key=True),
)

# Every look at a model runs it, every round both.
_FIND = Prepared(select(blob_table).where(blob_table.c.digest == bindparam("blob")))
_IS_READER = Prepared(
    select(reader_table.c.digest).where(
        reader_table.c.digest == bindparam("blob"), reader_table.c.group_name == bindparam("group")
    )
)


def find(tx: Connection, digest: Digest) -> StoredBlob | None:
    row = _FIND.first(tx, blob=digest)
    return None if row is None else StoredBlob(digest, row.size)


def add(tx: Connection, blob: StoredBlob, *, now: int) -> None:
    """Two members may have uploaded the same bytes at the same moment: there is one row either way."""
    dialect = sqlite if tx.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(blob_table).values(digest=blob.digest, size=blob.size, create_time=now)
    tx.execute(statement.on_conflict_do_nothing())


def add_uploader(tx: Connection, digest: Digest, member: MemberId) -> None:
    if not is_uploader(tx, digest, member):
        tx.execute(insert(uploader_table).values(digest=digest, member=member))


def is_uploader(tx: Connection, digest: Digest, member: MemberId) -> bool:
    """In a transaction that writes, it stays one until that ends."""
    query = _uploader(digest, member)
    return tx.execute(query.with_for_update(read=True) if is_write(tx) else query).first() is not None


def hold_uploader(tx: Connection, digest: Digest, member: MemberId) -> None:
    """Waits for whoever claims this upload, and lets nobody claim it until the transaction ends."""
    tx.execute(_uploader(digest, member).with_for_update()).first()


def remove_uploader(tx: Connection, digest: Digest, member: MemberId) -> None:
    mine = (uploader_table.c.digest == digest, uploader_table.c.member == member)
    tx.execute(delete(uploader_table).where(*mine))


def remove_unused(tx: Connection, digest: Digest) -> bool:
    """Forgets a blob that nobody uploaded, or that nobody is left of, and nobody may read; whether it did."""
    used = [exists().where(table.c.digest == blob_table.c.digest) for table in (uploader_table, reader_table)]
    return bool(tx.execute(delete(blob_table).where(blob_table.c.digest == digest, ~or_(*used))).rowcount)


def grant(tx: Connection, digest: Digest, group: GroupId) -> None:
    if _IS_READER.first(tx, blob=digest, group=group) is None:
        tx.execute(insert(reader_table).values(digest=digest, group_name=group))


def readers(tx: Connection, digest: Digest) -> list[GroupId]:
    rows = tx.execute(select(reader_table.c.group_name).where(reader_table.c.digest == digest))
    return [GroupId(row.group_name) for row in rows]


def pending(tx: Connection, member: MemberId) -> list[StoredBlob]:
    """What this member uploaded and nobody may read."""
    query = select(blob_table).join(uploader_table, uploader_table.c.digest == blob_table.c.digest)
    rows = tx.execute(query.where(uploader_table.c.member == member, ~_is_read()))
    return [StoredBlob(Digest(bytes(row.digest)), row.size) for row in rows]


def abandoned(tx: Connection, *, before: int) -> list[tuple[Digest, MemberId]]:
    """Uploads older than this that nobody may read, and whose they are."""
    query = select(uploader_table).join(blob_table, blob_table.c.digest == uploader_table.c.digest)
    rows = tx.execute(query.where(blob_table.c.create_time < before, ~_is_read()))
    return [(Digest(bytes(row.digest)), MemberId(row.member)) for row in rows]


def without_readers(tx: Connection) -> list[Digest]:
    return [Digest(bytes(row.digest)) for row in tx.execute(select(blob_table.c.digest).where(~_is_read()))]


def _is_read() -> Exists:
    return exists().where(reader_table.c.digest == blob_table.c.digest)


def _uploader(digest: Digest, member: MemberId) -> Select[tuple[bytes]]:
    return select(uploader_table.c.digest).where(uploader_table.c.digest == digest, uploader_table.c.member == member)
