"""Which blobs are complete, and who may read them; the bytes are `files`."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Column, Connection, ForeignKey, LargeBinary, Table, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from alliance.names import Digest, GroupId, MemberId
from hub.runtime.db import Int64, metadata

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


class StoredBlob(NamedTuple):
    digest: Digest
    size: int


def find(tx: Connection, digest: Digest) -> StoredBlob | None:
    row = tx.execute(select(blob_table).where(blob_table.c.digest == digest)).first()
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
    query = select(uploader_table.c.digest).where(uploader_table.c.digest == digest, uploader_table.c.member == member)
    return tx.execute(query).first() is not None


def grant(tx: Connection, digest: Digest, group: GroupId) -> None:
    query = select(reader_table.c.digest).where(reader_table.c.digest == digest, reader_table.c.group_name == group)
    if tx.execute(query).first() is None:
        tx.execute(insert(reader_table).values(digest=digest, group_name=group))


def readers(tx: Connection, digest: Digest) -> list[GroupId]:
    rows = tx.execute(select(reader_table.c.group_name).where(reader_table.c.digest == digest))
    return [GroupId(row.group_name) for row in rows]
