"""Table of agents: the machines that hold channel certificates of a member."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, ForeignKey, Row, String, Table, func, insert, select, update

from alliance.errors import NotPermitted
from alliance.names import AgentId, MemberId
from hub.membership.model import Agent
from hub.runtime.db import Int64, metadata

agent_table = Table(
    "agent",
    metadata,
    Column("member", ForeignKey("member.name"), primary_key=True),
    Column("name", String(80), primary_key=True),
    Column("create_time", Int64, nullable=False),
    Column("expire_time", Int64, nullable=False),
    Column("revoke_time", Int64),
)


def find(tx: Connection, member: MemberId, name: AgentId) -> Agent | None:
    row = tx.execute(select(agent_table).where(*_key(member, name))).first()
    return None if row is None else _agent(row)


def listed(tx: Connection, member: MemberId, *, after: str | None, limit: int) -> list[Agent]:
    """By name."""
    query = select(agent_table).where(agent_table.c.member == member).order_by(agent_table.c.name).limit(limit)
    if after is not None:
        query = query.where(agent_table.c.name > after)
    return [_agent(row) for row in tx.execute(query)]


def count_live(tx: Connection, member: MemberId) -> int:
    """Agents not revoked, whether their certificates have run out or not."""
    query = select(func.count()).select_from(agent_table)
    return tx.execute(query.where(agent_table.c.member == member, agent_table.c.revoke_time.is_(None))).scalar_one()


def add(tx: Connection, agent: Agent) -> None:
    tx.execute(
        insert(agent_table).values(
            member=agent.member, name=agent.name, create_time=agent.create_time, expire_time=agent.expire_time
        )
    )


def certified(tx: Connection, member: MemberId, name: AgentId, *, until: int) -> None:
    """The row's lock decides against a revocation at the same time. Raises: NotPermitted for a revoked agent."""
    live = update(agent_table).where(*_key(member, name), agent_table.c.revoke_time.is_(None))
    if not tx.execute(live.values(expire_time=until)).rowcount:
        raise NotPermitted(
            f"{name} was revoked, or never was an agent of this member",
            reason="AGENT_REVOKED",
            remedy='set up a new agent: "alliance-agent recover" in an empty home',
        )


def revoke(tx: Connection, member: MemberId, name: AgentId, *, now: int) -> None:
    tx.execute(update(agent_table).where(*_key(member, name)).values(revoke_time=now))


def _key(member: MemberId, name: AgentId) -> tuple[ColumnElement[bool], ...]:
    return agent_table.c.member == member, agent_table.c.name == name


def _agent(row: Row[Any]) -> Agent:
    return Agent(
        member=MemberId(row.member),
        name=AgentId(row.name),
        create_time=row.create_time,
        expire_time=row.expire_time,
        revoke_time=row.revoke_time,
    )
