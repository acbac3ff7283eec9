"""Tables of the log: the queue that mutations write to, and the tree that only the sequencer writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Integer,
    LargeBinary,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)

from alliance.merkle import Node
from alliance.names import MemberId
from alliance.prepared import Prepared
from hub.runtime.db import AutoId, Int64, metadata

queue_table = Table(
    "audit_queue",
    metadata,
    Column("id", AutoId, primary_key=True, autoincrement=True),
    Column("data", LargeBinary, nullable=False),
)
leaf_table = Table(
    "audit_leaf",
    metadata,
    Column("leaf_index", Int64, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
    Column("time", Int64, nullable=False),
    CheckConstraint("leaf_index >= 0", name="index_not_negative"),
)
node_table = Table(
    "audit_node",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("position", Int64, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(32), nullable=False),
)
checkpoint_table = Table(
    "audit_checkpoint",
    metadata,
    Column("size", Int64, primary_key=True, autoincrement=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("note", Text, nullable=False),
    Column("time", Int64, nullable=False),
)
# The newest statement of each member about a head that it saw; `time` in seconds, by the member's clock.
cosignature_table = Table(
    "audit_cosignature",
    metadata,
    Column("member", ForeignKey("member.name"), primary_key=True),
    Column("size", Int64, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("time", Int64, nullable=False),
    Column("note", Text, nullable=False),
    Column("witness_key", LargeBinary(32), nullable=False),
    Column("certificate", LargeBinary, nullable=False),
)
# Nodes in one query.
_BATCH = 4096
# A list of pairs (level IN ..., position IN ...) makes SQLite read the whole table, and a chain of OR costs more to
# compile than to run: a join with the list is one search of the primary key for each node.
_BY_JSON = text(
    "SELECT n.level, n.position, n.hash FROM json_each(:wanted) AS w CROSS JOIN audit_node AS n "
    "WHERE n.level = json_extract(w.value, '$[0]') AND n.position = json_extract(w.value, '$[1]')"
)
_BY_ARRAYS = text(
    "SELECT n.level, n.position, n.hash "
    "FROM unnest(CAST(:levels AS integer[]), CAST(:positions AS bigint[])) AS w(level, position) "
    "JOIN audit_node AS n ON n.level = w.level AND n.position = w.position"
)


class QueuedLeaf(NamedTuple):
    id: int
    data: bytes


class StoredLeaf(NamedTuple):
    leaf_index: int
    data: bytes
    time: int


class StoredCheckpoint(NamedTuple):
    size: int
    root: bytes
    note: str


class StoredCosignature(NamedTuple):
    member: MemberId
    size: int
    root: bytes
    time: int
    note: str
    witness_key: bytes
    certificate: bytes


# Every mutation runs it.
_ENQUEUE = Prepared(insert(queue_table))
# The sequencer runs these ten times a second.
_QUEUED = Prepared(
    select(queue_table)
    .where(queue_table.c.id > bindparam("after"))
    .order_by(queue_table.c.id)
    .limit(bindparam("most", type_=Integer))
)
_DEQUEUE = Prepared(delete(queue_table), among={"ids": queue_table.c.id})
_ADD_LEAF, _ADD_NODE = Prepared(insert(leaf_table)), Prepared(insert(node_table))
_ADD_CHECKPOINT = Prepared(insert(checkpoint_table))
_NEWEST = Prepared(select(checkpoint_table).order_by(checkpoint_table.c.size.desc()).limit(1))
# Any number, the same at every replica.
_SEQUENCER_LOCK = 0x616C6C69


def lock(tx: Connection) -> None:
    """Makes this transaction the only sequencer; SQLite's write lock already did."""
    if tx.dialect.name == "postgresql":
        tx.execute(select(func.pg_advisory_xact_lock(_SEQUENCER_LOCK)))


def enqueue(tx: Connection, data: bytes) -> None:
    _ENQUEUE.change(tx, data=data)


