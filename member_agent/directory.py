"""Who the members are: public identities, accepted only if the audit log has the very same, then pinned.

Only admitted members are handed out: nobody else's signature counts, and to nobody else a key is wrapped. A changed
identity under a pinned name is refused: the hub cannot swap keys under a member. This member's own identity is pinned
from the start; a second one in the log, or an admission in its name that it did not sign, is an alarm.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy import Column, Integer, LargeBinary, Row, String, Table, select
from sqlalchemy.dialects.sqlite import insert

from alliance.admission import ENROLLED, EXPELLED, LEFT, Register
from alliance.canonical import identity_digest
from alliance.errors import Corrupt, NotFound
from alliance.names import Digest, MemberId
from alliance.v1 import enrolment_pb2, membership_pb2
from member_agent import audit_log
from member_agent.admission import EVIDENCE, Admissions
from member_agent.audit_log import AuditLog
from member_agent.database import LocalDatabase
from member_agent.hub_client import HubClient
from member_agent.identity import Logged, PublicIdentity
from member_agent.identity_history import IdentityHistory
from member_agent.state import metadata

log = structlog.get_logger()
_ROTATED_ELSEWHERE = (
    'if "alliance-agent identity rotate" was cut off, run it again; if another agent of this member changed it, set '
    "this one up anew from a backup made since; else keep this agent's home as evidence, tell the alliance"
)
identity_table = Table(
    "member_identity",
    metadata,
    Column("member", String, primary_key=True),
    Column("role", String, nullable=False),
    Column("signing_key", LargeBinary, nullable=False),
    Column("sealing_key", LargeBinary, nullable=False),
)
# How many of the log's events about members there were when this agent last looked at all of them.
look_table = Table(
    "member_look",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("events", Integer, nullable=False),
)


class Directory:
    def __init__(self, db: LocalDatabase, log: AuditLog, *, alliance: str, own: PublicIdentity) -> None:
        self._db, self._log, self._own = db, log, own
        self._history = IdentityHistory(db, log, alliance=alliance)
        self._admissions = Admissions(db, log, alliance=alliance, identities=self._by_digest)
        self._known = {identity_digest(own.signing_key, own.sealing_key): own}

    def get(self, hub: HubClient, member: MemberId) -> PublicIdentity:
        """The pinned identity of a member that was admitted, fetched and checked at first need.

        Raises: NotFound, IDENTITY_MISSING or NOT_ADMITTED; Corrupt, where the hub claims more than the log has.
        """
        pinned = self._pinned(member)
        if pinned is None or not self._was_admitted(member):
            pinned = self.refresh(hub).get(member)
        if pinned is None:
            raise NotFound(f"{member} has not enrolled", reason="IDENTITY_MISSING")
        if not self._was_admitted(member):
            raise NotFound(
                f"{member} waits to be admitted",
                reason="NOT_ADMITTED",
                remedy=f'see "alliance-agent member list"; you may run "alliance-agent member admit {member}"',
            )
        return pinned

    def require(self, hub: HubClient, member: MemberId, what: str) -> PublicIdentity:
        """As `get`, of one whose doing the hub shows. Raises: Corrupt, ADMISSION_MISSING if it was never admitted."""
        try:
            return self.get(hub, member)
        except NotFound as error:
            raise Corrupt(
                f"the hub shows {what} of {member}, whom the log does not have as admitted",
                reason="ADMISSION_MISSING",
                remedy=EVIDENCE,
            ) from error

    def newcomer(self, hub: HubClient, member: MemberId) -> PublicIdentity | None:
        """To wrap a key to; None for one that does not count (yet, or any more). Raises: Corrupt."""
        try:
            identity = self.get(hub, member)
        except NotFound as error:
            log.info("member_not_counted", member=member, reason=error.reason)
            return None
        if member != self._own.member and not self.register().members[member].counts:
            log.info("member_not_counted", member=member, reason="GONE")
            return None
        return identity

    def register(self) -> Register:
        """Everybody in the log as it stands here, by this agent's own count. Raises: Corrupt."""
        return self._admissions.register()

    def refresh(self, hub: HubClient) -> dict[MemberId, PublicIdentity]:
        """All enrolled members, admitted or waiting.

        Raises: Corrupt, for an identity that differs from the log or the pinned one, and for an admission that the
        hub claims and the log does not have.
        """
        request = membership_pb2.ListMembersRequest()
        listed = list(hub.pages(request, membership_pb2.ListMembersResponse, lambda page: page.members))
        found: dict[MemberId, PublicIdentity] = {}
        for one in listed:
            if one.HasField("identity"):
                found[MemberId(one.name)] = self._pin(hub, one)
        for one in listed:
            if MemberId(one.name) in found:
                self._learn(one)
        self._check_claims(hub, {MemberId(one.name) for one in listed if one.HasField("admit_time")})
        return found

    def logged(self, *, event: str, subject: str, actor: str, digest: bytes) -> Logged:
        """Where the log has it: what a member signed before it changed its identity still counts."""
        return lambda: self._log.locate(event=event, subject=subject, actor=actor, digest=digest)

    def require_gone(self, hub: HubClient, member: MemberId) -> None:
        """Raises: Corrupt, unless the log says that the member left or was expelled."""
        if self._log.find(event=EXPELLED, subject=member) or self._log.await_event(hub, event=LEFT, subject=member):
            return
        raise Corrupt(
            f"the hub withdraws for {member}, and the log does not say that it is gone",
            reason="TOMBSTONE_FORGED",
            remedy=EVIDENCE,
        )

    def watch(self, hub: HubClient) -> None:
        """Looks at the members whenever the log has something new of them; at what the log has of this one always.

        Raises: Corrupt, where the log has an identity or an admission of this member that it did not make; and as
        `refresh`.
        """
        self._require_own_enrolment(hub)
        news = self._admissions.count()
        if news != self._looked_at():
            self.refresh(hub)
            with self._db.write() as tx:
                row = insert(look_table).values(id=1, events=news)
                tx.execute(row.on_conflict_do_update(index_elements=["id"], set_={"events": news}))
        own = self._owned()
        for leaf in self._admissions.signed_by(self._own.member):
            if not self._admissions.is_made_by(own, leaf):
                raise Corrupt(
                    f"the log has an admission of {leaf.subject} by this member that it did not sign",
                    reason="ADMISSION_FORGED",
                    remedy=EVIDENCE,
                )

    def _require_own_enrolment(self, hub: HubClient) -> None:
        """What the log has of this member began with its own keys, maybe some it gave up since. Raises: Corrupt."""
        enrolled = self._log.find(event=ENROLLED, subject=self._own.member)
        if not self._owned().former and self._history.is_changed(self._own.member):
            self.refresh(hub)
        own = self._owned()
        first = own.former[0] if own.former else own
        for event, digest in enrolled:
            if digest != identity_digest(first.signing_key, first.sealing_key):
                raise self._changed(f"the log has a {event} of this member that it did not make")

    def _looked_at(self) -> int:
        with self._db.read() as tx:
            return tx.execute(select(look_table.c.events)).scalar() or 0

    def _pin(self, hub: HubClient, one: membership_pb2.Member) -> PublicIdentity:
        member = MemberId(one.name)
        shown = PublicIdentity(
            member=member, signing_key=one.identity.signing_key, sealing_key=one.identity.sealing_key
        )
        pinned = self._pinned(member)
        if pinned is not None and self._history.is_settled(pinned, shown):
            return pinned
        enrolled = self._log.await_event(hub, event=ENROLLED, subject=member)
        followed = self._history.follow(hub, member, Digest(enrolled[0][1])) if enrolled else None
        if pinned is not None and followed is None:
            raise self._changed(f"the hub shows another identity of {member} than before")
        if member == self._own.member and followed is not None:
            if not followed.has_keys_of(self._own):
                raise self._changed(f"{member} has an identity that this agent did not make", _ROTATED_ELSEWHERE)
            return followed
        identity, role = followed or shown, _role(one)
        first = followed.former[0] if followed else shown
        digest = identity_digest(first.signing_key, first.sealing_key)
        self._log.require(hub, event=ENROLLED, detail=role, subject=member, digest=digest)
        keys = {"signing_key": identity.signing_key, "sealing_key": identity.sealing_key}
        with self._db.write() as tx:
            row = insert(identity_table).values(member=member, role=role, **keys)
            tx.execute(row.on_conflict_do_update(index_elements=["member"], set_=keys))
        return identity

    def _learn(self, one: membership_pb2.Member) -> None:
        known = self.register().members.get(MemberId(one.name))
        digest = known.identity if known else identity_digest(one.identity.signing_key, one.identity.sealing_key)
        signatures = [admission.signature for admission in one.admissions]
        self._admissions.learn(MemberId(one.name), _role(one), digest, signatures)

    def _check_claims(self, hub: HubClient, claimed: set[MemberId]) -> None:
        """Gives the hub's sequencer a moment to come to what the hub says. Raises: Corrupt."""
        ends = time.monotonic() + audit_log.WAIT_SECONDS
        while lacking := sorted(member for member in claimed if not self._was_admitted(member)):
            if time.monotonic() >= ends:
                raise Corrupt(
                    f"the hub says that {lacking[0]} is admitted, the log does not",
                    reason="ADMISSION_FORGED",
                    remedy=EVIDENCE,
                )
            time.sleep(0.05)
            self._log.update_quietly(hub)

    def _was_admitted(self, member: MemberId) -> bool:
        entry = self.register().members.get(member)
        return member == self._own.member or (entry is not None and entry.admitted)

    def _by_digest(self, digest: Digest) -> PublicIdentity | None:
        """Of all that are pinned, this member's own included."""
        if digest not in self._known:
            with self._db.read() as tx:
                rows = tx.execute(select(identity_table)).all()
            for known in (*map(_public, rows), *self._history.of_all()):
                self._known[identity_digest(known.signing_key, known.sealing_key)] = known
        return self._known.get(digest)

    def _pinned(self, member: MemberId) -> PublicIdentity | None:
        if member == self._own.member:
            return self._owned()
        with self._db.read() as tx:
            row = tx.execute(select(identity_table).where(identity_table.c.member == member)).first()
        return None if row is None else replace(_public(row), former=self._history.former(member))

    def _owned(self) -> PublicIdentity:
        return replace(self._own, former=self._history.former(self._own.member))

    def _changed(self, what: str, remedy: str = EVIDENCE) -> Corrupt:
        return Corrupt(what, reason="IDENTITY_CHANGED", remedy=remedy)


def _role(one: membership_pb2.Member) -> str:
    return enrolment_pb2.MemberRole.Name(one.role).removeprefix("MEMBER_ROLE_").lower()


def _public(row: Row[Any]) -> PublicIdentity:
    return PublicIdentity(
        member=MemberId(row.member), signing_key=bytes(row.signing_key), sealing_key=bytes(row.sealing_key)
    )
