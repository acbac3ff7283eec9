"""Tables of epochs and wraps."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    Column,
    Connection,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    Table,
    delete,
    func,
    insert,
    select,
)

from alliance.names import GroupId, MemberId
from hub.keys.model import Epoch, Wrap
from hub.runtime.db import Int64, metadata

epoch_table = Table(
    "key_epoch",
    metadata,
    # The primary key decides between two members that start the same epoch.
    Column("group_name", ForeignKey("sharing_group.name"), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("commitment", LargeBinary(32), nullable=False),
    Column("creator", ForeignKey("member.name"), nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("create_time", Int64, nullable=False),
    Column("previous_sealed", LargeBinary),
)
wrap_table = Table(
    "key_wrap",
    metadata,
    Column("group_name", ForeignKey("sharing_group.name"), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("recipient", ForeignKey("member.name"), primary_key=True),
    Column("sender", ForeignKey("member.name"), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    ForeignKeyConstraint(["group_name", "epoch"], ["key_epoch.group_name", "key_epoch.epoch"]),
)


def find_epoch(tx: Connection, group: GroupId, number: int | None = None) -> Epoch | None:
    """One epoch, or the newest."""
    query = select(epoch_table).where(epoch_table.c.group_name == group)
    if number is not None:
        query = query.where(epoch_table.c.epoch == number)
    row = tx.execute(query.order_by(epoch_table.c.epoch.desc()).limit(1)).first()
    if row is None:
        return None
    return Epoch(
        group=group,
        number=row.epoch,
        commitment=bytes(row.commitment),
        creator=MemberId(row.creator),
        signature=bytes(row.signature),
        create_time=row.create_time,
        previous_sealed=bytes(row.previous_sealed or b""),
    )


def add_epoch(tx: Connection, epoch: Epoch) -> None:
    tx.execute(
        insert(epoch_table).values(
            group_name=epoch.group,
            epoch=epoch.number,
            commitment=epoch.commitment,
            creator=epoch.creator,
            signature=epoch.signature,
            create_time=epoch.create_time,
            previous_sealed=epoch.previous_sealed or None,
        )
    )


def find_wrap(tx: Connection, epoch: Epoch, recipient: MemberId) -> Wrap | None:
    row = tx.execute(
        select(wrap_table).where(
            wrap_table.c.group_name == epoch.group,
            wrap_table.c.epoch == epoch.number,
            wrap_table.c.recipient == recipient,
        )
    ).first()
    if row is None:
        return None
    return Wrap(
        group=epoch.group,
        epoch=epoch.number,
        recipient=recipient,
        sender=MemberId(row.sender),
        commitment=epoch.commitment,
        sealed=bytes(row.sealed),
        signature=bytes(row.signature),
    )


def save_wraps(tx: Connection, wraps: Sequence[Wrap]) -> None:
    """Adds them; one that the recipient has already is replaced."""
    for wrap in wraps:
        of = wrap_table.c
        tx.execute(
            delete(wrap_table).where(
                of.group_name == wrap.group, of.epoch == wrap.epoch, of.recipient == wrap.recipient
            )
        )
    rows = [
        {
            "group_name": wrap.group,
            "epoch": wrap.epoch,
            "recipient": wrap.recipient,
            "sender": wrap.sender,
            "sealed": wrap.sealed,
            "signature": wrap.signature,
        }
        for wrap in wraps
    ]
    if rows:
        tx.execute(insert(wrap_table), rows)


def wrapped(tx: Connection, group: GroupId, number: int) -> set[MemberId]:
    rows = tx.execute(
        select(wrap_table.c.recipient).where(wrap_table.c.group_name == group, wrap_table.c.epoch == number)
    )
    return {MemberId(row.recipient) for row in rows}


def state(tx: Connection, group: GroupId) -> str:
    """Changes whenever a member should look at the group's key again."""
    epoch = find_epoch(tx, group)
    count = tx.execute(select(func.count()).select_from(wrap_table).where(wrap_table.c.group_name == group))
    return f"{epoch.number if epoch else 0}:{count.scalar_one()}"
