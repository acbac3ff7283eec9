"""Agents of a member: a further one, one that returns, their list, their revocation.

What proves a member here is its identity, not a certificate: so an agent whose certificate ran out comes back,
and a member that lost its machine sets up another. Who holds the identity holds the member; a stolen one is
answered by changing it, not by revoking agents alone.
"""

from __future__ import annotations

import datetime as dt
import secrets

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from sqlalchemy import Connection

from alliance import canonical
from alliance.errors import FailedPrecondition, InvalidInput, LimitExceeded, NotFound, NotPermitted
from alliance.names import AgentId, MemberId
from hub.audit.service import AuditService
from hub.membership import agent_store, store
from hub.membership.enrolment import Enrolled, verify
from hub.membership.model import GONE, Agent, Member, Standing
from hub.pki.service import PkiService
from hub.policy.service import PolicyService
from hub.runtime.caller import Caller
from hub.runtime.clock import Clock, micros

# A signed request counts so long before and after the time in it.
WINDOW = dt.timedelta(minutes=5)
MAX_AGENTS = 100


class AgentService:
    def __init__(
        self, *, alliance: str, pki: PkiService, audit: AuditService, policies: PolicyService, clock: Clock
    ) -> None:
        self._alliance = alliance
        self._pki = pki
        self._audit = audit
        self._clock = clock
        self._policies = policies

    def enrol(
        self,
        tx: Connection,
        *,
        member_id: MemberId,
        agent: AgentId | None,
        request_id: str,
        request: bytes,
        time: int,
        signature: bytes,
    ) -> Enrolled:
        """A certificate for a new agent, or for one that returns. A suspended member may: it is let in to leave.

        Raises: NotPermitted (the same for a member that is not there: outsiders learn nothing), InvalidInput,
        LimitExceeded.
        """
        signed = canonical.agent_request_bytes(
            self._alliance, member_id, agent or "", request_id, canonical.sha256(request), time
        )
        member = self._proved(store.hold_member(tx, member_id), signed, signature)
        now = micros(self._clock())
        if abs(time - now) > micros_of(WINDOW):
            raise InvalidInput(
                "the request was signed at another time than now",
                reason="REQUEST_EXPIRED",
                field="request_time",
                remedy="check the clocks of this machine and the hub, then try again",
            )
        name = agent or self._new(tx, member.id)
        lifetime = dt.timedelta(seconds=self._policies.current(tx).certificate_seconds)
        chain = self._pki.issue_member(tx, request=request, member=member.id, agent=name, lifetime=lifetime)
        until = micros(x509.load_der_x509_certificate(chain[0]).not_valid_after_utc)
        if agent:
            agent_store.certified(tx, member.id, name, until=until)
        else:
            agent_store.add(tx, Agent(member=member.id, name=name, create_time=now, expire_time=until))
        self._audit.record(
            tx,
            event=f"agent_enrolled:{name}",
            actor=member.id,
            subject=member.id,
            digest=canonical.sha256(chain[0]),
        )
        return Enrolled(member=member, agent=name, chain=chain)

    def listed(self, tx: Connection, caller: Caller, *, after: str | None, limit: int) -> list[Agent]:
        """The calling member's."""
        return agent_store.listed(tx, caller.member, after=after, limit=limit)

    def revoke(self, tx: Connection, caller: Caller, name: AgentId) -> Agent:
        """Another agent of the calling member; again changes nothing. Raises: NotFound, FailedPrecondition."""
        agent = agent_store.find(tx, caller.member, name)
        if agent is None:
            raise NotFound(f"no {name} of this member", reason="AGENT_NOT_FOUND", field="name")
        if caller.peer is not None and caller.peer.agent == name:
            raise FailedPrecondition(
                "an agent cannot revoke itself",
                reason="AGENT_IS_CALLER",
                field="name",
                remedy='revoke it from another agent of the member, or "alliance-agent leave"',
            )
        if agent.revoke_time is None:
            agent = agent.revoked(micros(self._clock()))
            # Before its certificates: a renewal at the same time holds this row, and is seen after it.
            agent_store.revoke(tx, agent.member, name, now=micros(self._clock()))
            self._pki.revoke_agent(tx, agent.member, name)
            self._audit.record(tx, event=f"agent_revoked:{name}", actor=caller.name, subject=caller.member)
        return agent

    def _proved(self, member: Member | None, signed: bytes, signature: bytes) -> Member:
        try:
            if member is None or member.identity is None or member.standing in GONE | {Standing.INVITED}:
                raise ValueError("no member")
            verify(member.identity, signed, signature)
        except (ValueError, InvalidSignature, UnsupportedAlgorithm) as error:
            raise NotPermitted(
                "not signed by the identity of a member of this alliance",
                reason="IDENTITY_REFUSED",
                remedy="use the member's newest identity, or ask the operator for an invitation",
            ) from error
        return member

    def _new(self, tx: Connection, member: MemberId) -> AgentId:
        if agent_store.count_live(tx, member) >= MAX_AGENTS:
            raise LimitExceeded(
                f"a member has at most {MAX_AGENTS} agents",
                reason="TOO_MANY_AGENTS",
                remedy='revoke those that are gone: "alliance-agent agents list"',
            )
        return AgentId(f"agents/{secrets.token_hex(4)}")


def micros_of(duration: dt.timedelta) -> int:
    return duration // dt.timedelta(microseconds=1)
