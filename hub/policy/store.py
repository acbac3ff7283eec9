"""The table of policies: one row for each revision, the newest holds. Rows are never changed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Column, Connection, Integer, Row, String, Table, insert, select

from alliance.audience import Tlp
from alliance.prepared import Prepared
from hub.policy.model import Policy, Revision, TwoAdmins
from hub.runtime.db import Int64, metadata

policy_table = Table(
    "policy",
    metadata,
    # 0 is what the hub's settings said when the first change was made.
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("two_admins", String(16), nullable=False),
    Column("least_quorum", Integer, nullable=False),
    Column("strictest_ceiling", Integer, nullable=False),
    Column("invitation_seconds", Integer, nullable=False),
    Column("certificate_seconds", Integer, nullable=False),
    Column("time", Int64, nullable=False),
    CheckConstraint("revision >= 0", name="revision_not_negative"),
    CheckConstraint("two_admins in ('auto', 'always', 'never')", name="two_admins"),
)
_NEWEST = Prepared(select(policy_table).order_by(policy_table.c.revision.desc()).limit(1))


def newest(tx: Connection) -> Revision | None:
    row = _NEWEST.first(tx)
    return None if row is None else _revision(row)


def add(tx: Connection, one: Revision, *, now: int) -> None:
    """Raises: RaceLost, where another made this revision."""
    policy = one.policy
    tx.execute(
        insert(policy_table).values(
            revision=one.number,
            two_admins=policy.two_admins.value,
            least_quorum=policy.least_quorum,
            strictest_ceiling=policy.strictest_ceiling.value,
            invitation_seconds=policy.invitation_seconds,
            certificate_seconds=policy.certificate_seconds,
            time=now,
        )
    )


def revisions(tx: Connection) -> list[Revision]:
    """All of them, oldest first. Raises: ValueError for a row that is none."""
    return [_revision(row) for row in tx.execute(select(policy_table).order_by(policy_table.c.revision))]


def _revision(row: Row[Any]) -> Revision:
    return Revision(
        number=row.revision,
        policy=Policy(
            two_admins=TwoAdmins(row.two_admins),
            least_quorum=row.least_quorum,
            strictest_ceiling=Tlp(row.strictest_ceiling),
            invitation_seconds=row.invitation_seconds,
            certificate_seconds=row.certificate_seconds,
        ),
    )
