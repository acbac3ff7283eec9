"""The whole log recomputed from what is stored: every leaf, every node, the signed head. It needs no secret."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from alliance import checkpoint as notes
from alliance import merkle
from alliance.canonical import AuditEvent
from alliance.errors import Corrupt
from hub.audit import store
from hub.audit.store import StoredCheckpoint

# Leaves in memory at once.
_PAGE = 4096
_RESTORE = "keep the database as evidence and restore a backup"


def verify(tx: Connection, key: notes.NoteKey) -> tuple[int, bytes, int]:
    """Recomputes everything under the log's public key.

    Returns:
        Tree size, root hash, leaves still queued.

    Raises:
        Corrupt: names the first leaf or node that differs.
    """
    head = store.latest_checkpoint(tx)
    frontier, size, nodes_seen = merkle.Frontier(), 0, 0
    while page := store.leaves(tx, start=size, limit=_PAGE):
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
    _compare(key, head, frontier, nodes_seen, store.node_count(tx))
    return frontier.size, frontier.root, store.pending(tx)


def all_leaves(tx: Connection) -> Iterator[bytes]:
    """Every leaf in order, then those that wait to be integrated."""
    size = 0
    while page := store.leaves(tx, start=size, limit=_PAGE):
        yield from (leaf.data for leaf in page)
        size = page[-1].leaf_index + 1
    after = 0
    while waiting := store.queued(tx, _PAGE, after=after):
        yield from (leaf.data for leaf in waiting)
        after = waiting[-1].id


def _compare(
    key: notes.NoteKey, head: StoredCheckpoint | None, frontier: merkle.Frontier, nodes: int, stored_nodes: int
) -> None:
    if head is None:
        if frontier.size:
            raise Corrupt("leaves without a checkpoint", reason="LOG_CORRUPT", remedy=_RESTORE)
        return
    signed = notes.open_note(head.note, origin=key.name, key=key)
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
