"""Who is admitted, counted here: from the leaves that this agent verified and the signatures they commit to.

The hub's own count is never taken. A signature counts if a leaf of the log commits to it and the signer's identity, as
the log has it at that place, made it. One that the signer did not make is an alarm; one that the hub holds back does
not count. How many it takes stands in the log's first leaf: a copy of the log never changes, so neither does that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy import Column, LargeBinary, Table, or_, select
from sqlalchemy.dialects.sqlite import insert

from alliance import admission, canonical
from alliance.admission import Register
from alliance.canonical import AuditEvent
from alliance.errors import Corrupt
from alliance.names import Digest, MemberId
from member_agent.audit_log import AuditLog
from member_agent.audit_store import leaf_table
from member_agent.database import LocalDatabase
from member_agent.identity import PublicIdentity
from member_agent.state import metadata

# By the digest that a leaf has of it; what is in here may be a lie, and is verified whenever it is read.
signature_table = Table(
    "admission_signature",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("signature", LargeBinary, nullable=False),
)
EVIDENCE = "keep this agent's home as evidence, tell the alliance"


class Admissions:
    """`identities` gives the keys that have a digest, where this agent has seen them."""

    def __init__(
        self,
        db: LocalDatabase,
        log: AuditLog,
        *,
        alliance: str,
        identities: Callable[[Digest], PublicIdentity | None],
    ) -> None:
        self._db, self._log, self._alliance, self._identities = db, log, alliance, identities
        self._events: list[AuditEvent] = []
        self._read = 0
        # Who signed what, with the signature of which leaf: one that is right of one says nothing of another.
        self._right: set[tuple[Digest, bytes, bytes]] = set()
        self._register: Register | None = None

    def learn(self, member: MemberId, role: str, identity: Digest, signatures: Iterable[bytes]) -> None:
        """Keeps what the hub shows of who signed; it counts only with a leaf."""
        signed = canonical.admission_bytes(self._alliance, member, role, identity)
        rows = [
            {"digest": canonical.admission_digest(signed, signature), "signature": signature}
            for signature in signatures
        ]
        if rows:
            with self._db.write() as tx:
                tx.execute(insert(signature_table).on_conflict_do_nothing(), rows)
        # What was not at hand before may be now, an identity as well.
        self._register = None

    def register(self) -> Register:
        """Everybody in the log, as it stands here. Raises: Corrupt, ADMISSION_FORGED among them."""
        size = self._log.size()
        if size > self._read:
            fresh = self._relevant(self._read, size)
            self._events += fresh
            self._read = size
            self._register = None if fresh else self._register
        if self._register is None:
            self._register = admission.replay(self._alliance, self._events, self._verified, self._changed)
        return self._register

    def count(self) -> int:
        """How many events the log has that this is read from."""
        self.register()
        return len(self._events)

    def signed_by(self, member: MemberId) -> list[AuditEvent]:
        """Leaves that say the member signed somebody's admission."""
        self.register()
        return [event for event in self._events if event.event == f"{admission.SIGNED}:{member}"]

    def is_made_by(self, identity: PublicIdentity, event: AuditEvent) -> bool:
        """Whether the signature that a leaf commits to is at hand and this identity's. Raises: Corrupt."""
        entry = self.register().members.get(MemberId(event.subject))
        if entry is None:
            return False
        signed = canonical.admission_bytes(self._alliance, MemberId(event.subject), entry.role, entry.identity)
        wrong: Corrupt | None = None
        keys = [(identity.signing_key, identity.sealing_key)]
        keys += [(former.signing_key, former.sealing_key) for former in identity.former]
        for signing_key, sealing_key in keys:
            try:
                if self._verified(canonical.identity_digest(signing_key, sealing_key), signed, event.digest):
                    return True
            except Corrupt as error:
                # Another of its identities may have signed it.
                wrong = error
        if wrong is not None:
            raise wrong
        return False

    def _changed(self, member: MemberId, identity: Digest) -> bool:
        """Only what was followed from the identity that enrolled is handed out under the member's name."""
        found = self._identities(identity)
        return found is not None and found.member == member

    def _relevant(self, start: int, end: int) -> list[AuditEvent]:
        kinds = [
            or_(leaf_table.c.event == kind, leaf_table.c.event.startswith(f"{kind}:", autoescape=True))
            for kind in admission.EVENTS
        ]
        query = select(leaf_table).where(leaf_table.c.leaf_index >= start, leaf_table.c.leaf_index < end, or_(*kinds))
        with self._db.read() as tx:
            rows = tx.execute(query.order_by(leaf_table.c.leaf_index)).all()
        return [
            AuditEvent(
                event=row.event, actor=row.actor, subject=row.subject, time=row.time or 0, digest=bytes(row.digest)
            )
            for row in rows
        ]

    def _verified(self, signer: Digest, signed: bytes, digest: bytes) -> bool:
        """Raises: Corrupt, ADMISSION_FORGED."""
        if (signer, signed, digest) in self._right:
            return True
        with self._db.read() as tx:
            of_leaf = select(signature_table.c.signature).where(signature_table.c.digest == digest)
            signature = tx.execute(of_leaf).scalar()
        identity = self._identities(signer)
        if signature is None or identity is None or canonical.admission_digest(signed, signature) != digest:
            return False
        try:
            identity.verify(signature, signed)
        except Corrupt as error:
            raise Corrupt(
                f"the log has an admission by {identity.member} that it did not sign",
                reason="ADMISSION_FORGED",
                remedy=EVIDENCE,
            ) from error
        self._right.add((signer, signed, digest))
        return True
