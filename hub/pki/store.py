"""Certificates issued, which revocation is looked up in; authorities; keys that wait for the offline root."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Column, Connection, LargeBinary, String, Table, bindparam, delete, func, insert, select, update

from alliance.prepared import Prepared
from hub.pki.model import Authority, Issued, Phase
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
    # The authority's name; absent in what was issued before there could be several.
    Column("issuer", String(80)),
)
authority_table = Table(
    "authority",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("anchor", LargeBinary, nullable=False),
    Column("issuer", LargeBinary, nullable=False),
    Column("cross_certificate", LargeBinary, nullable=False),
    Column("sealed_key", LargeBinary, nullable=False),
    Column("phase", String(16), nullable=False),
    Column("announce_time", Int64, nullable=False),
    Column("phase_time", Int64, nullable=False),
    Column("overlap", Int64, nullable=False),
)
authority_request_table = Table(
    "authority_request",
    metadata,
    # SHA-256 of the public key.
    Column("key_digest", LargeBinary(32), primary_key=True),
    Column("sealed_key", LargeBinary, nullable=False),
    Column("create_time", Int64, nullable=False),
)

# Every call runs it.
_REVOKED = Prepared(select(certificate_table.c.revoke_time).where(certificate_table.c.serial == bindparam("serial")))

# Every look of streams runs it.
_LIVE = Prepared(
    select(certificate_table.c.serial).where(certificate_table.c.revoke_time.is_(None)),
    among={"serials": certificate_table.c.serial},
)


def add(tx: Connection, *, serial: int, subject: str, agent: str, issuer: str, not_after: int, now: int) -> None:
    tx.execute(
        insert(certificate_table).values(
            serial=f"{serial:x}", subject=subject, agent=agent, issuer=issuer, not_after=not_after, issue_time=now
        )
    )


def is_live(tx: Connection, serial: int) -> bool:
    """Issued here and not revoked."""
    row = _REVOKED.first(tx, serial=f"{serial:x}")
    return row is not None and row.revoke_time is None


def live_subjects(tx: Connection, subjects: Collection[str], *, now: int) -> set[str]:
    """Those of them that hold a certificate which is neither expired nor revoked."""
    chosen = select(certificate_table.c.subject).where(
        certificate_table.c.subject.in_(subjects),
        certificate_table.c.revoke_time.is_(None),
        certificate_table.c.not_after > now,
    )
    return {row.subject for row in tx.execute(chosen)}


def live_serials(tx: Connection, serials: Collection[int]) -> set[int]:
    """Those of the serials that were issued here and not revoked."""
    return {int(row.serial, 16) for row in _LIVE.all(tx, serials=[f"{serial:x}" for serial in serials])}


def find(tx: Connection, serial: int) -> Issued | None:
    columns = certificate_table.c.subject, certificate_table.c.agent, certificate_table.c.revoke_time
    row = tx.execute(select(*columns).where(certificate_table.c.serial == f"{serial:x}")).first()
    return None if row is None else Issued(row.subject, row.agent, row.revoke_time is not None)


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


def forget_expired(tx: Connection, *, before: int) -> int:
    """Drops what ended before this time; returns how many."""
    return tx.execute(delete(certificate_table).where(certificate_table.c.not_after < before)).rowcount


def live_by_issuer(tx: Connection, now: int) -> dict[str, int]:
    """How many certificates of each authority are good now."""
    rows = tx.execute(
        select(certificate_table.c.issuer, func.count())
        .where(certificate_table.c.revoke_time.is_(None), certificate_table.c.not_after > now)
        .group_by(certificate_table.c.issuer)
    )
    return {row[0] or "": row[1] for row in rows}


def revoke_issuer(tx: Connection, issuer: str, *, now: int) -> int:
    """Revokes all that an authority issued and that is good now; returns how many."""
    chosen = (
        (certificate_table.c.issuer == issuer)
        & certificate_table.c.revoke_time.is_(None)
        & (certificate_table.c.not_after > now)
    )
    return tx.execute(update(certificate_table).where(chosen).values(revoke_time=now)).rowcount


def claim_unnamed(tx: Connection, issuer: str) -> None:
    """What was issued before there were several is the first one's."""
    tx.execute(update(certificate_table).where(certificate_table.c.issuer.is_(None)).values(issuer=issuer))


def authorities(tx: Connection) -> list[Authority]:
    """All of them, retired ones too, oldest first; empty while there is only the home's own."""
    rows = tx.execute(select(authority_table).order_by(authority_table.c.announce_time, authority_table.c.name))
    return [
        Authority(
            anchor=bytes(row.anchor),
            issuer=bytes(row.issuer),
            cross=bytes(row.cross_certificate),
            sealed_key=bytes(row.sealed_key),
            phase=Phase(row.phase),
            announce_time=row.announce_time,
            phase_time=row.phase_time,
            overlap=row.overlap,
        )
        for row in rows
    ]


def add_authority(tx: Connection, one: Authority) -> None:
    tx.execute(
        insert(authority_table).values(
            name=one.name,
            anchor=one.anchor,
            issuer=one.issuer,
            cross_certificate=one.cross,
            sealed_key=one.sealed_key,
            phase=one.phase,
            announce_time=one.announce_time,
            phase_time=one.phase_time,
            overlap=one.overlap,
        )
    )


def move(tx: Connection, one: Authority, *, was: Phase) -> bool:
    """Saves a change of phase; False where another hub process made it first."""
    changed = update(authority_table).where(authority_table.c.name == one.name, authority_table.c.phase == was)
    return bool(tx.execute(changed.values(phase=one.phase, phase_time=one.phase_time, overlap=one.overlap)).rowcount)


def add_request(tx: Connection, key_digest: bytes, sealed_key: bytes, *, now: int) -> None:
    """The one request that counts: what was asked before is forgotten."""
    tx.execute(delete(authority_request_table))
    tx.execute(insert(authority_request_table).values(key_digest=key_digest, sealed_key=sealed_key, create_time=now))


def take_request(tx: Connection, key_digest: bytes) -> bytes | None:
    """The sealed key that waits for this certificate, which it gets only once."""
    mine = authority_request_table.c.key_digest == key_digest
    found = tx.execute(select(authority_request_table.c.sealed_key).where(mine)).scalar()
    if found is None:
        return None
    tx.execute(delete(authority_request_table).where(mine))
    return bytes(found)
