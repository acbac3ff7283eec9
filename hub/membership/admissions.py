"""Who is admitted, as the hub counts: it decides what a member may call here, and nothing at the members.

Agents count for themselves, from the log; both by `alliance.admission`. All that changes who counts holds the
policy's lock from before its leaf is queued, so that the log's order is the order of the decisions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from alliance import admission, canonical
from alliance.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound, NotPermitted
from alliance.names import Digest, MemberId
from hub.audit.service import AuditService
from hub.membership import admission_store, store
from hub.membership.model import GONE, Admission, Member
from hub.membership.signatures import require_signed
from hub.runtime.caller import Caller
from hub.runtime.clock import Clock, micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Admissions:
    """Who signed, and how many it takes now: 0 where it takes none, or none any more."""

    signed: tuple[Admission, ...] = ()
    needed: int = 0


class AdmissionService:
    def __init__(self, *, alliance: str, audit: AuditService, clock: Clock) -> None:
        self._alliance = alliance
        self._audit = audit
        self._clock = clock

    def found(self, tx: Connection, cosigners: int) -> None:
        """Fixes, at `init`, how many members admit others: the log's first leaf. Raises: FailedPrecondition."""
        admission_store.lock_cosigners(tx)
        if self._audit.size(tx) or self._audit.has_pending(tx):
            raise FailedPrecondition(
                "the log has begun: who admits members stays as it is",
                reason="ADMISSION_POLICY_FIXED",
                remedy="found another alliance",
            )
        admission_store.set_cosigners(tx, cosigners)
        self._audit.record(tx, event=f"admission_policy:{cosigners}", actor="init", subject=self._alliance)

    def lock(self, tx: Connection) -> None:
        """Until this transaction ends nobody else changes who counts; take it after the locks on members."""
        admission_store.lock_cosigners(tx)

    def enrolled(self, tx: Connection, member: MemberId) -> None:
        """A founder, or anyone where an invitation suffices, is admitted by enrolling. `lock` is held."""
        cosigners = admission_store.cosigners(tx)
        before = admission_store.count_enrolled(tx) - 1
        if not cosigners or admission.is_founder(before, cosigners):
            admission_store.set_admitted(tx, member, now=micros(self._clock()))

    def departed(self, tx: Connection) -> None:
        """Somebody has gone: its signatures lapse, and fewer may be needed. `lock` is held."""
        self._settle(tx)

    def admit(self, tx: Connection, caller: Caller, member_id: MemberId, identity: Digest, signature: bytes) -> Member:
        """The caller signs the admission of a member.

        Raises: NotPermitted, NotFound, AlreadyExists, FailedPrecondition, InvalidInput.
        """
        self.lock(tx)
        signer = _known(store.find_member(tx, caller.member))
        if not signer.takes_part:
            raise NotPermitted(
                f"{signer.id} does not take part, and so admits nobody",
                reason="NOT_ADMITTED",
                remedy="ask members to admit it first",
            )
        member = store.find_member(tx, member_id)
        if member is None or member.identity is None or member.standing in GONE:
            raise NotFound(
                f"{member_id} has not enrolled, or has gone",
                reason="MEMBER_NOT_FOUND",
                field="member",
                remedy='see "alliance-agent member list"',
            )
        if member.admitted:
            raise FailedPrecondition(f"{member_id} is admitted already", reason="ALREADY_ADMITTED", field="member")
        if any(one.signer == caller.member for one in admission_store.of(tx, [member_id]).get(member_id, [])):
            raise AlreadyExists(f"{caller.member} has signed already", reason="ALREADY_SIGNED", field="member")
        own = canonical.identity_digest(member.identity.signing_key, member.identity.sealing_key)
        if identity != own:
            raise InvalidInput(
                f"{member_id} has another identity than the one signed",
                reason="IDENTITY_DIFFERS",
                field="identity_digest",
                remedy="look at the member again, and compare the fingerprint with the member itself",
            )
        signed = canonical.admission_bytes(self._alliance, member_id, member.role, own)
        require_signed(signer, signed, signature)
        now = micros(self._clock())
        admission_store.add(tx, Admission(member=member_id, signer=caller.member, signature=signature, create_time=now))
        self._audit.record(
            tx,
            event=f"admission_signed:{caller.member}",
            actor=caller.name,
            subject=member_id,
            digest=canonical.admission_digest(signed, signature),
        )
        self._settle(tx)
        return _known(store.find_member(tx, member_id))

    def count(self, tx: Connection) -> int:
        """How many were ever admitted."""
        return admission_store.count_admitted(tx)

    def of(self, tx: Connection, members: Collection[Member]) -> Mapping[MemberId, Admissions]:
        """For each of the members."""
        needed = admission.needed(admission_store.cosigners(tx), len(admission_store.standing(tx)))
        signed = admission_store.of(tx, [member.id for member in members])
        return {
            member.id: Admissions(signed=tuple(signed.get(member.id, ())), needed=needed if member.waits else 0)
            for member in members
        }

    def _settle(self, tx: Connection) -> None:
        """Admits, all at once, whom enough have signed that still count."""
        standing = admission_store.standing(tx)
        enough = admission.needed(admission_store.cosigners(tx), len(standing))
        for member, signed in admission_store.of(tx, admission_store.waiting(tx)).items():
            if sum(one.signer in standing for one in signed) >= enough > 0:
                admission_store.set_admitted(tx, member, now=micros(self._clock()))


def _known(member: Member | None) -> Member:
    """Members are never deleted: one that was found, or that calls, is there."""
    if member is None:
        raise NotFound("no such member", reason="MEMBER_NOT_FOUND", field="member")
    return member
