"""The member's own copy of the audit log: every leaf and node kept, each head compared with what they give.

Every update checks the checkpoint's signature under the log key pinned at joining, and computes the root from the
nodes already held and the leaves that are new, in O(new + log n): a log that shrank, forked or changed an old leaf
stops the agent with `Corrupt`. Nodes are derived from leaves; `recompute` holds one against the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Column, Connection, Index, Integer, LargeBinary, String, Table, delete, func, select, tuple_
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
# Complete subtrees of two leaves and more; those of one leaf are the leaves.
node_table = Table(
    "audit_node",
    metadata,
    Column("level", Integer, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("hash", LargeBinary(32), nullable=False),
)
# The newest verified head as the hub signed it.
head_table = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("note", String, nullable=False),
)
WAIT_SECONDS = 20.0
# Leaves in memory at once when everything is recomputed.
_PAGE = 4096
# Node keys in one IN list.
_BATCH = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A verified head: `size` leaves with root `root`; `note` is what the hub signed."""

    size: int
    root: bytes
    note: str = ""


class AuditLog:
    def __init__(self, db: LocalDatabase, *, alliance: str, log_key: bytes) -> None:
        self._db = db
        self._origin = f"{alliance}/log"
        self.key = checkpoint.NoteKey(name=self._origin, public_key=Ed25519PublicKey.from_public_bytes(log_key))

    def update(self, hub: HubClient) -> Head:
        """Brings the copy to the hub's newest head. Raises: Corrupt."""
        # Read before asking: another process of this agent may store newer leaves than the head that is answered.
        frontier = self._frontier()
        answer = hub.call(pb.GetCheckpointRequest(), pb.GetCheckpointResponse)
        signed = checkpoint.open_note(answer.checkpoint, origin=self._origin, key=self.key)
        if signed.size < frontier.size:
            raise self.evidence(f"the log shrank from {frontier.size} to {signed.size} leaves")
        leaves = list(self.fetch(hub, frontier.size, signed.size))
        grown, nodes = frontier.append(leaf["hash"] for leaf in leaves)
        if grown.root != signed.root:
            # Before the hub is accused: a node that went bad here would give the same.
            grown, nodes = self._rebuilt(frontier.size).append(leaf["hash"] for leaf in leaves)
        if (grown.size, grown.root) != (signed.size, signed.root):
            raise self.evidence(f"the leaves do not give the signed root of {signed.size} leaves")
        self._store(leaves, nodes, signed.size, answer.checkpoint)
        return Head(size=grown.size, root=grown.root, note=answer.checkpoint)

    def head(self) -> Head | None:
        """The newest head that was verified here, None before the first."""
        with self._db.read() as tx:
            row = tx.execute(select(head_table)).first()
        if row is None:
            return None
        signed = checkpoint.open_note(row.note, origin=self._origin, key=self.key)
        return Head(size=signed.size, root=signed.root, note=row.note)

    def root_at(self, size: int) -> bytes:
        """The root of the first `size` leaves, which are held. Raises: Corrupt."""
        return merkle.frontier_at(size, self.read_nodes).root

    def recompute(self) -> Head:
        """Goes through every leaf, compares every node and the newest head.

        Raises: Corrupt, LOCAL_LOG_CORRUPT naming what differs; FailedPrecondition, LOG_EMPTY.
        """
        frontier, seen = merkle.Frontier(), 0
        for page in self._pages():
            frontier, nodes = frontier.append(page)
            nodes = {node: value for node, value in nodes.items() if node.level}
            held = self.read_nodes(list(nodes))
            wrong = next((node for node, value in nodes.items() if held.get(node) != value), None)
            if wrong is not None:
                first = wrong.position << wrong.level
                raise _local(f"the node over leaves {first} to {first + (1 << wrong.level) - 1} is not what they give")
            seen += len(nodes)
        head = self.head()
        if head is None:
            raise FailedPrecondition("the log is empty", reason="LOG_EMPTY", remedy="try again in a second")
        if (head.size, head.root) != (frontier.size, frontier.root):
            raise _local(f"the {frontier.size} leaves held do not give the verified head of {head.size}")
        with self._db.read() as tx:
            stored = tx.execute(select(func.count()).select_from(node_table)).scalar_one()
        if stored != seen:
            raise _local(f"{stored - seen} nodes are stored that no leaf explains")
        return head

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
            raise self.evidence(f"the log says something else of {event} for {subject}")

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
            return _size(tx)

    def fetch(self, hub: HubClient, start: int, end: int) -> Iterator[dict[str, Any]]:
        """The hub's leaves [start, end), as rows of this copy. Raises: Corrupt."""
        if start == end:
            return
        pages = hub.pages(pb.ListLeavesRequest(start_index=start), pb.ListLeavesResponse, lambda page: page.leaves)
        for expected, leaf in enumerate(pages, start):
            if expected == end:
                return
            if leaf.index != expected:
                raise self.evidence(f"leaf {leaf.index} came where {expected} was due")
            event = AuditEvent.from_bytes(leaf.data)
            yield {
                "leaf_index": leaf.index,
                "hash": merkle.leaf_hash(leaf.data),
                "event": event.event,
                "actor": event.actor,
                "subject": event.subject,
                "digest": event.digest,
            }

    def read_nodes(self, wanted: Sequence[merkle.Node]) -> Mapping[merkle.Node, bytes]:
        """A `merkle.NodeReader` over this copy."""
        found: dict[merkle.Node, bytes] = {}
        with self._db.read() as tx:
            for at in range(0, len(wanted), _BATCH):
                some = wanted[at : at + _BATCH]
                leaves = [node.position for node in some if node.level == 0]
                rows = tx.execute(
                    select(leaf_table.c.leaf_index, leaf_table.c.hash).where(leaf_table.c.leaf_index.in_(leaves))
                )
                found.update({merkle.Node(0, row.leaf_index): bytes(row.hash) for row in rows})
                keys = [tuple(node) for node in some if node.level]
                rows = tx.execute(select(node_table).where(tuple_(node_table.c.level, node_table.c.position).in_(keys)))
                found.update({merkle.Node(row.level, row.position): bytes(row.hash) for row in rows})
        return found

    def evidence(self, what: str) -> AllianceError:
        return Corrupt(what, reason="LOG_FORKED", remedy="stop, keep this agent's home as evidence, tell the alliance")

    def _frontier(self) -> merkle.Frontier:
        size = self.size()
        try:
            return merkle.frontier_at(size, self.read_nodes)
        except Corrupt:
            # Nodes that an earlier version did not keep, or that were lost: the leaves are all it takes.
            return self._rebuilt(size)

    def _rebuilt(self, size: int) -> merkle.Frontier:
        """The frontier of the first `size` leaves from the leaves alone; all nodes are stored anew."""
        frontier = merkle.Frontier()
        with self._db.write() as tx:
            tx.execute(delete(node_table))
            while frontier.size < size:
                page = _hashes(tx, frontier.size, min(frontier.size + _PAGE, size))
                if not page:
                    raise _local(f"leaf {frontier.size} is missing")
                frontier, nodes = frontier.append(page)
                _keep(tx, nodes)
        return frontier

    def _store(
        self, leaves: Sequence[dict[str, Any]], nodes: Mapping[merkle.Node, bytes], size: int, note: str
    ) -> None:
        with self._db.write() as tx:
            held = tx.execute(select(head_table.c.size)).scalar()
            if held is not None and held >= size and not leaves:
                return
            # Another process of this agent may have verified and stored the same leaves meanwhile.
            if leaves:
                tx.execute(insert(leaf_table).on_conflict_do_nothing(), leaves)
            _keep(tx, nodes)
            if held is None or held < size:
                tx.execute(delete(head_table))
                tx.execute(insert(head_table).values(id=1, size=size, note=note))

    def _pages(self) -> Iterator[list[bytes]]:
        start = 0
        while True:
            with self._db.read() as tx:
                page = _hashes(tx, start, start + _PAGE)
            if not page:
                return
            yield page
            start += len(page)


def _size(tx: Connection) -> int:
    """Leaves are dense, so that the last one tells how many."""
    last = tx.execute(select(func.max(leaf_table.c.leaf_index))).scalar()
    return 0 if last is None else int(last) + 1


def _hashes(tx: Connection, start: int, end: int) -> list[bytes]:
    """Raises: Corrupt where one is missing between others."""
    at = leaf_table.c.leaf_index
    rows = tx.execute(select(at, leaf_table.c.hash).where(at >= start, at < end).order_by(at)).all()
    for expected, row in enumerate(rows, start):
        if row.leaf_index != expected:
            raise _local(f"leaf {expected} is missing")
    return [bytes(row.hash) for row in rows]


def _keep(tx: Connection, nodes: Mapping[merkle.Node, bytes]) -> None:
    rows = [{"level": n.level, "position": n.position, "hash": value} for n, value in nodes.items() if n.level]
    if rows:
        tx.execute(insert(node_table).on_conflict_do_nothing(), rows)


def _local(what: str) -> Corrupt:
    return Corrupt(
        f"this agent's copy of the log: {what}",
        reason="LOCAL_LOG_CORRUPT",
        remedy="restore this agent's home from a backup; the hub is not at fault",
    )
