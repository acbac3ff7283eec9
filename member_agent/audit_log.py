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
from sqlalchemy import Row, bindparam, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert

from alliance import checkpoint, merkle
from alliance.canonical import AuditEvent
from alliance.errors import AllianceError, Corrupt, FailedPrecondition
from alliance.v1 import audit_pb2 as pb
from member_agent import audit_store as store
from member_agent.audit_store import head_table, leaf_table, node_table
from member_agent.database import LocalDatabase
from member_agent.hub_client import HubClient

WAIT_SECONDS = 20.0


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
        try:
            answer = hub.call(pb.GetCheckpointRequest(), pb.GetCheckpointResponse)
        except FailedPrecondition as error:
            if error.reason == "LOG_EMPTY" and frontier.size:
                raise self.evidence(f"the log shrank from {frontier.size} leaves to none") from error
            raise
        signed = self._signed(answer.checkpoint)
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

    def _signed(self, note: str) -> checkpoint.Checkpoint:
        """What an honest hub always shows: a head that the log's key signed. Raises: Corrupt, CHECKPOINT_FORGED."""
        try:
            return checkpoint.open_note(note, origin=self._origin, key=self.key)
        except Corrupt as error:
            raise Corrupt(error.message, reason="CHECKPOINT_FORGED", remedy=error.remedy) from error

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
            for row in page:
                if row.time is not None and merkle.leaf_hash(store.data(row)) != row.hash:
                    raise store.local(f"leaf {row.leaf_index} is not what was logged")
            frontier, nodes = frontier.append(bytes(row.hash) for row in page)
            nodes = {node: value for node, value in nodes.items() if node.level}
            held = self.read_nodes(list(nodes))
            wrong = next((node for node, value in nodes.items() if held.get(node) != value), None)
            if wrong is not None:
                first = wrong.position << wrong.level
                raise store.local(
                    f"the node over leaves {first} to {first + (1 << wrong.level) - 1} is not what they give"
                )
            seen += len(nodes)
        head = self.head()
        if head is None:
            raise FailedPrecondition("the log is empty", reason="LOG_EMPTY", remedy="try again in a second")
        if (head.size, head.root) != (frontier.size, frontier.root):
            raise store.local(f"the {frontier.size} leaves held do not give the verified head of {head.size}")
        with self._db.read() as tx:
            stored = tx.execute(select(func.count()).select_from(node_table)).scalar_one()
        if stored != seen:
            raise store.local(f"{stored - seen} nodes are stored that no leaf explains")
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

    def locate(self, *, event: str, subject: str, actor: str, digest: bytes) -> int | None:
        """The first verified leaf that says this, `event` or `event:DETAIL`, by its place."""
        of_kind = (leaf_table.c.event == event) | leaf_table.c.event.startswith(f"{event}:", autoescape=True)
        of_whom = (leaf_table.c.subject == subject) & (leaf_table.c.actor == actor) & (leaf_table.c.digest == digest)
        with self._db.read() as tx:
            found = tx.execute(select(func.min(leaf_table.c.leaf_index)).where(of_whom, of_kind)).scalar()
        return None if found is None else int(found)

    def leaves(self, start: int = 0) -> Iterator[bytes]:
        """The leaves from `start` on as the hub logged them; `complete` comes before. Raises: Corrupt."""
        while True:
            with self._db.read() as tx:
                page = store.rows(tx, start, start + store.PAGE)
            yield from (store.data(row) for row in page)
            if not page:
                return
            start += len(page)

    def newest(self, count: int) -> list[dict[str, Any]]:
        """The last verified leaves, in order, as rows of this copy."""
        query = select(leaf_table).order_by(leaf_table.c.leaf_index.desc()).limit(count)
        with self._db.read() as tx:
            return [dict(row) for row in reversed(tx.execute(query).mappings().all())]

    def compare_leaves(self, hub: HubClient) -> None:
        """Fetches every leaf again, and compares it with the one held. Raises: Corrupt."""
        held = (row for page in self._pages() for row in page)
        for row, shown in zip(held, self.fetch(hub, 0, self.size()), strict=False):
            if bytes(row.hash) != shown["hash"]:
                raise self.evidence(f"the hub shows another leaf {row.leaf_index} than before")

    def complete(self, hub: HubClient) -> None:
        """Fetches again what an older agent did not keep of its leaves. Raises: Corrupt."""
        with self._db.read() as tx:
            lacking = tx.execute(select(func.min(leaf_table.c.leaf_index)).where(leaf_table.c.time.is_(None))).scalar()
        if lacking is None:
            return
        rows = list(self.fetch(hub, lacking, self.size()))
        with self._db.write() as tx:
            held = {row.leaf_index: bytes(row.hash) for row in store.rows(tx, lacking, lacking + len(rows))}
            if any(held[row["leaf_index"]] != row["hash"] for row in rows):
                raise self.evidence("the hub shows other leaves than before")
            change = update(leaf_table).where(leaf_table.c.leaf_index == bindparam("place"))
            tx.execute(
                change.values(time=bindparam("moment")),
                [{"place": row["leaf_index"], "moment": row["time"]} for row in rows],
            )

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
            return store.size(tx)

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
                "time": event.time,
            }

    def read_nodes(self, wanted: Sequence[merkle.Node]) -> Mapping[merkle.Node, bytes]:
        """A `merkle.NodeReader` over this copy."""
        with self._db.read() as tx:
            return store.nodes(tx, wanted)

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
                page = store.rows(tx, frontier.size, min(frontier.size + store.PAGE, size))
                if not page:
                    raise store.local(f"leaf {frontier.size} is missing")
                frontier, nodes = frontier.append(bytes(row.hash) for row in page)
                store.keep_nodes(tx, nodes)
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
            store.keep_nodes(tx, nodes)
            if held is None or held < size:
                tx.execute(delete(head_table))
                tx.execute(insert(head_table).values(id=1, size=size, note=note))

    def _pages(self) -> Iterator[Sequence[Row[Any]]]:
        start = 0
        while True:
            with self._db.read() as tx:
                page = store.rows(tx, start, start + store.PAGE)
            if not page:
                return
            yield page
            start += len(page)
