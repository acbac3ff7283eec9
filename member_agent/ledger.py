"""The egress ledger: one line for every payload, written before it is sent. It never leaves the member."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, String, Table, func, insert, select

from member_agent.database import LocalDatabase
from member_agent.egress import Permitted

metadata = MetaData()
SCHEMA_VERSION = 1
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """`digest` is the SHA-256 of the bytes sent; `time` is UTC."""

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
        with self._db.write() as tx:
            tx.execute(
                insert(ledger_table).values(
                    time=int(now.timestamp() * 1_000_000),
                    kind=payload.kind,
                    message=payload.message.DESCRIPTOR.name,
                    size=len(data),
                    digest=hashlib.sha256(data).digest(),
                )
            )

    def entries(self, *, last: int) -> Iterator[LedgerEntry]:
        """The newest entries, oldest first."""
        with self._db.read() as tx:
            newest = select(ledger_table).order_by(ledger_table.c.id.desc()).limit(last).subquery()
            rows = tx.execute(select(newest).order_by(newest.c.id)).all()
        for row in rows:
            yield LedgerEntry(
                id=row.id,
                time=dt.datetime.fromtimestamp(row.time / 1_000_000, dt.UTC),
                kind=row.kind,
                message=row.message,
                size=row.size,
                digest=row.digest,
            )

    def totals(self) -> dict[str, int]:
        """Bytes sent by kind."""
        with self._db.read() as tx:
            rows = tx.execute(
                select(ledger_table.c.kind, func.sum(ledger_table.c.size)).group_by(ledger_table.c.kind)
            ).all()
        return {kind: int(size) for kind, size in rows}

    def close(self) -> None:
        self._db.close()
