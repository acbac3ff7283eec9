"""Members as each other's witnesses: what the others saw of the log is compared with what this agent holds.

A hub can show two members two logs, each consistent in itself. So each agent cosigns the heads it verified, and at
every look at the log it reads what the others cosigned: another root for the same leaves, or a head of leaves that
the hub does not show here, is a fork, `LOG_FORKED`. Only identities that `Directory` admits count.

The statements pass through the hub. It cannot make or change one, but it can hold them back: then they grow old,
which `Seen.missing` tells, and members compare out of band (`audit head`, `audit compare`).
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String, Table, select
from sqlalchemy.dialects.sqlite import insert

from alliance import checkpoint, cosignature
from alliance.cosignature import Cosigned
from alliance.errors import AllianceError, FailedPrecondition, NotFound, NotPermitted
from alliance.names import MemberId, member_id
from alliance.v1 import audit_pb2 as pb
from member_agent.audit_log import AuditLog, Head
from member_agent.clock import Clock, utc_now
from member_agent.database import LocalDatabase
from member_agent.directory import Directory
from member_agent.evidence import ALARMS
from member_agent.hub_client import HubClient
from member_agent.identity import Identity
from member_agent.state import metadata

log = structlog.get_logger()
# A head that did not change is cosigned anew, so that silence means something.
REFRESH = dt.timedelta(hours=6)
# Without a newer statement of any other member, somebody should compare out of band.
MISSING_AFTER = dt.timedelta(hours=24)
_CLOCKS_DIFFER = dt.timedelta(hours=1)

witness_table = Table(
    "audit_witness",
    metadata,
    Column("member", String, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    # Seconds, by the witness's clock.
    Column("time", BigInteger, nullable=False),
    Column("note", String, nullable=False),
    Column("witness_key", LargeBinary(32), nullable=False),
    Column("certificate", LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The newest verified statement of a member; `gone` where it is no member any more."""

    member: MemberId
    size: int
    root: bytes
    time: dt.datetime
    note: str
    witness_key: bytes
    certificate: bytes
    own: bool
    gone: bool


