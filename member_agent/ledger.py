"""The egress ledger: one line for every payload, written before it is sent. It never leaves the member."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    func,
    insert,
    or_,
    select,
)

from alliance.prepared import Prepared
from member_agent.database import LocalDatabase
from member_agent.egress import Permitted, PermittedBlob
from member_agent.logged import Logged, leaves_of

metadata = MetaData()
SCHEMA_VERSION = 2
# What an upload's line has for its message: the one that it is many of.
UPLOAD = "UploadBlobRequest"
ledger_table = Table(
    "egress",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("kind", String, nullable=False, index=True),
    Column("message", String, nullable=False),
    Column("size", Integer, nullable=False),
    Column("digest", LargeBinary, nullable=False),
)


# The leaves of the audit log that a payload causes where the hub accepts it.
logged_table = Table(
    "egress_logged",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("payload", ForeignKey("egress.id"), nullable=False, index=True),
    Column("event", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("content", LargeBinary, nullable=False, index=True),
    Column("signed", LargeBinary, nullable=False),
)
# Everything that is sent runs it.
_RECORD = Prepared(insert(ledger_table).returning(ledger_table.c.id))
_CAUSES = Prepared(insert(logged_table))


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """`digest` is the SHA-256 of the bytes sent, of an upload that of the whole blob; `time` is UTC."""

    id: int
    time: dt.datetime
    kind: str
    message: str
    size: int
    digest: bytes


class Ledger:
    def __init__(self, path: Path) -> None:
        # NORMAL survives a kill; a power cut may cost the last lines, never the order.
        self._db = LocalDatabase(path, metadata, version=SCHEMA_VERSION, synchronous="NORMAL")

    def record(self, payload: Permitted, *, now: dt.datetime) -> None:
        data = payload.to_bytes()
        leaves = [
            {"event": one.event, "subject": one.subject, "digest": one.digest}
            | {"content": one.content, "signed": one.signed}
            for one in leaves_of(payload.message)
        ]
        entry = _values(now, payload.kind, payload.message.DESCRIPTOR.name, len(data), hashlib.sha256(data).digest())
        with self._db.write() as tx:
            made = _RECORD.first(tx, **entry)
            assert made is not None
            _CAUSES.change_all(tx, [leaf | {"payload": made.id} for leaf in leaves])

    def record_blob(self, blob: PermittedBlob, *, offset: int, now: dt.datetime) -> None:
        """One line of a whole upload: the digest of all of it, the size of what is still to be sent."""
        entry = _values(now, blob.kind, UPLOAD, len(blob.data) - offset, blob.digest)
        with self._db.write() as tx:
            _RECORD.first(tx, **entry)

    def entries(self, *, last: int) -> Iterator[LedgerEntry]:
        """The newest entries, oldest first."""
        with self._db.read() as tx:
            newest = select(ledger_table).order_by(ledger_table.c.id.desc()).limit(last).subquery()
            rows = tx.execute(select(newest).order_by(newest.c.id)).all()
        yield from map(_entry, rows)

    def find(self, *, id: int | None = None, digest: bytes | None = None) -> tuple[LedgerEntry, list[Logged]] | None:
        """The newest payload of this number, or of this digest: its own, of what it announced, of a leaf; else of all
        that cause leaves."""
        query = select(ledger_table).outerjoin(logged_table).order_by(ledger_table.c.id.desc()).limit(1)
        if id is not None:
            query = query.where(ledger_table.c.id == id)
        elif digest is None:
            query = query.where(logged_table.c.id.is_not(None))
        else:
            named = (ledger_table.c.digest, logged_table.c.content, logged_table.c.digest)
            query = query.where(or_(*(column == digest for column in named)))
        with self._db.read() as tx:
            row = tx.execute(query).first()
            if row is None:
                return None
            leaves = tx.execute(
                select(logged_table).where(logged_table.c.payload == row.id).order_by(logged_table.c.id)
            ).all()
        return _entry(row), [
            Logged(
                event=leaf.event,
                subject=leaf.subject,
                digest=bytes(leaf.digest),
                content=bytes(leaf.content),
                signed=bytes(leaf.signed),
            )
            for leaf in leaves
        ]

    def totals(self) -> dict[str, int]:
        """Bytes sent by kind."""
        with self._db.read() as tx:
            rows = tx.execute(
                select(ledger_table.c.kind, func.sum(ledger_table.c.size)).group_by(ledger_table.c.kind)
            ).all()
        return {kind: int(size) for kind, size in rows}

    def close(self) -> None:
        self._db.close()


def _values(now: dt.datetime, kind: str, message: str, size: int, digest: bytes) -> dict[str, Any]:
    time = int(now.timestamp() * 1_000_000)
    return {"time": time, "kind": kind, "message": message, "size": size, "digest": digest}


def _entry(row: Row[Any]) -> LedgerEntry:
    return LedgerEntry(
        id=row.id,
        time=dt.datetime.fromtimestamp(row.time / 1_000_000, dt.UTC),
        kind=row.kind,
        message=row.message,
        size=row.size,
        digest=bytes(row.digest),
    )
