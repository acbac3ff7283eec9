"""Tables of the member's own copy of the audit log, and how they are read; what they mean is `audit_log`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    func,
    select,
    text,
)
from sqlalchemy.dialects.sqlite import insert

from alliance import merkle
from alliance.canonical import AuditEvent
from alliance.errors import Corrupt
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
    # Empty in rows of an older agent, until `complete` fetched it again.
    Column("time", BigInteger),
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
# Leaves in memory at once when everything is recomputed.
PAGE = 4096
_LEAVES = text(
    "SELECT 0 AS level, n.leaf_index AS position, n.hash FROM json_each(:wanted) AS w "
    "CROSS JOIN audit_leaf AS n WHERE n.leaf_index = json_extract(w.value, '$[1]')"
)
_NODES = text(
    "SELECT n.level, n.position, n.hash FROM json_each(:wanted) AS w CROSS JOIN audit_node AS n "
    "WHERE n.level = json_extract(w.value, '$[0]') AND n.position = json_extract(w.value, '$[1]')"
)


def size(tx: Connection) -> int:
    """Leaves are dense, so that the last one tells how many."""
    last = tx.execute(select(func.max(leaf_table.c.leaf_index))).scalar()
    return 0 if last is None else int(last) + 1


def rows(tx: Connection, start: int, end: int) -> Sequence[Row[Any]]:
    """The leaves [start, end), in order. Raises: Corrupt where one is missing between others."""
    at = leaf_table.c.leaf_index
    found = tx.execute(select(leaf_table).where(at >= start, at < end).order_by(at)).all()
    for expected, row in enumerate(found, start):
        if row.leaf_index != expected:
            raise local(f"leaf {expected} is missing")
    return found


def data(row: Row[Any]) -> bytes:
    """The leaf as the hub logged it."""
    return AuditEvent(
        event=row.event, actor=row.actor, subject=row.subject, time=row.time, digest=bytes(row.digest)
    ).to_bytes()


def nodes(tx: Connection, wanted: Sequence[merkle.Node]) -> dict[merkle.Node, bytes]:
    """Hashes of the nodes that are stored, leaves among them; a missing one is simply absent.

    Each is one look into a primary key: a list of pairs after IN would make SQLite read the whole table.
    """
    found: dict[merkle.Node, bytes] = {}
    for at in range(0, len(wanted), PAGE):
        some = wanted[at : at + PAGE]
        for query, keys in ((_LEAVES, [n for n in some if not n.level]), (_NODES, [n for n in some if n.level])):
            rows = tx.execute(query, {"wanted": json.dumps(keys)})
            found.update({merkle.Node(row.level, row.position): bytes(row.hash) for row in rows})
    return found


def keep_nodes(tx: Connection, nodes: Mapping[merkle.Node, bytes]) -> None:
    new = [{"level": n.level, "position": n.position, "hash": value} for n, value in nodes.items() if n.level]
    if new:
        tx.execute(insert(node_table).on_conflict_do_nothing(), new)


def local(what: str) -> Corrupt:
    return Corrupt(
        f"this agent's copy of the log: {what}",
        reason="LOCAL_LOG_CORRUPT",
        remedy="restore this agent's home from a backup; the hub is not at fault",
    )
