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
from hub.audit import store, verification
from hub.audit.store import StoredCheckpoint, StoredLeaf
from hub.runtime.clock import Clock, micros

BATCH = 1024


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

    @property
    def note_key(self) -> notes.NoteKey:
        """The same under the log's name, as checkpoints are signed."""
        return notes.NoteKey(name=self._origin, public_key=self._key.public_key())

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
        return verification.verify(tx, self.note_key)
