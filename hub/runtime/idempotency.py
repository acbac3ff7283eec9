"""AIP-155 request ids: a mutation, its response and the digest of its request commit together.

The same id with the same body gets the stored response; with another body, REQUEST_ID_REUSED. Ids belong
to a caller, so no caller can learn or spoil another's.
"""

from __future__ import annotations

import hashlib
import re

from sqlalchemy import Column, Connection, LargeBinary, String, Table, bindparam, delete, func, insert, select

from alliance.errors import InvalidInput
from alliance.prepared import Prepared
from hub.runtime.db import Int64, metadata

_ID = re.compile(r"[0-9A-Za-z-]{8,64}\Z")
RETENTION_MICROS = 7 * 86_400 * 1_000_000

request_table = Table(
    "request",
    metadata,
    Column("caller", String(80), primary_key=True),
    Column("request_id", String(64), primary_key=True),
    Column("method", String(120), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("time", Int64, nullable=False, index=True),
)

# Every mutation runs these.
_STORED = Prepared(
    select(request_table.c.method, request_table.c.digest, request_table.c.response).where(
        request_table.c.caller == bindparam("caller"), request_table.c.request_id == bindparam("request_id")
    )
)
_REMEMBER = Prepared(insert(request_table))


def replay(tx: Connection, *, caller: str, method: str, request_id: str, body: bytes) -> bytes | None:
    """The stored response of this very request, or None for a new one, which then is the only one of its id
    until the transaction ends. Raises: InvalidInput."""
    if not _ID.match(request_id):
        raise InvalidInput(
            "a request id is 8 to 64 letters, digits or hyphens",
            reason="REQUEST_ID_MALFORMED",
            field="request_id",
            remedy="send a new UUID with each new request, the same one with a retry",
        )
    _lock(tx, caller, request_id)
    row = _STORED.first(tx, caller=caller, request_id=request_id)
    if row is None:
        return None
    if row.method != method or row.digest != hashlib.sha256(body).digest():
        raise InvalidInput(
            "this request id was used for another request",
            reason="REQUEST_ID_REUSED",
            field="request_id",
            remedy="send a new UUID",
        )
    return bytes(row.response)


def _lock(tx: Connection, caller: str, request_id: str) -> None:
    """A duplicate waits here, and then finds the response; on SQLite it waited for the write lock."""
    if tx.dialect.name == "postgresql":
        digest = hashlib.sha256(f"{caller} {request_id}".encode()).digest()
        tx.execute(select(func.pg_advisory_xact_lock(int.from_bytes(digest[:8], "big", signed=True))))


def remember(
    tx: Connection, *, caller: str, method: str, request_id: str, body: bytes, response: bytes, now: int
) -> None:
    _REMEMBER.change(
        tx,
        caller=caller,
        request_id=request_id,
        method=method,
        digest=hashlib.sha256(body).digest(),
        response=response,
        time=now,
    )


def forget_old(tx: Connection, *, now: int) -> int:
    """Drops ids older than a week; a retry later than that is a new request."""
    return tx.execute(delete(request_table).where(request_table.c.time < now - RETENTION_MICROS)).rowcount
