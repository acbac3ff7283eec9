"""The outbox: what must reach the hub, durable until the hub acknowledged it.

An item is written in the same transaction as the local state that it makes true; it carries its request id,
so that after a kill it is sent again and done once. Items go in order. What the hub refuses for good is kept
as failed, with the reason, and does not hold up the rest. A batch that was never sent, or refused, when its group's
key has changed is `stale`: whoever takes it makes it anew (`Publisher.remake`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from google.protobuf.message import Message
from sqlalchemy import Column, Connection, Integer, LargeBinary, String, Table, func, insert, select, update

from alliance.errors import AllianceError, Conflict, Corrupt, NotAuthenticated, Unavailable
from alliance.names import BankId, Digest, bank_id
from alliance.v1 import fingerprint_pb2 as pb
from member_agent import egress, transfer
from member_agent.clock import Clock, utc_now
from member_agent.database import LocalDatabase
from member_agent.hub_client import HubClient
from member_agent.locks import FileLock
from member_agent.state import metadata

# An upload damaged on the way, or an answer that is no refusal (a call cut off), is tried again so often.
MAX_UNCLEAR = 5


# What the hub says of a batch that was sealed under an earlier epoch.
STALE = "EPOCH_STALE"


class State(StrEnum):
    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    # Made anew as another item, or a tombstone of what was.
    REMADE = "remade"


outbox_table = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("message", String, nullable=False),
    Column("request", LargeBinary, nullable=False),
    # The sealed bytes that go before a batch header; dropped once sent.
    Column("sealed", LargeBinary),
    Column("digest", LargeBinary, index=True),
    Column("state", String, nullable=False, index=True),
    Column("attempts", Integer, nullable=False, default=0),
    Column("problem", String, nullable=False, default=""),
    Column("create_time", Integer, nullable=False),
    Column("done_time", Integer),
)
_TYPES: dict[str, tuple[type[Message], type[Message]]] = {
    "PublishBatchRequest": (pb.PublishBatchRequest, pb.PublishBatchResponse),
    "WithdrawRowsRequest": (pb.WithdrawRowsRequest, pb.WithdrawRowsResponse),
    "ReportHitsRequest": (pb.ReportHitsRequest, pb.ReportHitsResponse),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    id: int
    message: str
    request: Message
    sealed_size: int
    state: State
    attempts: int
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """A batch that the hub does not have and would refuse; `state` and `attempts` as they were read."""

    id: int
    state: State
    attempts: int
    batch: pb.BatchHeader


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    sent: int
    failed: int
    waiting: int


def put(
    tx: Connection, request: Message, *, now: dt.datetime, sealed: bytes | None = None, digest: bytes = b""
) -> None:
    """Adds an item in the caller's transaction; what may not leave is refused here, before it waits.

    Raises: NotPermitted.
    """
    egress.permit(request)
    tx.execute(
        insert(outbox_table).values(
            message=request.DESCRIPTOR.name,
            request=request.SerializeToString(deterministic=True),
            sealed=sealed,
            digest=digest or None,
            state=State.WAITING,
            create_time=int(now.timestamp() * 1_000_000),
        )
    )


def take_failed_batches(tx: Connection) -> list[Digest]:
    """Batches the hub refused for good, each told once: whoever takes them makes them anew."""
    chosen = (outbox_table.c.state == State.FAILED) & outbox_table.c.digest.is_not(None)
    digests = [Digest(bytes(digest)) for digest in tx.execute(select(outbox_table.c.digest).where(chosen)).scalars()]
    tx.execute(update(outbox_table).where(chosen).values(state=State.REMADE, sealed=None))
    _drop_tombstones(tx, set(digests))
    return digests


def take_stale(tx: Connection, stale: Stale) -> bool:
    """Takes one batch, with what waits to withdraw rows of it; whether it still was as it was read."""
    columns = outbox_table.c
    as_read = (columns.id == stale.id) & (columns.state == stale.state) & (columns.attempts == stale.attempts)
    taken = tx.execute(update(outbox_table).where(as_read).values(state=State.REMADE, sealed=None)).rowcount == 1
    if taken:
        _drop_tombstones(tx, {Digest(stale.batch.digest)})
    return taken


def _drop_tombstones(tx: Connection, batches: set[Digest]) -> None:
    """The hub never had these batches, and would refuse to withdraw rows of them."""
    if not batches:
        return
    columns = outbox_table.c
    query = select(columns.id, columns.request).where(
        columns.message == pb.WithdrawRowsRequest.DESCRIPTOR.name, columns.state.in_((State.WAITING, State.FAILED))
    )
    for row in tx.execute(query).all():
        if pb.WithdrawRowsRequest.FromString(row.request).tombstone.batch_digest in batches:
            tx.execute(update(outbox_table).where(columns.id == row.id).values(state=State.REMADE))


def _passes(error: AllianceError, attempts: int) -> bool:
    """Whether the same item may be taken later: the trouble is not the item's own."""
    if isinstance(error, Unavailable | Conflict | NotAuthenticated):
        return True
    if error.reason in ("MEMBER_SUSPENDED", "CLIENT_TOO_OLD"):
        return True
    # An unclear answer may come after the hub has taken the item: given up at once, it would be made anew, and doubled.
    unclear = isinstance(error, Corrupt) or type(error) is AllianceError
    return unclear and attempts < MAX_UNCLEAR


