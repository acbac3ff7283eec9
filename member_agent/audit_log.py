"""This member's own copy of the audit log: fetched, recomputed, compared with the signed head.

Every update checks the checkpoint's signature under the log key pinned at joining, recomputes the root from
the leaves, and continues from the leaves already held: a log that shrank, forked or changed an old leaf
stops the agent with `Corrupt`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Column, Index, Integer, LargeBinary, String, Table, func, select
from sqlalchemy.dialects.sqlite import insert

from alliance import checkpoint, merkle
from alliance.canonical import AuditEvent
from alliance.errors import AllianceError, Corrupt, FailedPrecondition
from alliance.v1 import audit_pb2 as pb
from member_agent.database import LocalDatabase
from member_agent.hub_client import HubClient
from member_agent.state import metadata

leaf_table = Table(
    "audit_leaf",
    metadata,
    Column("leaf_index", Integer, primary_key=True),
    Column("hash", LargeBinary(32), nullable=False),
    Column("event", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Index("ix_audit_leaf_subject_event", "subject", "event"),
)
WAIT_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A verified head: `size` leaves with root `root`."""

    size: int
    root: bytes


class AuditLog:
    def __init__(self, db: LocalDatabase, *, alliance: str, log_key: bytes) -> None:
        self._db = db
        self._origin = f"{alliance}/log"
        self._key = checkpoint.NoteKey(name=self._origin, public_key=Ed25519PublicKey.from_public_bytes(log_key))

    def update(self, hub: HubClient) -> Head:
        """Brings the copy to the hub's newest head. Raises: Corrupt."""
        # Read before asking: another process of this agent may store newer leaves than the head that is answered.
        hashes = self._hashes()
        answer = hub.call(pb.GetCheckpointRequest(), pb.GetCheckpointResponse)
        signed = checkpoint.open_note(answer.checkpoint, origin=self._origin, key=self._key)
        if signed.size < len(hashes):
            raise self._evidence(f"the log shrank from {len(hashes)} to {signed.size} leaves")
        frontier, _ = merkle.Frontier().append(hashes)
        leaves = list(self._fetch(hub, len(hashes), signed.size))
        grown, _ = frontier.append(leaf["hash"] for leaf in leaves)
        if (grown.size, grown.root) != (signed.size, signed.root):
            raise self._evidence(f"the leaves do not give the signed root of {signed.size} leaves")
        if leaves:
            with self._db.write() as tx:
                # Another process of this agent may have verified and stored the same leaves meanwhile.
                tx.execute(insert(leaf_table).on_conflict_do_nothing(), leaves)
        return Head(size=grown.size, root=grown.root)

    def find(self, *, event: str, subject: str) -> list[tuple[str, bytes]]:
        """Verified leaves with this subject and event, or `event:DETAIL`, oldest first: event and digest."""
        of_kind = (leaf_table.c.event == event) | leaf_table.c.event.startswith(f"{event}:", autoescape=True)
        with self._db.read() as tx:
            rows = tx.execute(
                select(leaf_table.c.event, leaf_table.c.digest)
                .where(leaf_table.c.subject == subject, of_kind)
                .order_by(leaf_table.c.leaf_index)
            ).all()
        return [(row.event, bytes(row.digest)) for row in rows]

    def require(self, hub: HubClient, *, event: str, subject: str, digest: bytes, detail: str = "") -> None:
        """The log says exactly this, `event` or `event:detail`, once and with no other detail.

        Waits a moment for the hub's sequencer. Raises: Corrupt, LOG_FORKED where the log says something else, and
        LOG_MISSING where it still says nothing, which a hub that is merely slow mends by itself.
        """
        found = self.await_event(hub, event=event, subject=subject)
        if not found:
            raise Corrupt(
                f"the log says nothing of {event} for {subject}",
                reason="LOG_MISSING",
                remedy="try again; if it stays, tell the alliance",
            )
        if found != [(f"{event}:{detail}" if detail else event, digest)]:
            raise self._evidence(f"the log says something else of {event} for {subject}")

    def await_event(self, hub: HubClient, *, event: str, subject: str) -> list[tuple[str, bytes]]:
        """As `find`, but gives the hub's sequencer a moment to come to it."""
        ends = time.monotonic() + WAIT_SECONDS
        while not (found := self.find(event=event, subject=subject)) and time.monotonic() < ends:
            self.update_quietly(hub)
            time.sleep(0.05)
        return found

    def update_quietly(self, hub: HubClient) -> None:
        """An update while the log may still be empty."""
        try:
            self.update(hub)
        except FailedPrecondition as error:
            if error.reason != "LOG_EMPTY":
                raise

    def size(self) -> int:
        with self._db.read() as tx:
            return tx.execute(select(func.count()).select_from(leaf_table)).scalar_one()

    def _fetch(self, hub: HubClient, start: int, end: int) -> Iterator[dict[str, Any]]:
        if start == end:
            return
        pages = hub.pages(pb.ListLeavesRequest(start_index=start), pb.ListLeavesResponse, lambda page: page.leaves)
        for expected, leaf in enumerate(pages, start):
            if expected == end:
                return
            if leaf.index != expected:
                raise self._evidence(f"leaf {leaf.index} came where {expected} was due")
            event = AuditEvent.from_bytes(leaf.data)
            yield {
                "leaf_index": leaf.index,
                "hash": merkle.leaf_hash(leaf.data),
                "event": event.event,
                "actor": event.actor,
                "subject": event.subject,
                "digest": event.digest,
            }

    def _hashes(self) -> list[bytes]:
        with self._db.read() as tx:
            rows = tx.execute(select(leaf_table.c.hash).order_by(leaf_table.c.leaf_index)).all()
        return [bytes(row.hash) for row in rows]

    def _evidence(self, what: str) -> AllianceError:
        return Corrupt(what, reason="LOG_FORKED", remedy="stop, keep this agent's home as evidence, tell the alliance")
