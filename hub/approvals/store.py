"""The table of proposed actions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Column, Connection, LargeBinary, Row, String, Table, insert, select, update

from hub.approvals.model import Action, State
from hub.runtime.db import AutoId, Int64, metadata

action_table = Table(
    "action",
    metadata,
    Column("id", AutoId, primary_key=True, autoincrement=True),
    Column("method", String(120), nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("state", String(20), nullable=False),
    Column("proposer", String(80), nullable=False),
    Column("propose_time", Int64, nullable=False),
    Column("decider", String(80), nullable=False),
    Column("decide_time", Int64, nullable=False),
    Column("response", LargeBinary, nullable=False),
    CheckConstraint("state in ('open', 'approved', 'rejected')", name="state"),
)


def add(tx: Connection, action: Action) -> int:
    """Gives the new action's number."""
    return int(tx.execute(insert(action_table).values(_columns(action)).returning(action_table.c.id)).scalar_one())


def lock(tx: Connection, number: int) -> Action | None:
    """The action, which then stays as it is until this transaction ends."""
    row = tx.execute(select(action_table).where(action_table.c.id == number).with_for_update()).first()
    return None if row is None else _action(row)


def save(tx: Connection, action: Action) -> None:
    tx.execute(update(action_table).where(action_table.c.id == action.id).values(_columns(action)))


def actions(tx: Connection, *, before: int | None, limit: int) -> list[Action]:
    """Newest first."""
    chosen = select(action_table).order_by(action_table.c.id.desc()).limit(limit)
    if before is not None:
        chosen = chosen.where(action_table.c.id < before)
    return [_action(row) for row in tx.execute(chosen)]


def _columns(action: Action) -> dict[str, Any]:
    return {
        "method": action.method,
        "request": action.request,
        "state": action.state.value,
        "proposer": action.proposer,
        "propose_time": action.propose_time,
        "decider": action.decider,
        "decide_time": action.decide_time,
        "response": action.response,
    }


def _action(row: Row[Any]) -> Action:
    return Action(
        id=row.id,
        method=row.method,
        request=bytes(row.request),
        state=State(row.state),
        proposer=row.proposer,
        propose_time=row.propose_time,
        decider=row.decider,
        decide_time=row.decide_time,
        response=bytes(row.response),
    )
