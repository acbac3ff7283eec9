"""Certificates issued: what revocation is looked up in."""

from __future__ import annotations

from sqlalchemy import Column, Connection, String, Table, insert, select, update

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


def add(tx: Connection, *, serial: int, subject: str, agent: str, not_after: int, now: int) -> None:
    tx.execute(
        insert(certificate_table).values(
            serial=f"{serial:x}", subject=subject, agent=agent, not_after=not_after, issue_time=now
        )
    )


def is_live(tx: Connection, serial: int) -> bool:
    """Issued here and not revoked."""
    row = tx.execute(select(certificate_table.c.revoke_time).where(certificate_table.c.serial == f"{serial:x}")).first()
    return row is not None and row.revoke_time is None


def revoke_all(tx: Connection, subject: str, *, now: int) -> int:
    """Revokes every certificate of a member or operator; returns how many were live."""
    return tx.execute(
        update(certificate_table)
        .where(certificate_table.c.subject == subject, certificate_table.c.revoke_time.is_(None))
        .values(revoke_time=now)
    ).rowcount