class Outbox:
    def __init__(self, db: LocalDatabase, lock: Path, *, clock: Clock = utc_now) -> None:
        self._db, self._lock, self._clock = db, lock, clock

    def drain(self, hub: HubClient, *, progress: Callable[[int], None] = lambda bytes_: None) -> Drained:
        """Sends what waits, oldest first; one process at a time does it, others wait for their turn.

        Raises: the error that may pass (no connection, suspension, an expired certificate): everything unsent waits.
        """
        sent = failed = 0
        with FileLock(self._lock):
            while (item := self._next()) is not None:
                if not self._begin(item):
                    continue
                try:
                    self._send(hub, item, progress)
                except AllianceError as error:
                    again = _passes(error, item.attempts)
                    self._mark(item, State.WAITING if again else State.FAILED, f"{error} [{error.reason}]")
                    if again:
                        raise
                    failed += 1
                else:
                    self._mark(item, State.SENT, "")
                    sent += 1
        return Drained(sent=sent, failed=failed, waiting=self.count(State.WAITING))

    def items(self, *states: State, limit: int | None = None) -> Iterator[Item]:
        """Oldest first."""
        with self._db.read() as tx:
            columns = [c for c in outbox_table.c if c.name != "sealed"]
            size = func.coalesce(func.length(outbox_table.c.sealed), 0).label("sealed_size")
            query = select(*columns, size).order_by(outbox_table.c.id).limit(limit)
            if states:
                query = query.where(outbox_table.c.state.in_(states))
            rows = tx.execute(query).all()
        for row in rows:
            yield Item(
                id=row.id,
                message=row.message,
                request=_TYPES[row.message][0].FromString(row.request),
                sealed_size=row.sealed_size,
                state=State(row.state),
                attempts=row.attempts,
                problem=row.problem,
            )

    def count(self, state: State) -> int:
        with self._db.read() as tx:
            return tx.execute(
                select(func.count()).select_from(outbox_table).where(outbox_table.c.state == state)
            ).scalar_one()

    def sealed(self, item: Item | Stale) -> bytes:
        with self._db.read() as tx:
            found = tx.execute(select(outbox_table.c.sealed).where(outbox_table.c.id == item.id)).scalar_one()
        return bytes(found or b"")

    def banks(self) -> set[BankId]:
        """Into which batches wait that the hub does not have."""
        return {bank_id(stale.batch.bank) for stale in self._unsent()}

    def stale(self, bank: BankId, epoch: int) -> Iterator[Stale]:
        """Batches of a bank that the hub does not have, sealed before `epoch`."""
        for one in self._unsent():
            if one.batch.bank == bank and one.batch.epoch < epoch:
                yield one

    def _unsent(self) -> Iterator[Stale]:
        columns = outbox_table.c
        never = (columns.state == State.WAITING) & (columns.attempts == 0)
        refused = (columns.state == State.FAILED) & columns.problem.endswith(f"[{STALE}]", autoescape=True)
        query = select(columns.id, columns.state, columns.attempts, columns.request)
        with self._db.read() as tx:
            rows = tx.execute(query.where(columns.digest.is_not(None), never | refused).order_by(columns.id)).all()
        for row in rows:
            batch = pb.PublishBatchRequest.FromString(row.request).batch
            yield Stale(id=row.id, state=State(row.state), attempts=row.attempts, batch=batch)

    def _next(self) -> Item | None:
        return next(self.items(State.WAITING, limit=1), None)

    def _send(self, hub: HubClient, item: Item, progress: Callable[[int], None]) -> None:
        message, response = item.request, _TYPES[item.message][1]
        if isinstance(message, pb.PublishBatchRequest):
            transfer.upload(hub, egress.permit_blob(self.sealed(item)), progress=progress)
        hub.call(message, response)

    def _begin(self, item: Item) -> bool:
        """Counts the attempt before it is made: what was never begun, the hub cannot have. False for one taken away."""
        waits = (outbox_table.c.id == item.id) & (outbox_table.c.state == State.WAITING)
        with self._db.write() as tx:
            begun = update(outbox_table).where(waits).values(attempts=outbox_table.c.attempts + 1)
            return tx.execute(begun).rowcount == 1

    def _mark(self, item: Item, state: State, problem: str) -> None:
        done = state is not State.WAITING
        values: dict[str, object] = {"state": state, "problem": problem[-500:]}
        if done:
            values["done_time"] = int(self._clock().timestamp() * 1_000_000)
        if state is State.SENT:
            values["sealed"] = None
        with self._db.write() as tx:
            tx.execute(update(outbox_table).where(outbox_table.c.id == item.id).values(**values))
