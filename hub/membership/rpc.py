"""MembershipService and EnrolmentService: parse, call, render."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping

from cryptography import x509
from sqlalchemy import Connection

from alliance import release
from alliance.errors import InvalidInput
from alliance.names import MemberId, digest, group_id, member_id, operator_id
from alliance.v1 import enrolment_pb2 as enrolment_pb
from alliance.v1 import membership_pb2 as pb
from hub.membership.enrolment import EnrolmentService
from hub.membership.model import ConsoleRole, Group, Identity, Member, Role
from hub.membership.service import Departed, MembershipService
from hub.runtime.caller import Caller
from hub.runtime.changes import EVERYTHING, Topic
from hub.runtime.clock import Clock, micros, timestamp
from hub.runtime.edge import Session
from hub.runtime.paging import page, page_request

# What a member's watch shows of one moment: hint key -> (state, hint). A changed state is a hint.
Shown = dict[str, tuple[str, pb.WatchResponse]]
Look = Callable[[Connection, MemberId], Shown]
WATCH_SECONDS = 30 * 60
HEARTBEAT_SECONDS = 20.0
# Other hub replicas' changes wake nobody here: look again this often.
POLL_SECONDS = 2.0
# How long a connected agent counts as present without another word.
PRESENCE_SECONDS = 40


class MembershipRpc:
    def __init__(
        self, service: MembershipService, enrolment: EnrolmentService, *, alliance: str, enrolment_address: str,
        clock: Clock, departed: Departed, looks: Mapping[Topic, Look],
    ) -> None:  # fmt: skip
        self._service = service
        self._enrolment = enrolment
        self._alliance = alliance
        self._enrolment_address = enrolment_address
        self._clock = clock
        self._departed = departed
        self._looks = looks
        # Open watch streams by member: an agent that reconnects may have two for a moment.
        self._streams: Counter[MemberId] = Counter()

    def handshake(self, tx: Connection, caller: Caller, request: pb.HandshakeRequest) -> pb.HandshakeResponse:
        release.require_supported(request.client_version)
        response = pb.HandshakeResponse(
            alliance=self._alliance,
            hub_version=release.VERSION,
            minimum_client_version=release.MINIMUM_CLIENT_VERSION,
            hub_time=timestamp(micros(self._clock())),
            caller=caller.name,
            caller_role=caller.who.value,
        )
        if caller.peer is not None:
            response.certificate_expire_time.CopyFrom(timestamp(micros(caller.peer.not_after)))
        return response

    async def watch(self, session: Session, request: pb.WatchRequest) -> AsyncIterator[pb.WatchResponse]:
        """Compares what there is with what it showed; the caller is re-checked before every message."""
        member, changes = session.caller.member, session.runtime.changes
        seen: dict[Topic, dict[str, str]] = {topic: {} for topic in Topic}
        ends, beat, told = self._clock().timestamp() + WATCH_SECONDS, 0.0, 0.0
        session.runtime.metrics.watchers.inc()
        self._streams[member] += 1
        try:
            with changes.watcher(member) as watcher:
                topics = EVERYTHING
                while (now := self._clock().timestamp()) < ends:
                    found = await session.look(functools.partial(self._look, member, topics))
                    if now - told >= PRESENCE_SECONDS / 2:
                        await session.write(functools.partial(self._present, member))
                        if not told:
                            changes.tell_listeners()
                        told = now
                    for topic, shown in found.items():
                        for key, (state, hint) in shown.items():
                            if seen[topic].get(key) != state:
                                yield hint
                                beat = now
                        seen[topic] = {key: state for key, (state, _) in shown.items()}
                    if now - beat >= HEARTBEAT_SECONDS:
                        yield pb.WatchResponse(heartbeat=pb.Heartbeat())
                        beat = now
                    topics = await watcher.next(seconds=POLL_SECONDS)
        finally:
            session.runtime.metrics.watchers.dec()
            self._streams[member] -= 1
            if not self._streams[member]:
                session.runtime.pool.submit(self._absent, session, member)

    def _look(self, member: MemberId, topics: frozenset[Topic], tx: Connection) -> dict[Topic, Shown]:
        return {topic: self._looks[topic](tx, member) for topic in topics}

    def _present(self, member: MemberId, tx: Connection) -> None:
        self._service.mark_present(tx, member, seconds=PRESENCE_SECONDS)

    def _absent(self, session: Session, member: MemberId) -> None:
        """In the worker pool, since an ended stream cannot wait."""
        with session.runtime.db.write() as tx:
            self._service.mark_present(tx, member, seconds=0)

    def create_invitation(
        self, tx: Connection, caller: Caller, request: pb.CreateInvitationRequest
    ) -> pb.CreateInvitationResponse:
        invitation = self._enrolment.invite(
            tx,
            caller,
            member_id(request.member),
            _role(request.role),
            digest(request.secret_digest, field="secret_digest"),
            request.lifetime_seconds,
        )
        return pb.CreateInvitationResponse(
            alliance=self._alliance,
            enrolment_address=self._enrolment_address,
            expire_time=timestamp(invitation.expire_time),
        )

    def list_members(self, tx: Connection, caller: Caller, request: pb.ListMembersRequest) -> pb.ListMembersResponse:
        asked = page_request(request.page_size, request.page_token)
        found = self._service.members(tx, after=asked.after, limit=asked.size + 1)
        shown = page(found, asked, lambda member: member.id)
        return pb.ListMembersResponse(
            members=[_member(member, caller) for member in shown.items], next_page_token=shown.next_token
        )

    def get_member(self, tx: Connection, caller: Caller, request: pb.GetMemberRequest) -> pb.GetMemberResponse:
        member = self._service.get(tx, member_id(request.name, field="name"))
        return pb.GetMemberResponse(member=_member(member, caller))

    def suspend_member(
        self, tx: Connection, caller: Caller, request: pb.SuspendMemberRequest
    ) -> pb.SuspendMemberResponse:
        member = self._service.suspend(tx, caller, member_id(request.name, field="name"), request.reason)
        return pb.SuspendMemberResponse(member=_member(member, caller))

    def reinstate_member(
        self, tx: Connection, caller: Caller, request: pb.ReinstateMemberRequest
    ) -> pb.ReinstateMemberResponse:
        member = self._service.reinstate(tx, caller, member_id(request.name, field="name"), request.reason)
        return pb.ReinstateMemberResponse(member=_member(member, caller))

    def expel_member(self, tx: Connection, caller: Caller, request: pb.ExpelMemberRequest) -> pb.ExpelMemberResponse:
        member = self._service.expel(tx, caller, member_id(request.name, field="name"), request.reason)
        return pb.ExpelMemberResponse(member=_member(member, caller))

    def leave_alliance(
        self, tx: Connection, caller: Caller, request: pb.LeaveAllianceRequest
    ) -> pb.LeaveAllianceResponse:
        return pb.LeaveAllianceResponse(member=_member(self._service.leave(tx, caller, self._departed), caller))

    def create_group(self, tx: Connection, caller: Caller, request: pb.CreateGroupRequest) -> pb.CreateGroupResponse:
        group = self._service.create_group(tx, caller, group_id(request.name, field="name"))
        return pb.CreateGroupResponse(group=_group(group))

    def add_group_member(
        self, tx: Connection, caller: Caller, request: pb.AddGroupMemberRequest
    ) -> pb.AddGroupMemberResponse:
        group = self._service.add_to_group(tx, caller, group_id(request.group), member_id(request.member))
        return pb.AddGroupMemberResponse(group=_group(group))

    def list_groups(self, tx: Connection, caller: Caller, request: pb.ListGroupsRequest) -> pb.ListGroupsResponse:
        asked = page_request(request.page_size, request.page_token)
        found = self._service.groups(tx, caller, after=asked.after, limit=asked.size + 1)
        shown = page(found, asked, lambda group: group.id)
        return pb.ListGroupsResponse(groups=map(_group, shown.items), next_page_token=shown.next_token)


class EnrolmentRpc:
    def __init__(self, service: EnrolmentService, *, alliance: str, hub_address: str, log_key: bytes) -> None:
        self._service = service
        self._alliance = alliance
        self._hub_address = hub_address
        self._log_key = log_key

    def enrol(self, tx: Connection, caller: Caller, request: enrolment_pb.EnrolRequest) -> enrolment_pb.EnrolResponse:
        enrolled = self._service.enrol(
            tx,
            secret=request.invitation_secret,
            request=request.certificate_request,
            identity=Identity(signing_key=request.identity.signing_key, sealing_key=request.identity.sealing_key),
            signature=request.identity_signature,
        )
        return enrolment_pb.EnrolResponse(
            member=enrolled.member.id,
            agent=enrolled.agent,
            role=f"MEMBER_ROLE_{enrolled.member.role.upper()}",
            certificate_chain=enrolled.chain,
            alliance=self._alliance,
            hub_address=self._hub_address,
            log_key=self._log_key,
        )

    def renew_certificate(
        self, tx: Connection, caller: Caller, request: enrolment_pb.RenewCertificateRequest
    ) -> enrolment_pb.RenewCertificateResponse:
        chain = self._service.renew(tx, caller, request.certificate_request)
        return enrolment_pb.RenewCertificateResponse(certificate_chain=chain)

    def issue_operator_certificate(
        self, tx: Connection, caller: Caller, request: enrolment_pb.IssueOperatorCertificateRequest
    ) -> enrolment_pb.IssueOperatorCertificateResponse:
        name = operator_id(request.operator)
        try:
            role = ConsoleRole(enrolment_pb.ConsoleRole.Name(request.role).removeprefix("CONSOLE_ROLE_").lower())
        except ValueError as error:
            raise _unknown_role(ConsoleRole) from error
        chain = self._service.issue_operator(tx, caller.name, name, role, request.certificate_request)
        expires = x509.load_der_x509_certificate(chain[0]).not_valid_after_utc
        return enrolment_pb.IssueOperatorCertificateResponse(
            certificate_chain=chain, expire_time=timestamp(micros(expires))
        )


def _role(value: enrolment_pb.MemberRole) -> Role:
    try:
        return Role(enrolment_pb.MemberRole.Name(value).removeprefix("MEMBER_ROLE_").lower())
    except ValueError as error:
        raise _unknown_role(Role) from error


def _unknown_role(roles: type[Role] | type[ConsoleRole]) -> InvalidInput:
    return InvalidInput("unknown role", field="role", remedy=f"use one of {', '.join(roles)}")


def _member(member: Member, caller: Caller) -> pb.Member:
    shown = pb.Member(
        name=member.id,
        role=f"MEMBER_ROLE_{member.role.upper()}",
        standing=f"STANDING_{member.standing.upper()}",
        create_time=timestamp(member.create_time),
        standing_reason=member.reason if caller.is_console else "",
    )
    if member.identity is not None:
        shown.identity.signing_key = member.identity.signing_key
        shown.identity.sealing_key = member.identity.sealing_key
    if member.enrol_time is not None:
        shown.enrol_time.CopyFrom(timestamp(member.enrol_time))
    return shown


def _group(group: Group) -> pb.Group:
    return pb.Group(name=group.id, members=group.members, create_time=timestamp(group.create_time))
