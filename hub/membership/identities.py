"""A member changes its identity: signed by the former and the new one, kept for ever, in the log.

The hub refuses what it can see to be wrong. That the new identity is the member's, other members see for themselves,
from both signatures and the log (`member_agent/identity_chain.py`).
"""

from __future__ import annotations

from dataclasses import replace

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from sqlalchemy import Connection

from alliance import canonical
from alliance.errors import AlreadyExists, FailedPrecondition, InvalidInput, LimitExceeded
from alliance.names import Digest, MemberId
from hub.audit.service import AuditService
from hub.membership import identity_store, store
from hub.membership.enrolment import require_sound, verify
from hub.membership.model import Identity, IdentityChange
from hub.runtime.caller import Caller
from hub.runtime.clock import Clock, micros

MAX_CHANGES = 200


class IdentityService:
    def __init__(self, *, alliance: str, audit: AuditService, clock: Clock) -> None:
        self._alliance = alliance
        self._audit = audit
        self._clock = clock

    def change(
        self, tx: Connection, caller: Caller, identity: Identity, former_signature: bytes, signature: bytes
    ) -> IdentityChange:
        """The caller's. Raises: InvalidInput, AlreadyExists, LimitExceeded."""
        member = store.lock_member(tx, caller.member)
        if member is None or member.identity is None:
            raise FailedPrecondition("the member has no identity to change", reason="IDENTITY_MISSING")
        former, number = member.identity, identity_store.count(tx, member.id)
        signed = canonical.identity_change_bytes(self._alliance, member.id, digest_of(former), digest_of(identity))
        try:
            require_sound(identity)
            verify(former, signed, former_signature)
            verify(identity, signed, signature)
        except (ValueError, InvalidSignature, UnsupportedAlgorithm) as error:
            raise InvalidInput(
                "the change is not signed by the identity in use and the new one",
                reason="IDENTITY_INVALID",
                field="identity",
                remedy='run "alliance-agent identity rotate" on the agent with the newest identity',
            ) from error
        if store.identity_holder(tx, identity) is not None or identity_store.was_somebodys(tx, identity):
            raise AlreadyExists("these keys are, or were, a member's", reason="IDENTITY_TAKEN", field="identity")
        if number >= MAX_CHANGES:
            raise LimitExceeded(f"an identity is changed at most {MAX_CHANGES} times", reason="TOO_MANY_CHANGES")
        change = IdentityChange(
            member=member.id,
            number=number + 1,
            former=former,
            identity=identity,
            former_signature=former_signature,
            signature=signature,
            create_time=micros(self._clock()),
        )
        identity_store.add(tx, change)
        store.save_member(tx, replace(member, identity=identity))
        self._audit.record(
            tx, event="identity_changed", actor=caller.name, subject=member.id, digest=digest_of(identity)
        )
        return change

    def changes(self, tx: Connection, member: MemberId, *, after: int, limit: int) -> list[IdentityChange]:
        return identity_store.listed(tx, member, after=after, limit=limit)


def digest_of(identity: Identity) -> Digest:
    return canonical.identity_digest(identity.signing_key, identity.sealing_key)
