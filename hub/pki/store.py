"""Certificates issued: what revocation is looked up in."""

from __future__ import annotations

from sqlalchemy import Column, Connection, String, Table, bindparam, insert, select, update

from hub.runtime.db import Int64, metadata

certificate_table = Table(
    "certificate",
    metadata,
    # Serials have up to 160 bits: hex.
    Column("serial", String(40), primary_key=True),
    Column("subject", String(80), nullable=False, index=True),
    Column("agent", String(80), nullable=False),
    Column("not_after", Int64, nullable=False),
    Column("issue_time", Int64, nullable=False),
    Column("revoke_time", Int64),
)

# Every call runs it: built once, it costs a quarter.
_REVOKED = select(certificate_table.c.revoke_time).where(certificate_table.c.serial == bindparam("serial"))


def add(tx: Connection, *, serial: int, subject: str, agent: str, not_after: int, now: int) -> None:
    tx.execute(
        insert(certificate_table).values(
            serial=f"{serial:x}", subject=subject, agent=agent, not_after=not_after, issue_time=now
        )
    )


def is_live(tx: Connection, serial: int) -> bool:
    """Issued here and not revoked."""
    row = tx.execute(_REVOKED, {"serial": f"{serial:x}"}).first()
    return row is not None and row.revoke_time is None


def revoke_all(tx: Connection, subject: str, *, now: int, agent: str | None = None) -> int:
    """Revokes every certificate of a member or operator, or of one agent; returns how many were live."""
    chosen = (certificate_table.c.subject == subject) & certificate_table.c.revoke_time.is_(None)
    if agent is not None:
        chosen &= certificate_table.c.agent == agent
    return tx.execute(update(certificate_table).where(chosen).values(revoke_time=now)).rowcount


def revoke_older(tx: Connection, subject: str, agent: str, *, serial: int, now: int) -> int:
    """Revokes what one agent was issued before the certificate of this serial; returns how many were live."""
    asked = certificate_table.alias()
    issued = select(asked.c.issue_time).where(asked.c.serial == f"{serial:x}").scalar_subquery()
    older = (
        (certificate_table.c.subject == subject)
        & (certificate_table.c.agent == agent)
        & (certificate_table.c.issue_time < issued)
        & certificate_table.c.revoke_time.is_(None)
    )
    return tx.execute(update(certificate_table).where(older).values(revoke_time=now)).rowcount
