"""A hub in which something of everything that grants or revokes trust has happened, by calls of its services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cryptography import x509
from sqlalchemy import delete, insert, select, text

from alliance import canonical, tls
from alliance.names import AgentId, Digest, OperatorId
from alliance.v1 import membership_pb2 as pb
from hub.app import Services
from hub.approvals.service import ApprovalService, Call
from hub.fingerprints.model import Hit
from hub.fsck.examine import examine
from hub.fsck.findings import Finding
from hub.membership import model
from hub.membership.model import ConsoleRole
from hub.migrations.tables import metadata
from hub.runtime.caller import Caller, Who
from tests.kit.clock import ShiftedClock
from tests.kit.direct import ADMIN, DirectMember, create_bank, create_epoch, write
from tests.kit.keys import Identity
from tests.kit.training import Training

ALLIANCE = "alliance.example"
EXPEL = "alliance.v1.MembershipService/ExpelMember"


def certificate_request() -> bytes:
    return tls.certificate_request(tls.new_channel_key())


class Scene:
    """Something of everything; an hour lies between what must not be taken for the same moment."""

    def __init__(self, services: Services, clock: ShiftedClock) -> None:
        self.services, self.clock = services, clock
        self.training = Training(services, clock)
        self.acme, self.zoo = self.training.members
        self.gone = DirectMember.join(services, "gone")
        clock.advance(hours=1)
        self.second = self.further_agent(self.acme)
        for _ in range(2):
            clock.advance(hours=1)
            self.renew(self.zoo)
        self.dana, self.eve = self.certified("dana"), self.certified("eve")
        clock.advance(hours=1)
        write(services, lambda tx: services.operators.revoke(tx, "operators/admin", OperatorId("operators/eve")))
        self.change_identity()
        self.act_together()
        self.report_hits()
        self.rotate()
        clock.advance(hours=1)
        write(services, lambda tx: services.membership.expel(tx, ADMIN, self.gone.name, "sold fakes"))
        self.zoo.act(lambda tx, caller: services.detectors.leave(tx, caller, self.training.detector))
        revoked = AgentId(self.second)
        self.acme.act(lambda tx, caller: services.agents.revoke(tx, caller, revoked))
        clock.advance(hours=1)
        # Serial numbers: by whom, and whether of the newest certificate or the oldest.
        self.known = {
            (holder, newest): self.serial(holder, newest=newest)
            for holder in ("members/gone", "members/zoo", "operators/eve", "operators/dana")
            for newest in (True, False)
        }
        self.known["second", True] = self.serial("members/acme", agent=self.second)

    def further_agent(self, member: DirectMember) -> str:
        request, time = certificate_request(), self.training.now
        signed = canonical.agent_request_bytes(ALLIANCE, member.name, "", "0123456789", canonical.sha256(request), time)
        return write(
            self.services,
            lambda tx: self.services.agents.enrol(
                tx,
                member_id=member.name,
                agent=None,
                request_id="0123456789",
                request=request,
                time=time,
                signature=member.sign(signed),
            ),
        ).agent

    def renew(self, member: DirectMember) -> None:
        chain = member.act(lambda tx, caller: self.services.enrolment.renew(tx, caller, certificate_request()))
        member.peer = tls.peer_of(x509.load_der_x509_certificate(chain[0]))

    def change_identity(self) -> None:
        """Twice, of gone."""
        for _ in range(2):
            former, made = self.gone.identity, Identity.generate()
            digests = (canonical.identity_digest(one.signing_key, one.sealing_key) for one in (former, made))
            signed = canonical.identity_change_bytes(ALLIANCE, self.gone.name, *digests)
            new = model.Identity(signing_key=made.signing_key, sealing_key=made.sealing_key)
            signatures = (former.sign(signed), made.sign(signed))
            with self.services.db.write() as tx:
                self.services.identities.change(tx, self.gone.caller, new, *signatures)
            self.gone.identity = made

    def certified(self, name: str) -> Caller:
        operator = OperatorId(f"operators/{name}")
        issue = self.services.enrolment.issue_operator
        write(
            self.services,
            lambda tx: issue(tx, ADMIN.name, operator, ConsoleRole.ADMIN, certificate_request()),
        )
        return Caller(who=Who.ADMIN, name=operator)

    def act_together(self) -> None:
        """Three actions: one approved, one rejected, one open."""
        approvals = ApprovalService(
            policies=self.services.policies,
            operators=self.services.operators,
            audit=self.services.audit,
            calls={EXPEL: Call(parse=pb.ExpelMemberRequest.FromString, do=lambda tx, caller, request: request)},
            clock=self.clock,
        )
        for number in (1, 2, 3):
            request = pb.ExpelMemberRequest(name=f"members/{number}").SerializeToString()
            with self.services.db.write() as tx:
                made = approvals.propose(tx, ADMIN, EXPEL, request)
            with self.services.db.write() as tx:
                if number == 1:
                    approvals.approve(tx, self.dana, made.id, canonical.sha256(request))
                elif number == 2:
                    approvals.reject(tx, self.dana, made.id)

    def report_hits(self) -> None:
        """zoo reports a row of acme's batch."""
        bank = create_bank(self.services, "shoes", self.training.group)
        create_epoch(self.services, self.acme, self.training.group)
        self.batch = self.acme.publish(bank, rows=3).header.digest
        hit = Hit(batch_digest=Digest(self.batch), row=2, bucket=1)
        found = self.services.fingerprints
        self.zoo.act(lambda tx, caller: found.report_hits(tx, caller, found.readable(tx, caller.member, bank), [hit]))

    def rotate(self) -> None:
        """The first authority is outgoing, the second active, the third announced."""
        rotation = self.services.rotation
        self.first = self.services.pki.initial[0]
        self.made = write(self.services, lambda tx: rotation.rotate(tx, ADMIN.name, 3600))
        self.clock.advance(hours=1, seconds=1)
        write(self.services, rotation.advance)
        self.clock.advance(hours=1)
        self.next = write(self.services, lambda tx: rotation.rotate(tx, ADMIN.name, 3600))

    def findings(self) -> list[Finding]:
        return examine(
            self.services.db,
            self.services.blobs.files.path(Digest(self.batch)).parents[2],
            alliance=ALLIANCE,
            first=self.first,
            key=self.services.audit.note_key,
            progress=lambda _: None,
        ).findings

    def alter(self, statement: str, **values: object) -> None:
        with self.services.db.write() as tx:
            assert tx.execute(text(statement), values).rowcount == 1

    @contextmanager
    def restored(self, table: str) -> Iterator[None]:
        """What is done to the table meanwhile is undone."""
        found = metadata.tables[table]
        with self.services.db.read() as tx:
            kept = [dict(row._mapping) for row in tx.execute(select(found))]
        yield
        with self.services.db.write() as tx:
            tx.execute(delete(found))
            tx.execute(insert(found), kept)

    def value(self, query: str) -> str:
        with self.services.db.read() as tx:
            return str(tx.execute(text(query)).scalar_one())

    def serial(self, subject: str, *, newest: bool = True, agent: str = "") -> str:
        """Of this holder's newest or oldest certificate."""
        of = f"AND agent = '{agent}'" if agent else ""
        order = "DESC" if newest else "ASC"
        return self.value(
            f"SELECT serial FROM certificate WHERE subject = '{subject}' {of} ORDER BY issue_time {order} LIMIT 1"
        )