def queued(tx: Connection, limit: int, *, after: int = 0) -> list[QueuedLeaf]:
    """The oldest that wait."""
    return [QueuedLeaf(row.id, bytes(row.data)) for row in _QUEUED.all(tx, after=after, most=limit)]


def pending(tx: Connection) -> int:
    return tx.execute(select(func.count()).select_from(queue_table)).scalar_one()


def dequeue(tx: Connection, ids: Sequence[int]) -> None:
    _DEQUEUE.change(tx, ids=ids)


def append(tx: Connection, *, first: int, leaves: Sequence[bytes], nodes: Mapping[Node, bytes], time: int) -> None:
    _ADD_LEAF.change_all(tx, [{"leaf_index": first + i, "data": d, "time": time} for i, d in enumerate(leaves)])
    _ADD_NODE.change_all(tx, [{"level": n.level, "position": n.position, "hash": h} for n, h in nodes.items()])


def save_checkpoint(tx: Connection, checkpoint: StoredCheckpoint, *, time: int) -> None:
    _ADD_CHECKPOINT.change(tx, size=checkpoint.size, root=checkpoint.root, note=checkpoint.note, time=time)


def latest_checkpoint(tx: Connection) -> StoredCheckpoint | None:
    row = _NEWEST.first(tx)
    return None if row is None else StoredCheckpoint(row.size, bytes(row.root), row.note)


def checkpoint(tx: Connection, size: int) -> StoredCheckpoint | None:
    """The checkpoint of exactly this size, if one was signed."""
    row = tx.execute(select(checkpoint_table).where(checkpoint_table.c.size == size)).first()
    return None if row is None else StoredCheckpoint(row.size, bytes(row.root), row.note)


def save_cosignature(tx: Connection, said: StoredCosignature) -> None:
    """In the place of the member's older one; a newer one stays."""
    mine = cosignature_table.c.member == said.member
    values = said._asdict()
    held = tx.execute(select(cosignature_table.c.size, cosignature_table.c.time).where(mine).with_for_update()).first()
    if held is None:
        tx.execute(insert(cosignature_table).values(**values))
    elif (held.size, held.time) <= (said.size, said.time):
        tx.execute(update(cosignature_table).where(mine).values(**values))


def cosignatures(tx: Connection, *, after: str | None, limit: int) -> list[StoredCosignature]:
    query = select(cosignature_table).order_by(cosignature_table.c.member).limit(limit)
    if after is not None:
        query = query.where(cosignature_table.c.member > after)
    return [
        StoredCosignature(
            member=MemberId(row.member),
            size=row.size,
            root=bytes(row.root),
            time=row.time,
            note=row.note,
            witness_key=bytes(row.witness_key),
            certificate=bytes(row.certificate),
        )
        for row in tx.execute(query)
    ]


def leaves(tx: Connection, *, start: int, limit: int) -> list[StoredLeaf]:
    found = tx.execute(
        select(leaf_table).where(leaf_table.c.leaf_index >= start).order_by(leaf_table.c.leaf_index).limit(limit)
    )
    return [StoredLeaf(row.leaf_index, bytes(row.data), row.time) for row in found]


def read_nodes(tx: Connection, wanted: Sequence[Node]) -> dict[Node, bytes]:
    """Hashes of the nodes that are stored; a missing one is simply absent. Each is one look into the primary key."""
    found: dict[Node, bytes] = {}
    for at in range(0, len(wanted), _BATCH):
        some = wanted[at : at + _BATCH]
        if tx.dialect.name == "sqlite":
            rows = tx.execute(_BY_JSON, {"wanted": json.dumps(some)})
        else:
            levels, positions = [node.level for node in some], [node.position for node in some]
            rows = tx.execute(_BY_ARRAYS, {"levels": levels, "positions": positions})
        found.update({Node(row.level, row.position): bytes(row.hash) for row in rows})
    return found


def node_count(tx: Connection) -> int:
    return tx.execute(select(func.count()).select_from(node_table)).scalar_one()
