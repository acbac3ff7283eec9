"""Tables of admissions: the policy, who signed whose, and who is admitted.

Locks: a member's row first, the policy's after it, and none of a member's after that.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Integer,
    LargeBinary,
    Table,
    func,
    insert,
    select,
    update,
)

from alliance.names import MemberId
from hub.membership.model import GONE, Admission
from hub.membership.store import admitted_table, member_table
from hub.runtime.db import Int64, metadata

policy_table = Table(
    "admission_policy",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("cosigners", Integer, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
    CheckConstraint("cosigners >= 0", name="cosigners_not_negative"),
)
admission_table = Table(
    "admission",
    metadata,
    Column("member", ForeignKey("member.name"), primary_key=True),
    Column("signer", ForeignKey("member.name"), primary_key=True),
    Column("signature", LargeBinary, nullable=False),
    Column("create_time", Int64, nullable=False),
)


def cosigners(tx: Connection) -> int:
    return int(tx.execute(select(policy_table.c.cosigners)).scalar_one())


def lock_cosigners(tx: Connection) -> int:
    """The same, and nobody enrols, signs, leaves or is expelled until this transaction ends."""
    return int(tx.execute(select(policy_table.c.cosigners).with_for_update()).scalar_one())


def set_cosigners(tx: Connection, number: int) -> None:
    tx.execute(update(policy_table).values(cosigners=number))


def count_enrolled(tx: Connection) -> int:
    """Members that ever enrolled."""
    query = select(func.count()).select_from(member_table).where(member_table.c.enrol_time.is_not(None))
    return tx.execute(query).scalar_one()


def count_admitted(tx: Connection) -> int:
    return tx.execute(select(func.count()).select_from(admitted_table)).scalar_one()


def standing(tx: Connection) -> set[MemberId]:
    """Members that are admitted and have not gone."""
    query = select(admitted_table.c.member).join(member_table).where(member_table.c.standing.not_in(GONE))
    return {MemberId(row.member) for row in tx.execute(query)}


def waiting(tx: Connection) -> set[MemberId]:
    """Members that have enrolled, have not gone and are not admitted."""
    query = (
        select(member_table.c.name)
        .outerjoin(admitted_table)
        .where(
            member_table.c.enrol_time.is_not(None),
            member_table.c.standing.not_in(GONE),
            admitted_table.c.member.is_(None),
        )
    )
    return {MemberId(row.name) for row in tx.execute(query)}


def add(tx: Connection, admission: Admission) -> None:
    tx.execute(
        insert(admission_table).values(
            member=admission.member,
            signer=admission.signer,
            signature=admission.signature,
            create_time=admission.create_time,
        )
    )


def of(tx: Connection, members: Collection[MemberId]) -> dict[MemberId, list[Admission]]:
    """By member, each one's by signer; members that nobody signed for are left out."""
    query = select(admission_table).where(admission_table.c.member.in_(members))
    found: dict[MemberId, list[Admission]] = {}
    for row in tx.execute(query.order_by(admission_table.c.member, admission_table.c.signer)):
        member = MemberId(row.member)
        found.setdefault(member, []).append(
            Admission(
                member=member,
                signer=MemberId(row.signer),
                signature=bytes(row.signature),
                create_time=row.create_time,
            )
        )
    return found


def set_admitted(tx: Connection, member: MemberId, *, now: int) -> None:
    tx.execute(insert(admitted_table).values(member=member, time=now))
