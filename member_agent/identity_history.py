"""What is kept of identities that members gave up, and how a changed one is followed when the hub shows it."""

from __future__ import annotations

import time

from sqlalchemy import Column, Integer, LargeBinary, String, Table, select
from sqlalchemy.dialects.sqlite import insert

from alliance.admission import CHANGED
from alliance.errors import Corrupt
from alliance.names import Digest, MemberId
from alliance.v1 import enrolment_pb2 as pb
from member_agent import audit_log, identity_chain
from member_agent.audit_log import AuditLog
from member_agent.audit_store import leaf_table
from member_agent.database import LocalDatabase
from member_agent.hub_client import HubClient
from member_agent.identity import Former, PublicIdentity
from member_agent.identity_chain import Change, Place
from member_agent.state import metadata

former_table = Table(
    "former_identity",
    metadata,
    Column("member", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("signing_key", LargeBinary, nullable=False),
    Column("sealing_key", LargeBinary, nullable=False),
    # The leaf of the log by which it was given up.
    Column("until", Integer, nullable=False),
)


class IdentityHistory:
    def __init__(self, db: LocalDatabase, log: AuditLog, *, alliance: str) -> None:
        self._db, self._log, self._alliance = db, log, alliance

    def former(self, member: MemberId) -> tuple[Former, ...]:
        """As pinned, oldest first."""
        query = select(former_table).where(former_table.c.member == member).order_by(former_table.c.number)
        with self._db.read() as tx:
            rows = tx.execute(query).all()
        return tuple(
            Former(signing_key=bytes(row.signing_key), sealing_key=bytes(row.sealing_key), until=row.until)
            for row in rows
        )

    def of_all(self) -> list[PublicIdentity]:
        """Every identity that was given up, as it was."""
        with self._db.read() as tx:
            rows = tx.execute(select(former_table)).all()
        return [
            PublicIdentity(
                member=MemberId(row.member), signing_key=bytes(row.signing_key), sealing_key=bytes(row.sealing_key)
            )
            for row in rows
        ]

    def is_settled(self, pinned: PublicIdentity, shown: PublicIdentity) -> bool:
        """What is pinned is what the hub shows, and the log has no change beyond."""
        return pinned.has_keys_of(shown) and len(self._places(pinned.member)) == len(pinned.former)

    def is_changed(self, member: MemberId) -> bool:
        """Whether the log says that the member changed its identity, ever."""
        return bool(self._places(member))

    def follow(self, hub: HubClient, member: MemberId, enrolled: Digest) -> PublicIdentity | None:
        """The identity in use by the changes that the hub shows; None where neither it nor the log has any.

        Raises: Corrupt, IDENTITY_CHANGED for what is no chain; LOG_MISSING where the log is late, or silent.
        """
        before = self._places(member)
        request = pb.ListIdentityChangesRequest(member=member)
        shown = hub.pages(request, pb.ListIdentityChangesResponse, lambda page: page.changes)
        changes = [_change(member, one) for one in shown]
        if not changes and not before:
            return None
        if len(changes) < len(before):
            raise identity_chain.refused(f"the log has a change of identity of {member} that the hub does not show")
        places = self._await(hub, member, len(changes))
        followed = identity_chain.follow(self._alliance, enrolled, changes, places[: len(changes)])
        rows = [
            {
                "member": member,
                "number": number,
                "signing_key": one.signing_key,
                "sealing_key": one.sealing_key,
                "until": one.until,
            }
            for number, one in enumerate(followed.former, 1)
        ]
        with self._db.write() as tx:
            tx.execute(insert(former_table).on_conflict_do_nothing(), rows)
        return followed

    def _await(self, hub: HubClient, member: MemberId, count: int) -> list[Place]:
        """Gives the hub's sequencer a moment to come to what the hub shows."""
        ends = time.monotonic() + audit_log.WAIT_SECONDS
        while len(places := self._places(member)) < count:
            if time.monotonic() >= ends:
                raise Corrupt(
                    f"the hub shows a change of identity of {member} that the log does not have",
                    reason="LOG_MISSING",
                    remedy="try again; if it stays, tell the alliance",
                )
            time.sleep(0.05)
            self._log.update_quietly(hub)
        return places

    def _places(self, member: MemberId) -> list[Place]:
        of = leaf_table.c
        query = select(of.leaf_index, of.digest).where(of.subject == member, of.event == CHANGED)
        with self._db.read() as tx:
            rows = tx.execute(query.order_by(of.leaf_index)).all()
        return [Place(index=row.leaf_index, digest=bytes(row.digest)) for row in rows]


def _change(member: MemberId, told: pb.IdentityChange) -> Change:
    def public(identity: pb.MemberIdentity) -> PublicIdentity:
        return PublicIdentity(member=member, signing_key=identity.signing_key, sealing_key=identity.sealing_key)

    return Change(
        former=public(told.former),
        identity=public(told.identity),
        former_signature=told.former_signature,
        signature=told.signature,
    )