class Witnesses:
    def __init__(
        self,
        db: LocalDatabase,
        *,
        alliance: str,
        identity: Identity,
        log: AuditLog,
        directory: Directory,
        clock: Clock = utc_now,
    ) -> None:
        self._db, self._alliance, self._identity = db, alliance, identity
        self._log, self._directory, self._clock = log, directory, clock

    def exchange(self, hub: HubClient) -> Head:
        """Brings the log up to date, compares it with what others saw, and states what was seen here.

        Raises: Corrupt, LOG_FORKED; FailedPrecondition, LOG_EMPTY.
        """
        # What others said is read first: whatever they saw by then, an honest hub shows from then on.
        request = pb.ListCosignaturesRequest()
        said = list(hub.pages(request, pb.ListCosignaturesResponse, lambda page: page.cosignatures))
        head = self._log.update(hub)
        for one in said:
            self._hear(hub, one)
        self._state(hub, head)
        return head

    def compare(self, hub: HubClient, note: str) -> Head:
        """Holds a head that another member sent, a note signed by the log, against this agent's log.

        Returns: the head that was compared. Raises: Corrupt, LOG_FORKED.
        """
        signed = checkpoint.open_note(note, origin=self._log.key.name, key=self._log.key)
        self._log.update(hub)
        self._require_same(Head(size=signed.size, root=signed.root, note=note), "the note")
        return Head(size=signed.size, root=signed.root, note=note)

    def seen(self) -> Sequence[Seen]:
        """The newest statement of each member, this one included, by member."""
        with self._db.read() as tx:
            rows = tx.execute(select(witness_table).order_by(witness_table.c.member)).all()
        members = self._directory.register().members
        return [
            Seen(
                member=MemberId(row.member),
                size=row.size,
                root=bytes(row.root),
                time=dt.datetime.fromtimestamp(row.time, dt.UTC),
                note=row.note,
                witness_key=bytes(row.witness_key),
                certificate=bytes(row.certificate),
                own=row.member == self._identity.public.member,
                gone=not (MemberId(row.member) in members and members[MemberId(row.member)].counts),
            )
            for row in rows
        ]

    def missing(self) -> bool:
        """Whether there are other members, and no statement of any is younger than `MISSING_AFTER`."""
        now, own = self._clock(), self._identity.public.member
        if not any(entry.counts for member, entry in self._directory.register().members.items() if member != own):
            return False
        # A time far ahead, by a clock that is wrong or lies, would look fresh for ever.
        first, last = now - MISSING_AFTER, now + _CLOCKS_DIFFER
        return not any(first <= one.time <= last for one in self.seen() if not one.own and not one.gone)

    def _hear(self, hub: HubClient, one: pb.MemberCosignature) -> None:
        """Checks a statement and keeps it; one that is not of an admitted member is as if it were not there."""
        try:
            member = member_id(one.member)
            identity = self._directory.get(hub, member)
            signed = cosignature.witness_bytes(self._alliance, member, one.witness_key)
            identity.verify(one.witness_certificate, signed)
            heard = cosignature.open_cosigned(
                one.checkpoint,
                log=self._log.key,
                alliance=self._alliance,
                member=member,
                witness_key=one.witness_key,
            )
        except NotFound as error:
            log.info("cosignature_not_counted", member=one.member, reason=error.reason)
            return
        except AllianceError as error:
            if error.reason in ALARMS:
                raise
            log.warning("cosignature_not_counted", member=one.member, reason=error.reason)
            return
        self._require_same(
            Head(size=heard.checkpoint.size, root=heard.checkpoint.root, note=one.checkpoint), f"{member}"
        )
        self._keep(heard, one)

    def _require_same(self, head: Head, who: str) -> None:
        held = self._log.size()
        if head.size > held:
            raise self._log.evidence(f"{who} has a head of {head.size} leaves, and the hub shows only {held} here")
        if head.size and self._log.root_at(head.size) != head.root:
            raise self._log.evidence(f"{who} has another root than this agent for the same {head.size} leaves")

    def _state(self, hub: HubClient, head: Head) -> None:
        """Cosigns a head that is new, or that was cosigned long ago."""
        own = next((one for one in self.seen() if one.own), None)
        now = self._clock()
        if own is not None and own.size >= head.size and now - own.time < REFRESH:
            return
        member, key = self._identity.public.member, self._identity.witness_key()
        public, time = key.public_key().public_bytes_raw(), int(now.timestamp())
        text, _ = checkpoint.split_note(head.note)
        signature = cosignature.cosign(text, key=key, time=time)
        said = pb.Cosignature(
            tree_size=head.size,
            root_hash=head.root,
            cosign_time=Timestamp(seconds=time),
            witness_key=public,
            witness_certificate=self._identity.sign(cosignature.witness_bytes(self._alliance, member, public)),
            signature=signature,
        )
        request = pb.AddCosignatureRequest(request_id=str(uuid.uuid4()), cosignature=said)
        try:
            hub.call(request, pb.AddCosignatureResponse)
        except NotPermitted as error:
            if error.reason != "NOT_ADMITTED":
                raise
            # What a member that waits says would not count.
            return
        except FailedPrecondition as error:
            if error.reason != "HEAD_UNKNOWN":
                raise
            raise self._log.evidence(f"the hub denies the head of {head.size} leaves that it signed") from error
        note = cosignature.cosigned_note(
            head.note,
            name=cosignature.witness_name(self._alliance, member),
            witness_key=public,
            time=time,
            signature=signature,
        )
        signed = checkpoint.Checkpoint(origin=self._log.key.name, size=head.size, root=head.root)
        mine = pb.MemberCosignature(checkpoint=note, witness_key=public, witness_certificate=said.witness_certificate)
        self._keep(Cosigned(member=member, checkpoint=signed, time=time), mine)

    def _keep(self, heard: Cosigned, one: pb.MemberCosignature) -> None:
        """Never in the place of a newer one: an old statement served again makes nothing look fresh."""
        row = {
            "size": heard.checkpoint.size,
            "root": heard.checkpoint.root,
            "time": heard.time,
            "note": one.checkpoint,
            "witness_key": one.witness_key,
            "certificate": one.witness_certificate,
        }
        older = (witness_table.c.time < heard.time) | (
            (witness_table.c.time == heard.time) & (witness_table.c.size <= heard.checkpoint.size)
        )
        statement = insert(witness_table).values(member=heard.member, **row)
        with self._db.write() as tx:
            tx.execute(statement.on_conflict_do_update(index_elements=["member"], set_=row, where=older))
