"""Tables of members, invitations, operators and groups."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    LargeBinary,
    Row,
    Select,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from alliance.names import GroupId, MemberId, OperatorId
from alliance.prepared import Prepared
from hub.membership.model import ConsoleRole, Group, Identity, Invitation, Member, Operator, Role, Standing
from hub.runtime.db import Int64, metadata


def _one_of(column: str, values: Sequence[str]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


member_table = Table(
    "member",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("role", String(20), nullable=False),
    Column("standing", String(20), nullable=False),
    Column("reason", String(200), nullable=False),
    # One identity, one member: a second "acme" cannot enrol with acme's keys.
    Column("signing_key", LargeBinary, unique=True),
    Column("sealing_key", LargeBinary, unique=True),
    Column("create_time", Int64, nullable=False),
    Column("enrol_time", Int64),
    _one_of("role", list(Role)),
    _one_of("standing", list(Standing)),
)
# Members that count. Apart from `member`, whose rows others lock before the policy of admissions.
admitted_table = Table(
    "admitted",
    metadata,
    Column("member", ForeignKey("member.name"), primary_key=True),
    Column("time", Int64, nullable=False),
)
invitation_table = Table(
    "invitation",
    metadata,
    Column("secret_digest", LargeBinary(32), primary_key=True),
    Column("member", ForeignKey("member.name"), nullable=False, index=True),
    Column("expire_time", Int64, nullable=False),
    Column("used_time", Int64),
)
operator_table = Table(
    "operator",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("role", String(20), nullable=False),
    _one_of("role", list(ConsoleRole)),
)
group_table = Table(
    "sharing_group",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("create_time", Int64, nullable=False),
)
group_member_table = Table(
    "sharing_group_member",
    metadata,
    Column("group_name", ForeignKey("sharing_group.name"), primary_key=True),
    Column("member", ForeignKey("member.name"), primary_key=True, index=True),
)

# Members whose agent is connected; a row counts until its time, so a dead hub's rows expire.
presence_table = Table(
    "presence",
    metadata,
    Column("member", ForeignKey("member.name"), primary_key=True),
    Column("until", Int64, nullable=False),
)
# Every round runs them.
_PRESENT = Prepared(select(presence_table.c.member).where(presence_table.c.until > bindparam("now")))
_ACTIVE_IN = Prepared(
    select(group_member_table.c.member)
    .join(member_table, member_table.c.name == group_member_table.c.member)
    .where(group_member_table.c.group_name == bindparam("group"), member_table.c.standing == Standing.ACTIVE.value)
)


def set_present(tx: Connection, member: MemberId, *, until: int) -> None:
    changed = tx.execute(update(presence_table).where(presence_table.c.member == member).values(until=until))
    if not changed.rowcount:
        tx.execute(insert(presence_table).values(member=member, until=until))


def set_absent(tx: Connection, member: MemberId, *, until: int, now: int) -> None:
    """Ends a presence that was set until then, and none that was set later."""
    mine = (presence_table.c.member == member, presence_table.c.until <= until)
    tx.execute(update(presence_table).where(*mine).values(until=now))


def present(tx: Connection, *, now: int) -> set[MemberId]:
    return {MemberId(row.member) for row in _PRESENT.all(tx, now=now)}


@functools.cache
def _named() -> Prepared:
    """Every call authenticates by it."""
    return Prepared(_members().where(member_table.c.name == bindparam("member")))


@functools.cache
def _held() -> Prepared:
    by_name = _members().where(member_table.c.name == bindparam("member"))
    return Prepared(by_name.with_for_update(read=True, of=member_table))


@functools.cache
def _several() -> Prepared:
    """Every look of streams runs it."""
    return Prepared(_members(), among={"members": member_table.c.name})


def find_member(tx: Connection, member: MemberId) -> Member | None:
    row = _named().first(tx, member=member)
    return None if row is None else _member(row)


def hold_member(tx: Connection, member: MemberId) -> Member | None:
    """The member, whose standing then stays as it is until this transaction ends."""
    row = _held().first(tx, member=member)
    return None if row is None else _member(row)


def lock_member(tx: Connection, member: MemberId) -> Member | None:
    """The member, locked for a change; waits for all that hold it, not for those that only refer to it."""
    locked = _members().where(member_table.c.name == member).with_for_update(key_share=True, of=member_table)
    row = tx.execute(locked).first()
    return None if row is None else _member(row)


def members(tx: Connection, *, after: str | None, limit: int) -> list[Member]:
    query = _members().order_by(member_table.c.name).limit(limit)
    if after is not None:
        query = query.where(member_table.c.name > after)
    return [_member(row) for row in tx.execute(query)]


def members_named(tx: Connection, names: Collection[MemberId]) -> list[Member]:
    """Those of the members that there are."""
    return [_member(row) for row in _several().all(tx, members=list(names))]


def add_member(tx: Connection, member: Member) -> None:
    tx.execute(insert(member_table).values(name=member.id, **_columns(member)))


def save_member(tx: Connection, member: Member) -> None:
    tx.execute(update(member_table).where(member_table.c.name == member.id).values(**_columns(member)))


def identity_holder(tx: Connection, identity: Identity) -> MemberId | None:
    """The member that has either key already."""
    found = tx.execute(
        select(member_table.c.name).where(
            (member_table.c.signing_key == identity.signing_key) | (member_table.c.sealing_key == identity.sealing_key)
        )
    ).first()
    return None if found is None else MemberId(found.name)


def _members() -> Select[Any]:
    return select(member_table, admitted_table.c.time.label("admit_time")).outerjoin(admitted_table)


def add_invitation(tx: Connection, invitation: Invitation) -> None:
    """Replaces every unused invitation of the same member."""
    tx.execute(
        delete(invitation_table).where(
            invitation_table.c.member == invitation.member, invitation_table.c.used_time.is_(None)
        )
    )
    tx.execute(
        insert(invitation_table).values(
            secret_digest=invitation.secret_digest, member=invitation.member, expire_time=invitation.expire_time
        )
    )


def find_invitation(tx: Connection, secret_digest: bytes) -> Invitation | None:
    row = tx.execute(select(invitation_table).where(invitation_table.c.secret_digest == secret_digest)).first()
    if row is None:
        return None
    return Invitation(
        member=MemberId(row.member),
        secret_digest=bytes(row.secret_digest),
        expire_time=row.expire_time,
        used_time=row.used_time,
    )


def use_invitation(tx: Connection, secret_digest: bytes, *, now: int) -> bool:
    """Marks it used; False if someone else just did. The row lock decides between concurrent uses."""
    return bool(
        tx.execute(
            update(invitation_table)
            .where(invitation_table.c.secret_digest == secret_digest, invitation_table.c.used_time.is_(None))
            .values(used_time=now)
        ).rowcount
    )


def find_operator(tx: Connection, operator: OperatorId) -> Operator | None:
    row = tx.execute(select(operator_table).where(operator_table.c.name == operator)).first()
    return None if row is None else _operator(row)


def add_operator(tx: Connection, operator: Operator) -> None:
    tx.execute(insert(operator_table).values(name=operator.id, role=operator.role.value))


def operators(tx: Connection, *, after: str | None, limit: int) -> list[Operator]:
    """By name."""
    chosen = select(operator_table).order_by(operator_table.c.name).limit(limit)
    if after is not None:
        chosen = chosen.where(operator_table.c.name > after)
    return [_operator(row) for row in tx.execute(chosen)]


def lock_operators(tx: Connection) -> dict[OperatorId, Operator]:
    """All of them; nobody else revokes one until this transaction ends."""
    chosen = select(operator_table).order_by(operator_table.c.name).with_for_update()
    return {one.id: one for one in map(_operator, tx.execute(chosen))}


def admins(tx: Connection) -> list[OperatorId]:
    chosen = select(operator_table.c.name).where(operator_table.c.role == ConsoleRole.ADMIN.value)
    return [OperatorId(row.name) for row in tx.execute(chosen)]


def find_group(tx: Connection, group: GroupId) -> Group | None:
    row = tx.execute(select(group_table).where(group_table.c.name == group)).first()
    return None if row is None else Group(id=group, create_time=row.create_time, members=_members_of(tx, group))


def groups(tx: Connection, *, member: MemberId | None, after: str | None, limit: int) -> list[Group]:
    """All groups, or those `member` is in."""
    query = select(group_table).order_by(group_table.c.name).limit(limit)
    if after is not None:
        query = query.where(group_table.c.name > after)
    if member is not None:
        query = query.join(group_member_table).where(group_member_table.c.member == member)
    rows = tx.execute(query).all()
    return [
        Group(id=GroupId(row.name), create_time=row.create_time, members=_members_of(tx, GroupId(row.name)))
        for row in rows
    ]


def add_group(tx: Connection, group: Group) -> None:
    tx.execute(insert(group_table).values(name=group.id, create_time=group.create_time))


def add_group_member(tx: Connection, group: GroupId, member: MemberId) -> None:
    tx.execute(insert(group_member_table).values(group_name=group, member=member))


def is_group_member(tx: Connection, group: GroupId, member: MemberId) -> bool:
    query = select(group_member_table.c.member).where(
        group_member_table.c.group_name == group, group_member_table.c.member == member
    )
    return tx.execute(query).first() is not None


def active_in(tx: Connection, group: GroupId) -> set[MemberId]:
    return {MemberId(row.member) for row in _ACTIVE_IN.all(tx, group=group)}


def leave_groups(tx: Connection, member: MemberId) -> None:
    tx.execute(delete(group_member_table).where(group_member_table.c.member == member))


def _members_of(tx: Connection, group: GroupId) -> tuple[MemberId, ...]:
    rows = tx.execute(
        select(group_member_table.c.member)
        .where(group_member_table.c.group_name == group)
        .order_by(group_member_table.c.member)
    )
    return tuple(MemberId(row.member) for row in rows)


def _columns(member: Member) -> dict[str, Any]:
    return {
        "role": member.role.value,
        "standing": member.standing.value,
        "reason": member.reason,
        "signing_key": member.identity.signing_key if member.identity else None,
        "sealing_key": member.identity.sealing_key if member.identity else None,
        "create_time": member.create_time,
        "enrol_time": member.enrol_time,
    }


def _operator(row: Row[Any]) -> Operator:
    return Operator(id=OperatorId(row.name), role=ConsoleRole(row.role))


def _member(row: Row[Any]) -> Member:
    identity = None
    if row.signing_key is not None:
        identity = Identity(signing_key=bytes(row.signing_key), sealing_key=bytes(row.sealing_key))
    return Member(
        id=MemberId(row.name),
        role=Role(row.role),
        standing=Standing(row.standing),
        reason=row.reason,
        identity=identity,
        create_time=row.create_time,
        enrol_time=row.enrol_time,
        admit_time=row.admit_time,
    )
