"""Members, standings and groups: each method is one transaction's work, read top to bottom.

Who may call is the access table's affair; what a departure does to fingerprints is handed in by `hub.serving`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from sqlalchemy import Connection

from alliance.errors import AllianceError, AlreadyExists, InvalidInput, NotAuthenticated, NotFound, NotPermitted
from alliance.names import GroupId, MemberId, OperatorId
from alliance.tls import Peer, PeerKind
from hub.audit.service import AuditService
from hub.membership import store
from hub.membership.admissions import AdmissionService
from hub.membership.model import GONE, Group, Member, Standing
from hub.membership.signatures import require_signed
from hub.pki.service import PkiService
from hub.runtime.caller import Caller, Who
from hub.runtime.clock import Clock, micros
from hub.runtime.db import is_write

MAX_REASON = 200
Departed = Callable[[Connection, MemberId], None]


class MembershipService:
    def __init__(self, *, pki: PkiService, audit: AuditService, admissions: AdmissionService, clock: Clock) -> None:
        self._pki = pki
        self._audit = audit
        self._admissions = admissions
        self._clock = clock

    def authenticate(self, tx: Connection, peer: Peer) -> Caller:
        """The caller a live certificate speaks for. Raises: NotAuthenticated."""
        self._pki.require_live(tx, peer.serial)
        if peer.kind is PeerKind.MEMBER:
            # A mutation holds its caller: either an expulsion waits for it, or it sees the expulsion.
            find = store.hold_member if is_write(tx) else store.find_member
            return _caller(find(tx, MemberId(peer.name)), peer)
        if peer.kind is PeerKind.OPERATOR:
            operator = store.find_operator(tx, OperatorId(peer.name))
            if operator is not None:
                return Caller(who=Who(operator.role.value), name=operator.id, peer=peer)
        raise _not_counted()

    def callers(self, tx: Connection, peers: Collection[Peer]) -> dict[Peer, Caller | AllianceError]:
        """`authenticate` of many at once, for open streams: in a few queries, with the error where there is one."""
        live = self._pki.live_serials(tx, [peer.serial for peer in peers])
        members = {member.id: member for member in store.members_named(tx, {MemberId(peer.name) for peer in peers})}

        def caller(peer: Peer) -> Caller:
            if peer.kind is not PeerKind.MEMBER or peer.serial not in live:
                return self.authenticate(tx, peer)
            return _caller(members.get(MemberId(peer.name)), peer)

        found: dict[Peer, Caller | AllianceError] = {}
        for peer in peers:
            try:
                found[peer] = caller(peer)
            except NotAuthenticated as error:
                found[peer] = error
        return found

    def get(self, tx: Connection, member_id: MemberId) -> Member:
        """Raises: NotFound."""
        return _found(store.find_member(tx, member_id), member_id)

    def members(self, tx: Connection, *, after: str | None, limit: int) -> list[Member]:
        return store.members(tx, after=after, limit=limit)

    def suspend(self, tx: Connection, caller: Caller, member_id: MemberId, reason: str) -> Member:
        """Raises: NotFound, FailedPrecondition."""
        member = self._locked(tx, member_id).suspend(_reason(reason))
        return self._saved(tx, caller, member, "member_suspended")

    def reinstate(self, tx: Connection, caller: Caller, member_id: MemberId, reason: str) -> Member:
        """Raises: NotFound, FailedPrecondition."""
        member = self._locked(tx, member_id).reinstate(_reason(reason))
        return self._saved(tx, caller, member, "member_reinstated")

    def expel(self, tx: Connection, caller: Caller, member_id: MemberId, reason: str) -> Member:
        """Revokes its certificates and takes it out of every group. Raises: NotFound, FailedPrecondition."""
        member = self._locked(tx, member_id).expel(_reason(reason))
        store.leave_groups(tx, member.id)
        self._pki.revoke(tx, member.id)
        return self._gone(tx, caller, member, "member_expelled")

    def leave(self, tx: Connection, caller: Caller, departed: Departed) -> Member:
        """The caller leaves: `departed` withdraws what it published. Raises: FailedPrecondition."""
        member = self._locked(tx, caller.member).leave()
        departed(tx, member.id)
        store.leave_groups(tx, member.id)
        self._pki.revoke(tx, member.id)
        return self._gone(tx, caller, member, "member_left")

    def mark_present(self, tx: Connection, member_id: MemberId, *, until: int) -> None:
        """The member's agent is connected, and counts as such until then."""
        store.set_present(tx, member_id, until=until)

    def mark_absent(self, tx: Connection, member_id: MemberId, *, until: int) -> None:
        """Its agent is gone that counted until then; one that came back since, here or at another hub, stays."""
        store.set_absent(tx, member_id, until=until, now=micros(self._clock()))

    def present(self, tx: Connection, members: Collection[MemberId], *, now: int) -> list[MemberId]:
        """Those of the members whose agents are connected."""
        here = store.present(tx, now=now)
        return [member for member in members if member in here]

    def create_group(self, tx: Connection, caller: Caller, group_id: GroupId) -> Group:
        """Raises: AlreadyExists."""
        if store.find_group(tx, group_id) is not None:
            raise AlreadyExists(f"{group_id} exists", reason="GROUP_EXISTS", field="name")
        group = Group(id=group_id, members=(), create_time=micros(self._clock()))
        store.add_group(tx, group)
        self._audit.record(tx, event="group_created", actor=caller.name, subject=group_id)
        return group

    def add_to_group(self, tx: Connection, caller: Caller, group_id: GroupId, member_id: MemberId) -> Group:
        """Raises: NotFound, AlreadyExists, FailedPrecondition."""
        self.group(tx, group_id)
        member = self._locked(tx, member_id)
        if member.standing in GONE:
            raise NotFound(f"{member_id} is {member.standing}", reason="MEMBER_GONE", field="member")
        if store.is_group_member(tx, group_id, member_id):
            raise AlreadyExists(f"{member_id} is in {group_id} already", reason="MEMBER_IN_GROUP", field="member")
        store.add_group_member(tx, group_id, member_id)
        self._audit.record(tx, event=f"group_joined:{group_id}", actor=caller.name, subject=member_id)
        return self.group(tx, group_id)

    def group(self, tx: Connection, group_id: GroupId) -> Group:
        """Raises: NotFound."""
        group = store.find_group(tx, group_id)
        if group is None:
            raise NotFound(f"no group {group_id}", reason="GROUP_NOT_FOUND", field="group")
        return group

    def groups(self, tx: Connection, caller: Caller, *, after: str | None, limit: int) -> list[Group]:
        """All of them to the console, to a member its own."""
        member = None if caller.is_console else caller.member
        return store.groups(tx, member=member, after=after, limit=limit)

    def is_in_group(self, tx: Connection, group_id: GroupId, member_id: MemberId) -> bool:
        return store.is_group_member(tx, group_id, member_id)

    def active_in(self, tx: Connection, group_id: GroupId) -> set[MemberId]:
        """The group's members that are active."""
        return store.active_in(tx, group_id)

    def require_in_group(self, tx: Connection, group_id: GroupId, member_id: MemberId) -> None:
        """Raises: NotPermitted, the same for a group that is not there: outsiders learn nothing."""
        if not self.is_in_group(tx, group_id, member_id):
            raise NotPermitted(
                f"{member_id} is not in this sharing group",
                reason="NOT_IN_GROUP",
                remedy="ask the operator to add the member",
            )

    def require_signed(self, tx: Connection, member_id: MemberId, signed: bytes, signature: bytes) -> None:
        """The member's registered identity signed these bytes. Raises: InvalidInput."""
        require_signed(self.get(tx, member_id), signed, signature)

    def _locked(self, tx: Connection, member_id: MemberId) -> Member:
        """For a change: what it is decided on stays true. Raises: NotFound."""
        return _found(store.lock_member(tx, member_id), member_id)

    def _gone(self, tx: Connection, caller: Caller, member: Member, event: str) -> Member:
        self._admissions.lock(tx)
        self._saved(tx, caller, member, event)
        self._admissions.departed(tx)
        return member

    def _saved(self, tx: Connection, caller: Caller, member: Member, event: str) -> Member:
        store.save_member(tx, member)
        self._audit.record(tx, event=event, actor=caller.name, subject=member.id)
        return member


def _caller(member: Member | None, peer: Peer) -> Caller:
    if member is None or member.standing in GONE or member.standing is Standing.INVITED:
        raise _not_counted()
    active = member.standing is Standing.ACTIVE
    return Caller(who=Who(member.role.value), name=member.id, active=active, admitted=member.admitted, peer=peer)


def _found(member: Member | None, member_id: MemberId) -> Member:
    if member is None:
        raise NotFound(f"no member {member_id}", reason="MEMBER_NOT_FOUND", field="name")
    return member


def _reason(text: str) -> str:
    if not text.strip() or len(text) > MAX_REASON or not text.isprintable():
        raise InvalidInput(
            f"a reason has 1 to {MAX_REASON} printable characters", field="reason", remedy="say why, in a sentence"
        )
    return text.strip()


def _not_counted() -> NotAuthenticated:
    return NotAuthenticated(
        "the certificate's holder is not, or no longer, in this alliance",
        reason="NOT_IN_ALLIANCE",
        remedy="ask the operator for an invitation",
    )
