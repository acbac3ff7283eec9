"""Who the members are: public identities, accepted only if the audit log has the very same, then pinned.

A changed identity under a pinned name is refused: the hub cannot swap keys under a member. This member's own
identity is pinned from the start, and a second one in the log, which it did not make, is an alarm.
"""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, String, Table, select
from sqlalchemy.dialects.sqlite import insert

from alliance.canonical import identity_digest
from alliance.errors import Corrupt, NotFound
from alliance.names import MemberId
from alliance.v1 import enrolment_pb2, membership_pb2
from member_agent.audit_log import AuditLog
from member_agent.database import LocalDatabase
from member_agent.hub_client import HubClient
from member_agent.identity import PublicIdentity
from member_agent.state import metadata

identity_table = Table(
    "member_identity",
    metadata,
    Column("member", String, primary_key=True),
    Column("role", String, nullable=False),
    Column("signing_key", LargeBinary, nullable=False),
    Column("sealing_key", LargeBinary, nullable=False),
)

# The event of an enrolment in the log; its detail is the member's role.
ENROLLED = "member_enrolled"
LEFT, EXPELLED = "member_left", "member_expelled"


class Directory:
    def __init__(self, db: LocalDatabase, log: AuditLog, *, own: PublicIdentity) -> None:
        self._db, self._log, self._own = db, log, own

    def get(self, hub: HubClient, member: MemberId) -> PublicIdentity:
        """The pinned identity, fetched and checked at first need. Raises: NotFound, Corrupt."""
        return self._pinned(member) or self.refresh(hub).get(member) or self._missing(member)

    def refresh(self, hub: HubClient) -> dict[MemberId, PublicIdentity]:
        """All enrolled members. Raises: Corrupt, for an identity that differs from the log or the pinned one."""
        request = membership_pb2.ListMembersRequest()
        listed = hub.pages(request, membership_pb2.ListMembersResponse, lambda page: page.members)
        found: dict[MemberId, PublicIdentity] = {}
        for one in listed:
            if one.HasField("identity"):
                found[MemberId(one.name)] = self._admit(hub, one)
        return found

    def require_gone(self, hub: HubClient, member: MemberId) -> None:
        """Raises: Corrupt, unless the log says that the member left or was expelled."""
        if self._log.find(event=EXPELLED, subject=member) or self._log.await_event(hub, event=LEFT, subject=member):
            return
        raise Corrupt(
            f"the hub withdraws for {member}, and the log does not say that it is gone",
            reason="TOMBSTONE_FORGED",
            remedy="keep this agent's home as evidence, tell the alliance",
        )

    def watch_own(self) -> None:
        """Raises: Corrupt, where the log has an identity of this member that is not its own."""
        own = identity_digest(self._own.signing_key, self._own.sealing_key)
        for event, digest in self._log.find(event=ENROLLED, subject=self._own.member):
            if digest != own:
                raise self._changed(f"the log has a {event} of this member that it did not make")

    def _admit(self, hub: HubClient, one: membership_pb2.Member) -> PublicIdentity:
        member = MemberId(one.name)
        shown = PublicIdentity(
            member=member, signing_key=one.identity.signing_key, sealing_key=one.identity.sealing_key
        )
        pinned = self._pinned(member)
        if pinned is not None:
            if pinned != shown:
                raise self._changed(f"the hub shows another identity of {member} than before")
            return pinned
        role = enrolment_pb2.MemberRole.Name(one.role).removeprefix("MEMBER_ROLE_").lower()
        digest = identity_digest(shown.signing_key, shown.sealing_key)
        self._log.require(hub, event=ENROLLED, detail=role, subject=member, digest=digest)
        with self._db.write() as tx:
            tx.execute(
                insert(identity_table)
                .values(member=member, role=role, signing_key=shown.signing_key, sealing_key=shown.sealing_key)
                .on_conflict_do_nothing()
            )
        return shown

    def _pinned(self, member: MemberId) -> PublicIdentity | None:
        if member == self._own.member:
            return self._own
        with self._db.read() as tx:
            row = tx.execute(select(identity_table).where(identity_table.c.member == member)).first()
        if row is None:
            return None
        return PublicIdentity(member=member, signing_key=bytes(row.signing_key), sealing_key=bytes(row.sealing_key))

    def _changed(self, what: str) -> Corrupt:
        return Corrupt(what, reason="IDENTITY_CHANGED", remedy="keep this agent's home as evidence, tell the alliance")

    def _missing(self, member: MemberId) -> PublicIdentity:
        raise NotFound(f"{member} has not enrolled", reason="IDENTITY_MISSING")
