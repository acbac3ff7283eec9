"""Queues leaves with the mutation that causes them, integrates them in one place, proves and recomputes.

Invariants: a leaf is queued in its mutation's own transaction; only `integrate` writes the tree, in one
transaction with the signed checkpoint; leaves are never changed.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from alliance import checkpoint as notes
from alliance import merkle
from alliance.canonical import AuditEvent
from alliance.errors import Corrupt, FailedPrecondition, InvalidInput
from hub.audit import store
from hub.audit.store import StoredCheckpoint, StoredLeaf
from hub.runtime.clock import Clock, micros

BATCH = 1024
# One page of leaves when the whole log is recomputed.
_VERIFY_PAGE = 4096
_RESTORE = "keep the database as evidence and restore a backup"


class AuditService:
    """`origin` names the log in its checkpoints; `key` signs them."""

    def __init__(self, *, origin: str, key: Ed25519PrivateKey, clock: Clock) -> None:
        self._origin = origin
        self._key = key
        self._clock = clock

    @property
    def public_key(self) -> bytes:
        """Ed25519, 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def record(self, tx: Connection, *, event: str, actor: str, subject: str, digest: bytes = b"") -> None:
        """Queues a leaf in the caller's transaction."""
        leaf = AuditEvent(event=event, actor=actor, subject=subject, time=micros(self._clock()), digest=digest)
        store.enqueue(tx, leaf.to_bytes())

    def has_pending(self, tx: Connection) -> bool:
        return bool(store.queued(tx, 1))

    def integrate(self, tx: Connection) -> int:
        """Moves queued leaves into the tree and signs the new head; returns how many."""
        store.lock(tx)
        waiting = store.queued(tx, BATCH)
        if not waiting:
            return 0
        head = store.latest_checkpoint(tx)
        size = head.size if head else 0
        frontier = merkle.frontier_at(size, lambda nodes: store.read_nodes(tx, nodes))
        if head is not None and frontier.root != head.root:
            raise Corrupt(
                "the stored tree does not give the signed root",
                reason="LOG_CORRUPT",
                remedy='run "alliance-hub audit verify"',
            )
        now = micros(self._clock())
        grown, nodes = frontier.append(merkle.leaf_hash(leaf.data) for leaf in waiting)
        store.append(tx, first=size, leaves=[leaf.data for leaf in waiting], nodes=nodes, time=now)
        root = grown.root
        signed = notes.sign_note(
            notes.Checkpoint(origin=self._origin, size=size + len(waiting), root=root),
            name=self._origin,
            key=self._key,
        )
        store.save_checkpoint(tx, StoredCheckpoint(size + len(waiting), root, signed), time=now)
        store.dequeue(tx, [leaf.id for leaf in waiting])
        return len(waiting)

    def size(self, tx: Connection) -> int:
        """How many leaves are integrated."""
        head = store.latest_checkpoint(tx)
        return head.size if head else 0

    def head(self, tx: Connection) -> StoredCheckpoint:
        """Raises: FailedPrecondition while the log is empty."""
        head = store.latest_checkpoint(tx)
        if head is None:
            raise FailedPrecondition("the log is empty", reason="LOG_EMPTY", remedy="try again in a second")
        return head

    def leaves(self, tx: Connection, *, start: int, limit: int) -> list[StoredLeaf]:
        return store.leaves(tx, start=start, limit=limit)

    def inclusion(self, tx: Connection, *, index: int, size: int) -> tuple[bytes, ...]:
        """Raises: InvalidInput outside the log."""
        head = self.head(tx)
        if not 0 <= index < size <= head.size:
            raise InvalidInput(f"no leaf {index} in a tree of {size}", field="leaf_index", remedy="ask within the log")
        return merkle.inclusion_proof(index, size, lambda nodes: store.read_nodes(tx, nodes))

    def consistency(self, tx: Connection, *, first: int, second: int) -> tuple[bytes, ...]:
        """Raises: InvalidInput outside the log."""
        head = self.head(tx)
        if not 0 <= first <= second <= head.size:
            raise InvalidInput(
                f"no trees of sizes {first} and {second}", field="first_tree_size", remedy="ask within the log"
            )
        return merkle.consistency_proof(first, second, lambda nodes: store.read_nodes(tx, nodes))

    def verify(self, tx: Connection) -> tuple[int, bytes, int]:
        """Recomputes everything: every leaf, every stored node, the signed root.

        Returns:
            Tree size, root hash, leaves still queued.

        Raises:
            Corrupt: names the first leaf or node that differs.
        """
        head = store.latest_checkpoint(tx)
        frontier, size, nodes_seen = merkle.Frontier(), 0, 0
        while page := store.leaves(tx, start=size, limit=_VERIFY_PAGE):
            for offset, leaf in enumerate(page):
                if leaf.leaf_index != size + offset:
                    raise Corrupt(f"leaf {size + offset} is missing", reason="LOG_CORRUPT", remedy=_RESTORE)
            frontier, nodes = frontier.append(merkle.leaf_hash(leaf.data) for leaf in page)
            stored = store.read_nodes(tx, list(nodes))
            for node, expected in nodes.items():
                if stored.get(node) != expected:
                    raise Corrupt(_differs(node), reason="LOG_CORRUPT", remedy=_RESTORE)
            for leaf in page:
                AuditEvent.from_bytes(leaf.data)
            size, nodes_seen = size + len(page), nodes_seen + len(nodes)
        self._compare(head, frontier, nodes_seen, store.node_count(tx))
        return frontier.size, frontier.root, store.pending(tx)

    def _compare(self, head: StoredCheckpoint | None, frontier: merkle.Frontier, nodes: int, stored_nodes: int) -> None:
        if head is None:
            if frontier.size:
                raise Corrupt("leaves without a checkpoint", reason="LOG_CORRUPT", remedy=_RESTORE)
            return
        key = notes.NoteKey(name=self._origin, public_key=self._key.public_key())
        signed = notes.open_note(head.note, origin=self._origin, key=key)
        if frontier.size < signed.size:
            raise Corrupt(f"leaf {frontier.size} is missing", reason="LOG_CORRUPT", remedy=_RESTORE)
        if not (signed.size, signed.root) == (head.size, head.root) == (frontier.size, frontier.root):
            raise Corrupt(
                f"the checkpoint of {signed.size} leaves is not of the {frontier.size} leaves that are stored",
                reason="LOG_CORRUPT",
                remedy=_RESTORE,
            )
        if nodes != stored_nodes:
            raise Corrupt(
                f"{stored_nodes - nodes} nodes are stored that no leaf explains", reason="LOG_CORRUPT", remedy=_RESTORE
            )


def _differs(node: merkle.Node) -> str:
    if node.level == 0:
        return f"leaf {node.position} is not what was logged"
    first = node.position << node.level
    return f"the node over leaves {first} to {first + (1 << node.level) - 1} is not what they give"
