"""A group as the verified log tells it: who came, who is gone, which epochs there are.

The hub cannot hide a departure or an epoch from one member: all see one log. So whether a key is due to be
changed is read here, and what the hub says of it is a hint.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import or_, select

from alliance.admission import EXPELLED, LEFT
from alliance.errors import Corrupt
from alliance.names import GroupId, MemberId
from member_agent import audit_store
from member_agent.audit_store import leaf_table
from member_agent.database import LocalDatabase

_GONE = frozenset({LEFT, EXPELLED})
_OF_GROUPS = ("group_joined", "epoch_created", "key_wrapped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """`time`: microseconds since the epoch, at the hub."""

    index: int
    event: str
    subject: str
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupHistory:
    """`came`, `gone`: the leaf of it. `epochs`: number to its leaf. `holders`: wraps of the newest epoch."""

    group: GroupId
    came: Mapping[MemberId, int]
    gone: Mapping[MemberId, int]
    epochs: Mapping[int, Leaf]
    holders: frozenset[MemberId]

    @property
    def newest(self) -> int:
        """0 while there is no epoch."""
        return max(self.epochs, default=0)

    @property
    def is_exposed(self) -> bool:
        """Somebody has gone from the group since its newest epoch began."""
        return bool(self.epochs) and any(at > self.epochs[self.newest].index for at in self.gone.values())

    @property
    def is_orphaned(self) -> bool:
        """Nobody who is still there was wrapped the newest epoch."""
        return bool(self.epochs) and not self.holders - self.gone.keys()

    def is_due(self, now: dt.datetime, rotate: dt.timedelta) -> bool:
        """Whether the group needs another key. `rotate` is its longest life; 0 for any."""
        if not self.epochs:
            return False
        began = self.epochs[self.newest].time
        age = int(now.timestamp() * 1_000_000) - began
        return self.is_exposed or (bool(rotate) and age >= rotate // dt.timedelta(microseconds=1))

    def require_creator(self, member: MemberId, epoch: int) -> None:
        """Whoever was gone began no epoch. Raises: Corrupt."""
        left, began = self.gone.get(member), self.epochs.get(epoch)
        if left is not None and began is not None and left < began.index:
            raise _forged(f"epoch {epoch} of {self.group} is by {member}, which was gone before")

    def require_present(self, member: MemberId) -> None:
        """Raises: Corrupt for one that the log says is gone."""
        if member in self.gone:
            raise _forged(f"the hub shows {member} in {self.group}, the log says that it is gone")

    def require_no_rollback(self, shown: int, held: int) -> None:
        """Raises: Corrupt, where the hub shows an epoch older than one that is known."""
        if shown < (known := max(self.newest, held)):
            raise Corrupt(
                f"the hub shows epoch {shown} of {self.group}, there is an epoch {known}",
                reason="EPOCH_ROLLED_BACK",
                remedy="keep this agent's home as evidence, tell the alliance",
            )


class GroupLog:
    """Reads the log's leaves on groups once, and then only what is new."""

    def __init__(self, db: LocalDatabase) -> None:
        self._db = db
        self._leaves: list[Leaf] = []
        self._read = 0

    def history(self, group: GroupId) -> GroupHistory:
        """Of one group, up to the newest verified leaf."""
        columns = leaf_table.c
        wanted = or_(
            columns.event.in_(_GONE),
            *(columns.event.startswith(f"{kind}:", autoescape=True) for kind in _OF_GROUPS),
        )
        query = select(columns.leaf_index, columns.event, columns.subject, columns.time)
        with self._db.read() as tx:
            upto = audit_store.size(tx)
            fresh = query.where(columns.leaf_index >= self._read, columns.leaf_index < upto, wanted)
            rows = tx.execute(fresh.order_by(columns.leaf_index)).all()
        self._leaves += [
            Leaf(index=row.leaf_index, event=row.event, subject=row.subject, time=row.time or 0) for row in rows
        ]
        self._read = upto
        return history(group, self._leaves)


def history(group: GroupId, leaves: Iterable[Leaf]) -> GroupHistory:
    """Reads leaves in the log's order; others than those of the group are passed over."""
    came: dict[MemberId, int] = {}
    gone: dict[MemberId, int] = {}
    epochs: dict[int, Leaf] = {}
    holders: dict[int, set[MemberId]] = {}
    for leaf in leaves:
        kind, _, detail = leaf.event.partition(":")
        subject = MemberId(leaf.subject)
        if kind == "group_joined" and detail == group:
            came.setdefault(subject, leaf.index)
        elif kind in _GONE and subject in came:
            gone.setdefault(subject, leaf.index)
        elif kind == "epoch_created" and leaf.subject == group and (number := _number(detail)):
            epochs.setdefault(number, leaf)
        elif kind == "key_wrapped" and detail.startswith(f"{group}:"):
            holders.setdefault(_number(detail.rpartition(":")[2]), set()).add(subject)
    return GroupHistory(
        group=group, came=came, gone=gone, epochs=epochs, holders=frozenset(holders.get(max(epochs, default=0), ()))
    )


def _number(text: str) -> int:
    """0 for what no honest hub logs."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 11 else 0


def _forged(what: str) -> Corrupt:
    return Corrupt(what, reason="GROUP_FORGED", remedy="keep this agent's home as evidence, tell the alliance")
