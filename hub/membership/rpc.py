"""MembershipService: parse, call, render."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence

from sqlalchemy import Connection

from alliance import release
from alliance.names import MemberId, digest, group_id, member_id
from alliance.v1 import enrolment_pb2 as enrolment_pb
from alliance.v1 import membership_pb2 as pb
from hub.membership.admissions import Admissions, AdmissionService
from hub.membership.enrolment import EnrolmentService
from hub.membership.enrolment_rpc import unknown_role
from hub.membership.looks import Look, Looks
from hub.membership.model import Group, Member, Role
from hub.membership.service import Departed, MembershipService
from hub.runtime.caller import Caller
from hub.runtime.changes import EVERYTHING, Topic
from hub.runtime.clock import Clock, micros, timestamp
from hub.runtime.edge import Session
from hub.runtime.paging import page, page_request

WATCH_SECONDS = 30 * 60
HEARTBEAT_SECONDS = 20.0
# Other hub replicas' changes wake nobody here: look again this often.
POLL_SECONDS = 2.0
# How long a connected agent counts as present without another word.
PRESENCE_SECONDS = 40


class MembershipRpc:
    def __init__(
        self, service: MembershipService, enrolment: EnrolmentService, admissions: AdmissionService, *,
        alliance: str, enrolment_address: str, clock: Clock, departed: Departed, looks: Mapping[Topic, Look],
    ) -> None:  # fmt: skip
        self._service = service
        self._enrolment = enrolment
        self._admissions = admissions
        self._alliance = alliance
        self._enrolment_address = enrolment_address
        self._clock = clock
        self._departed = departed
        self._looks = Looks(looks)
        # Open watch streams by member: an agent that reconnects may have two for a moment.
        self._streams: Counter[MemberId] = Counter()
        # Until when those members were last said to be present.
        self._until: dict[MemberId, int] = {}

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
                    found = await self._looks.look(session, topics)
                    if now - told >= PRESENCE_SECONDS / 2:
                        # Before it is written, so that a stream that ends in the middle of that takes it back.
                        self._until[member] = micros(self._clock()) + PRESENCE_SECONDS * 1_000_000
                        await session.write(functools.partial(self._present, member, self._until[member]))
                        if not told:
                            changes.arrived()
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
                del self._streams[member]
                session.runtime.pool.submit(self._absent, session, member, self._until.pop(member, 0))

    def _present(self, member: MemberId, until: int, tx: Connection) -> None:
        self._service.mark_present(tx, member, until=until)

    def _absent(self, session: Session, member: MemberId, until: int) -> None:
        """In the worker pool, since an ended stream cannot wait."""
        with session.runtime.db.write() as tx:
            self._service.mark_absent(tx, member, until=until)

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
        return pb.ListMembersResponse(members=self._shown(tx, caller, shown.items), next_page_token=shown.next_token)

    def get_member(self, tx: Connection, caller: Caller, request: pb.GetMemberRequest) -> pb.GetMemberResponse:
        member = self._service.get(tx, member_id(request.name, field="name"))
        return pb.GetMemberResponse(member=self._one(tx, caller, member))

    def suspend_member(
        self, tx: Connection, caller: Caller, request: pb.SuspendMemberRequest
    ) -> pb.SuspendMemberResponse:
        member = self._service.suspend(tx, caller, member_id(request.name, field="name"), request.reason)
        return pb.SuspendMemberResponse(member=self._one(tx, caller, member))

    def reinstate_member(
        self, tx: Connection, caller: Caller, request: pb.ReinstateMemberRequest
    ) -> pb.ReinstateMemberResponse:
        member = self._service.reinstate(tx, caller, member_id(request.name, field="name"), request.reason)
        return pb.ReinstateMemberResponse(member=self._one(tx, caller, member))

    def expel_member(self, tx: Connection, caller: Caller, request: pb.ExpelMemberRequest) -> pb.ExpelMemberResponse:
        member = self._service.expel(tx, caller, member_id(request.name, field="name"), request.reason)
        return pb.ExpelMemberResponse(member=self._one(tx, caller, member))

    def leave_alliance(
        self, tx: Connection, caller: Caller, request: pb.LeaveAllianceRequest
    ) -> pb.LeaveAllianceResponse:
        member = self._service.leave(tx, caller, self._departed)
        return pb.LeaveAllianceResponse(member=self._one(tx, caller, member))

    def admit_member(self, tx: Connection, caller: Caller, request: pb.AdmitMemberRequest) -> pb.AdmitMemberResponse:
        member = self._admissions.admit(
            tx,
            caller,
            member_id(request.member),
            digest(request.identity_digest, field="identity_digest"),
            request.signature,
        )
        return pb.AdmitMemberResponse(member=self._one(tx, caller, member))

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

    def _one(self, tx: Connection, caller: Caller, member: Member) -> pb.Member:
        return self._shown(tx, caller, [member])[0]

    def _shown(self, tx: Connection, caller: Caller, members: Sequence[Member]) -> list[pb.Member]:
        admissions = self._admissions.of(tx, members)
        return [_member(member, caller, admissions[member.id]) for member in members]


def _role(value: enrolment_pb.MemberRole) -> Role:
    try:
        return Role(enrolment_pb.MemberRole.Name(value).removeprefix("MEMBER_ROLE_").lower())
    except ValueError as error:
        raise unknown_role(Role) from error


def _member(member: Member, caller: Caller, admissions: Admissions) -> pb.Member:
    shown = pb.Member(
        name=member.id,
        role=f"MEMBER_ROLE_{member.role.upper()}",
        standing=f"STANDING_{member.standing.upper()}",
        create_time=timestamp(member.create_time),
        standing_reason=member.reason if caller.is_console else "",
        admissions=[pb.Admission(signer=one.signer, signature=one.signature) for one in admissions.signed],
        admissions_needed=admissions.needed,
    )
    if member.admit_time is not None:
        shown.admit_time.CopyFrom(timestamp(member.admit_time))
    if member.identity is not None:
        shown.identity.signing_key = member.identity.signing_key
        shown.identity.sealing_key = member.identity.sealing_key
    if member.enrol_time is not None:
        shown.enrol_time.CopyFrom(timestamp(member.enrol_time))
    return shown


def _group(group: Group) -> pb.Group:
    return pb.Group(name=group.id, members=group.members, create_time=timestamp(group.create_time))
