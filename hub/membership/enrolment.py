"""How a member comes in: invitation, enrolment, renewal; and how console users get certificates."""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from sqlalchemy import Connection

from alliance import canonical
from alliance.errors import AlreadyExists, InvalidInput, NotPermitted
from alliance.names import AgentId, MemberId, OperatorId
from hub.audit.service import AuditService
from hub.membership import agent_store, identity_store, store
from hub.membership.admissions import AdmissionService
from hub.membership.model import Agent, ConsoleRole, Identity, Invitation, Member, Operator, Role, Standing
from hub.pki.service import OPERATOR_LIFETIME, PkiService
from hub.policy.service import PolicyService
from hub.runtime.caller import Caller
from hub.runtime.clock import Clock, micros

MAX_INVITATION = dt.timedelta(days=30)
_X25519_FIELD = 2**255 - 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    member: Member
    agent: AgentId
    chain: list[bytes]


class EnrolmentService:
    """How long an invitation lasts that does not say, and a channel certificate, is in the policy."""

    def __init__(
        self,
        *,
        alliance: str,
        pki: PkiService,
        audit: AuditService,
        admissions: AdmissionService,
        policies: PolicyService,
        clock: Clock,
    ) -> None:
        self._alliance = alliance
        self._pki = pki
        self._audit = audit
        self._admissions = admissions
        self._policies = policies
        self._clock = clock

    def invite(
        self, tx: Connection, caller: Caller, member_id: MemberId, role: Role, secret_digest: bytes, lifetime: int
    ) -> Invitation:
        """Invites a new member, or one that has not enrolled yet. Raises: AlreadyExists, InvalidInput."""
        now = self._clock()
        seconds = lifetime or self._policies.current(tx).invitation_seconds
        if not 0 < seconds <= MAX_INVITATION.total_seconds():
            raise InvalidInput("an invitation lasts 1 second to 30 days", field="lifetime_seconds")
        expire_time = micros(now + dt.timedelta(seconds=seconds))
        member = store.find_member(tx, member_id)
        if member is None:
            created = Member(id=member_id, role=role, standing=Standing.INVITED, create_time=micros(now))
            store.add_member(tx, created)
        elif member.standing is not Standing.INVITED:
            raise AlreadyExists(
                f"{member_id} has enrolled already",
                reason="MEMBER_EXISTS",
                field="member",
                remedy="choose another name",
            )
        elif member.role is not role:
            raise InvalidInput(f"{member_id} was invited as {member.role}", field="role", remedy="use that role")
        invitation = Invitation(member=member_id, secret_digest=secret_digest, expire_time=expire_time)
        store.add_invitation(tx, invitation)
        self._audit.record(tx, event=f"member_invited:{role}", actor=caller.name, subject=member_id)
        return invitation

    def enrol(self, tx: Connection, *, secret: bytes, request: bytes, identity: Identity, signature: bytes) -> Enrolled:
        """Uses an invitation, once. Raises: NotPermitted, InvalidInput, AlreadyExists."""
        now = micros(self._clock())
        invitation = self._usable(tx, canonical.sha256(secret), now)
        member = store.lock_member(tx, invitation.member)
        if member is None:
            raise NotPermitted("the invitation is for no member", reason="INVITATION_UNKNOWN")
        _check_identity(self._alliance, invitation.member, request, identity, signature)
        holder = store.identity_holder(tx, identity)
        if holder is not None or identity_store.was_somebodys(tx, identity):
            raise AlreadyExists(
                "another member has this identity", reason="IDENTITY_TAKEN", remedy="join from an empty agent home"
            )
        self._admissions.lock(tx)
        enrolled = member.enrol(identity, now)
        store.save_member(tx, enrolled)
        self._admissions.enrolled(tx, enrolled.id)
        agent = AgentId(f"agents/{secrets.token_hex(4)}")
        chain = self._pki.issue_member(
            tx, request=request, member=enrolled.id, agent=agent, lifetime=self._lifetime(tx)
        )
        agent_store.add(tx, Agent(member=enrolled.id, name=agent, create_time=now, expire_time=_until(chain)))
        self._audit.record(
            tx,
            event=f"member_enrolled:{enrolled.role}",
            actor=enrolled.id,
            subject=enrolled.id,
            digest=canonical.identity_digest(identity.signing_key, identity.sealing_key),
        )
        return Enrolled(member=enrolled, agent=agent, chain=chain)

    def renew(self, tx: Connection, caller: Caller, request: bytes) -> list[bytes]:
        """A new certificate for a new key of the calling agent. Raises: InvalidInput."""
        agent, serial = (caller.peer.agent, caller.peer.serial) if caller.peer else ("", 0)
        self._audit.record(tx, event="certificate_renewed", actor=caller.name, subject=f"{caller.name}/{agent}")
        chain = self._pki.renew_member(
            tx, request=request, member=caller.member, agent=agent, serial=serial, lifetime=self._lifetime(tx)
        )
        agent_store.certified(tx, caller.member, AgentId(agent), until=_until(chain))
        return chain

    def _lifetime(self, tx: Connection) -> dt.timedelta:
        return dt.timedelta(seconds=self._policies.current(tx).certificate_seconds)

    def issue_operator(
        self, tx: Connection, actor: str, operator_id: OperatorId, role: ConsoleRole, request: bytes
    ) -> list[bytes]:
        """Raises: AlreadyExists, where the operator has another role; InvalidInput."""
        existing = store.find_operator(tx, operator_id)
        if existing is None:
            store.add_operator(tx, Operator(id=operator_id, role=role))
        elif existing.role is not role:
            raise AlreadyExists(f"{operator_id} exists as {existing.role}", reason="OPERATOR_EXISTS", field="role")
        self._audit.record(tx, event=f"operator_certified:{role}", actor=actor, subject=operator_id)
        return self._pki.issue_operator(tx, request=request, operator=operator_id, lifetime=OPERATOR_LIFETIME)

    def _usable(self, tx: Connection, secret_digest: bytes, now: int) -> Invitation:
        """Checks, and marks used in the same statement. The secret has 256 bits: saying why it fails leaks nothing."""
        invitation = store.find_invitation(tx, secret_digest)
        remedy = "ask the operator for a new invitation"
        if invitation is None:
            raise NotPermitted("no such invitation", reason="INVITATION_UNKNOWN", field="code", remedy=remedy)
        if invitation.expire_time <= now:
            raise NotPermitted("the invitation has expired", reason="INVITATION_EXPIRED", field="code", remedy=remedy)
        if not store.use_invitation(tx, secret_digest, now=now):
            raise NotPermitted("the invitation was used before", reason="INVITATION_USED", field="code", remedy=remedy)
        return invitation


