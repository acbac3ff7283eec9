"""EnrolmentService: parse, call, render."""

from __future__ import annotations

from cryptography import x509
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import Connection

from alliance.errors import InvalidInput
from alliance.names import agent_id, member_id, operator_id
from alliance.v1 import enrolment_pb2 as pb
from hub.membership.agents import AgentService
from hub.membership.enrolment import EnrolmentService
from hub.membership.explain import ExplainService
from hub.membership.identities import IdentityService
from hub.membership.model import Agent, ConsoleRole, Identity, IdentityChange, Role
from hub.runtime.caller import Caller
from hub.runtime.clock import micros, timestamp, timestamp_micros
from hub.runtime.paging import page, page_request


class EnrolmentRpc:
    def __init__(
        self,
        service: EnrolmentService,
        agents: AgentService,
        identities: IdentityService,
        explaining: ExplainService,
        *,
        alliance: str,
        hub_address: str,
        log_key: bytes,
    ) -> None:
        self._service = service
        self._agents = agents
        self._identities = identities
        self._explaining = explaining
        self._alliance = alliance
        self._hub_address = hub_address
        self._log_key = log_key

    def enrol(self, tx: Connection, caller: Caller, request: pb.EnrolRequest) -> pb.EnrolResponse:
        enrolled = self._service.enrol(
            tx,
            secret=request.invitation_secret,
            request=request.certificate_request,
            identity=_identity(request.identity),
            signature=request.identity_signature,
        )
        return pb.EnrolResponse(
            member=enrolled.member.id,
            agent=enrolled.agent,
            role=f"MEMBER_ROLE_{enrolled.member.role.upper()}",
            certificate_chain=enrolled.chain,
            alliance=self._alliance,
            hub_address=self._hub_address,
            log_key=self._log_key,
        )

    def explain_certificate(
        self, tx: Connection, caller: Caller, request: pb.ExplainCertificateRequest
    ) -> pb.ExplainCertificateResponse:
        found = self._explaining.explain(
            tx, request.certificate_chain, time=timestamp_micros(request.request_time), signature=request.signature
        )
        return pb.ExplainCertificateResponse(
            state=f"CERTIFICATE_STATE_{found.state.upper()}",
            explanation=found.explanation,
            remedy=found.remedy,
            hub_time=timestamp(self._explaining.now()),
        )

    def renew_certificate(
        self, tx: Connection, caller: Caller, request: pb.RenewCertificateRequest
    ) -> pb.RenewCertificateResponse:
        chain = self._service.renew(tx, caller, request.certificate_request)
        return pb.RenewCertificateResponse(certificate_chain=chain)

    def enrol_agent(self, tx: Connection, caller: Caller, request: pb.EnrolAgentRequest) -> pb.EnrolAgentResponse:
        enrolled = self._agents.enrol(
            tx,
            member_id=member_id(request.member),
            agent=agent_id(request.agent) if request.agent else None,
            request_id=request.request_id,
            request=request.certificate_request,
            time=_micros(request.request_time),
            signature=request.identity_signature,
        )
        return pb.EnrolAgentResponse(
            agent=enrolled.agent,
            role=f"MEMBER_ROLE_{enrolled.member.role.upper()}",
            certificate_chain=enrolled.chain,
            hub_address=self._hub_address,
            log_key=self._log_key,
        )

    def list_agents(self, tx: Connection, caller: Caller, request: pb.ListAgentsRequest) -> pb.ListAgentsResponse:
        asked = page_request(request.page_size, request.page_token)
        found = self._agents.listed(tx, caller, after=asked.after, limit=asked.size + 1)
        shown = page(found, asked, lambda agent: agent.name)
        return pb.ListAgentsResponse(agents=map(_agent, shown.items), next_page_token=shown.next_token)

    def revoke_agent(self, tx: Connection, caller: Caller, request: pb.RevokeAgentRequest) -> pb.RevokeAgentResponse:
        agent = self._agents.revoke(tx, caller, agent_id(request.name, field="name"))
        return pb.RevokeAgentResponse(agent=_agent(agent))

    def change_identity(
        self, tx: Connection, caller: Caller, request: pb.ChangeIdentityRequest
    ) -> pb.ChangeIdentityResponse:
        change = self._identities.change(
            tx, caller, _identity(request.identity), request.former_signature, request.signature
        )
        return pb.ChangeIdentityResponse(change=_change(change))

    def list_identity_changes(
        self, tx: Connection, caller: Caller, request: pb.ListIdentityChangesRequest
    ) -> pb.ListIdentityChangesResponse:
        asked = page_request(request.page_size, request.page_token)
        found = self._identities.changes(
            tx, member_id(request.member), after=asked.after_number(0), limit=asked.size + 1
        )
        shown = page(found, asked, lambda change: str(change.number))
        return pb.ListIdentityChangesResponse(changes=map(_change, shown.items), next_page_token=shown.next_token)

    def issue_operator_certificate(
        self, tx: Connection, caller: Caller, request: pb.IssueOperatorCertificateRequest
    ) -> pb.IssueOperatorCertificateResponse:
        name = operator_id(request.operator)
        try:
            role = ConsoleRole(pb.ConsoleRole.Name(request.role).removeprefix("CONSOLE_ROLE_").lower())
        except ValueError as error:
            raise unknown_role(ConsoleRole) from error
        chain = self._service.issue_operator(tx, caller.name, name, role, request.certificate_request)
        expires = x509.load_der_x509_certificate(chain[0]).not_valid_after_utc
        return pb.IssueOperatorCertificateResponse(certificate_chain=chain, expire_time=timestamp(micros(expires)))


def unknown_role(roles: type[Role] | type[ConsoleRole]) -> InvalidInput:
    return InvalidInput("unknown role", field="role", remedy=f"use one of {', '.join(roles)}")


def _identity(told: pb.MemberIdentity) -> Identity:
    return Identity(signing_key=told.signing_key, sealing_key=told.sealing_key)


def _change(change: IdentityChange) -> pb.IdentityChange:
    former, identity = change.former, change.identity
    return pb.IdentityChange(
        former=pb.MemberIdentity(signing_key=former.signing_key, sealing_key=former.sealing_key),
        identity=pb.MemberIdentity(signing_key=identity.signing_key, sealing_key=identity.sealing_key),
        former_signature=change.former_signature,
        signature=change.signature,
        create_time=timestamp(change.create_time),
    )


def _agent(agent: Agent) -> pb.Agent:
    shown = pb.Agent(
        name=agent.name, create_time=timestamp(agent.create_time), expire_time=timestamp(agent.expire_time)
    )
    if agent.revoke_time is not None:
        shown.revoke_time.CopyFrom(timestamp(agent.revoke_time))
    return shown


def _micros(moment: Timestamp) -> int:
    """Of whatever a client sent. Raises: InvalidInput outside what 64 bits hold in microseconds."""
    if not 0 <= moment.seconds < 2**40 or not 0 <= moment.nanos < 1_000_000_000:
        raise InvalidInput("not a time", reason="TIME_INVALID", field="request_time")
    return timestamp_micros(moment)
