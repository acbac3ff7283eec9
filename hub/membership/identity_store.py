"""Table of identity changes: what other members follow from the identity that enrolled to the one in use."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, ForeignKey, Integer, LargeBinary, Row, Table, func, insert, select

from alliance.names import MemberId
from hub.membership.model import Identity, IdentityChange
from hub.runtime.db import Int64, metadata

change_table = Table(
    "identity_change",
    metadata,
    Column("member", ForeignKey("member.name"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    # Nobody takes up keys that were somebody's before.
    Column("former_signing_key", LargeBinary, nullable=False, unique=True),
    Column("former_sealing_key", LargeBinary, nullable=False, unique=True),
    Column("signing_key", LargeBinary, nullable=False),
    Column("sealing_key", LargeBinary, nullable=False),
    Column("former_signature", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("create_time", Int64, nullable=False),
)


def add(tx: Connection, change: IdentityChange) -> None:
    tx.execute(
        insert(change_table).values(
            member=change.member,
            number=change.number,
            former_signing_key=change.former.signing_key,
            former_sealing_key=change.former.sealing_key,
            signing_key=change.identity.signing_key,
            sealing_key=change.identity.sealing_key,
            former_signature=change.former_signature,
            signature=change.signature,
            create_time=change.create_time,
        )
    )


def count(tx: Connection, member: MemberId) -> int:
    query = select(func.count()).select_from(change_table).where(change_table.c.member == member)
    return tx.execute(query).scalar_one()


def listed(tx: Connection, member: MemberId, *, after: int, limit: int) -> list[IdentityChange]:
    """In their order."""
    query = select(change_table).where(change_table.c.member == member, change_table.c.number > after)
    return [_change(row) for row in tx.execute(query.order_by(change_table.c.number).limit(limit))]


def was_somebodys(tx: Connection, identity: Identity) -> bool:
    """Whether either key is of an identity that was given up."""
    of = change_table.c
    found = select(of.member).where(
        (of.former_signing_key == identity.signing_key) | (of.former_sealing_key == identity.sealing_key)
    )
    return tx.execute(found).first() is not None


def _change(row: Row[Any]) -> IdentityChange:
    return IdentityChange(
        member=MemberId(row.member),
        number=row.number,
        former=Identity(signing_key=bytes(row.former_signing_key), sealing_key=bytes(row.former_sealing_key)),
        identity=Identity(signing_key=bytes(row.signing_key), sealing_key=bytes(row.sealing_key)),
        former_signature=bytes(row.former_signature),
        signature=bytes(row.signature),
        create_time=row.create_time,
    )