def require_sound(identity: Identity) -> None:
    """Both keys are what they should be, in their one spelling: a second one would count as a second identity.

    Raises: ValueError, UnsupportedAlgorithm.
    """
    key = serialization.load_der_public_key(identity.signing_key)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not P-256")
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    if key.public_bytes(serialization.Encoding.DER, form) != identity.signing_key:
        raise ValueError("not in the one DER form")
    if len(identity.sealing_key) != 32 or int.from_bytes(identity.sealing_key, "little") >= _X25519_FIELD:
        raise ValueError("not X25519, or not reduced")
    # What is sealed to a point of low order opens for everybody; OpenSSL refuses the all-zero result (RFC 7748, 6.1).
    X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(identity.sealing_key))


def verify(identity: Identity, signed: bytes, signature: bytes) -> None:
    """Raises: ValueError, UnsupportedAlgorithm, InvalidSignature."""
    key = serialization.load_der_public_key(identity.signing_key)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("not P-256")
    key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))


def _until(chain: list[bytes]) -> int:
    return micros(x509.load_der_x509_certificate(chain[0]).not_valid_after_utc)


def _check_identity(alliance: str, member: MemberId, request: bytes, identity: Identity, signature: bytes) -> None:
    """The identity's holder signed this very enrolment. Raises: InvalidInput."""
    try:
        require_sound(identity)
        signed = canonical.enrolment_bytes(
            alliance, member, canonical.sha256(request), identity.signing_key, identity.sealing_key
        )
        verify(identity, signed, signature)
    except (ValueError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise InvalidInput(
            "the member identity is not valid or did not sign this enrolment",
            reason="IDENTITY_INVALID",
            field="identity",
            remedy="join with an unmodified agent",
        ) from error
