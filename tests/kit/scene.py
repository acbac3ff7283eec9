"""An alliance in which every RPC has something to do, a plausible request for each, and what no answer may be."""

from __future__ import annotations

import grpc
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from alliance import canonical, checkpoint, cosignature, tls
from alliance.status import DOMAIN
from alliance.v1 import (
    audit_pb2,
    blob_pb2,
    console_pb2,
    enrolment_pb2,
    federation_pb2,
    fingerprint_pb2,
    key_pb2,
    membership_pb2,
    pki_pb2,
)
from hub.runtime.access import TABLE, Listener
from hub.runtime.caller import MEMBERS
from tests.kit.alliance import Alliance
from tests.kit.federation import create_detector, spec
from tests.kit.keys import Identity, Sealed
from tests.kit.member import enrol_request
from tests.kit.rpc import Outcome

MEMBER = membership_pb2


class Scene:
    """An alliance in which every RPC has something to do, and a plausible request for each."""

    def __init__(self, a: Alliance) -> None:
        self.a = a
        self.member, other = a.members[:2]
        self.victim = a.hub.enrol("victim")
        self.waiting = a.hub.enrol("waiting")
        keys = self.waiting.identity
        self.identity = canonical.identity_digest(keys.signing_key, keys.sealing_key)
        alliance_name = a.hub.settings.alliance_name
        self.admission = canonical.admission_bytes(alliance_name, self.waiting.name, "brand", self.identity)
        self.sealed: Sealed = self.member.publish(a.bank, rows=3)
        self.next = self.member.seal(a.bank, b"next", rows=3)
        self.member.upload(self.next.data)
        secret = self.member.secrets[a.group, 1]
        self.wrap = self.member.wrap(other.name, other.identity.sealing_key, a.group, 1, secret)
        self.nobody = a.hub.open_enrolment_channel()
        self.code = a.hub.invite("newcomer")
        self.detector = create_detector(a.hub, a.group, spec(), self.member, other)
        a.hub.admin.call(self._schedule("often"), federation_pb2.CreateScheduleResponse)

    def channel(self, name: str) -> grpc.Channel:
        if TABLE[name].listener is Listener.ENROLMENT:
            return self.nobody
        return self.member.channel if TABLE[name].who & MEMBERS else self.a.hub.admin.channel

    def plausible(self) -> dict[str, Message]:
        """Request type name to a request; what has nothing to vary is left out."""
        bank, group, csr = self.a.bank, self.a.group, tls.certificate_request(tls.new_channel_key())
        requests: tuple[Message, ...] = (
            enrol_request(self.code, Identity.generate(), tls.new_channel_key()),
            enrolment_pb2.RenewCertificateRequest(certificate_request=csr),
            self.member.agent_request(self.a.hub.settings.alliance_name),
            self.member.explain_request(self.a.hub.settings.alliance_name),
            enrolment_pb2.ListAgentsRequest(page_size=1),
            self.member.change_request(self.a.hub.settings.alliance_name, Identity.generate()),
            enrolment_pb2.ListIdentityChangesRequest(member=self.victim.name, page_size=1),
            enrolment_pb2.RevokeAgentRequest(name="agents/none"),
            enrolment_pb2.IssueOperatorCertificateRequest(
                operator="operators/dana", role="CONSOLE_ROLE_VIEWER", certificate_request=csr
            ),
            MEMBER.HandshakeRequest(client_version="0.1.0"),
            MEMBER.CreateInvitationRequest(
                member="members/later", role="MEMBER_ROLE_BRAND", secret_digest=canonical.sha256(b"secret")
            ),
            MEMBER.ListMembersRequest(page_size=1),
            MEMBER.GetMemberRequest(name=self.victim.name),
            MEMBER.SuspendMemberRequest(name=self.victim.name, reason="why"),
            MEMBER.ReinstateMemberRequest(name=self.victim.name, reason="why"),
            MEMBER.ExpelMemberRequest(name=self.victim.name, reason="why"),
            MEMBER.AdmitMemberRequest(
                member=self.waiting.name, identity_digest=self.identity, signature=self.member.sign(self.admission)
            ),
            MEMBER.CreateGroupRequest(name="groups/later"),
            MEMBER.AddGroupMemberRequest(group=group, member=self.victim.name),
            MEMBER.ListGroupsRequest(page_size=1),
            key_pb2.GetGroupKeyRequest(group=group),
            self.member.epoch_request(group, [self.member], epoch=2)[0],
            key_pb2.AddWrapsRequest(wraps=[self.wrap]),
            blob_pb2.GetUploadRequest(digest=self.next.header.digest),
            fingerprint_pb2.CreateBankRequest(name="banks/later", group=group, scheme="pdq-256"),
            fingerprint_pb2.ListBanksRequest(page_size=1),
            fingerprint_pb2.PublishBatchRequest(batch=self.member.signed(self.next.header)),
            fingerprint_pb2.WithdrawRowsRequest(tombstone=self.member.tombstone(self.sealed, [0, 1])),
            fingerprint_pb2.ListEntriesRequest(bank=bank, page_size=1),
            fingerprint_pb2.ListSegmentsRequest(bank=bank, page_size=1),
            fingerprint_pb2.ReportHitsRequest(
                bank=bank,
                hits=[
                    fingerprint_pb2.FingerprintHits(
                        batch_digest=self.sealed.header.digest, row=1, bucket="HIT_BUCKET_1_TO_9"
                    )
                ],
            ),
            fingerprint_pb2.ListHitsRequest(bank=bank, page_size=1),
            *self._federation(),
            *self._authorities(),
            *self._console(),
            audit_pb2.ListLeavesRequest(page_size=1),
            audit_pb2.GetInclusionProofRequest(tree_size=2),
            audit_pb2.GetConsistencyProofRequest(first_tree_size=1, second_tree_size=2),
            self._cosignature(),
            audit_pb2.ListCosignaturesRequest(page_size=1),
        )
        return {request.DESCRIPTOR.name: request for request in requests}

    def _cosignature(self) -> Message:
        """A statement that counts, about the head there is."""
        member, key = self.member, Ed25519PrivateKey.generate()
        head = member.call(audit_pb2.GetCheckpointRequest(), audit_pb2.GetCheckpointResponse)
        text, _ = checkpoint.split_note(head.checkpoint)
        public = key.public_key().public_bytes_raw()
        certified = cosignature.witness_bytes("alliance.example", member.name, public)
        return audit_pb2.AddCosignatureRequest(
            cosignature=audit_pb2.Cosignature(
                tree_size=head.tree_size,
                root_hash=head.root_hash,
                cosign_time=Timestamp(seconds=1_700_000_000),
                witness_key=public,
                witness_certificate=member.sign(certified),
                signature=cosignature.cosign(text, key=key, time=1_700_000_000),
            )
        )

    def _authorities(self) -> tuple[Message, ...]:
        """A CA that is no intermediate, so that the sweep installs nothing."""
        anchor = self.a.hub.services.pki.ca.public_bytes(serialization.Encoding.DER)
        return (
            pki_pb2.RotateCaRequest(overlap_seconds=3600),
            pki_pb2.InstallCaRequest(certificates=[anchor, anchor], overlap_seconds=3600),
            pki_pb2.RetireCaRequest(name=f"authorities/{'0' * 40}"),
            pki_pb2.RenewOperatorCertificateRequest(certificate_request=tls.certificate_request(tls.new_channel_key())),
        )

    def _console(self) -> tuple[Message, ...]:
        """About an action that waits."""
        expel = MEMBER.ExpelMemberRequest(name=self.victim.name, reason="why").SerializeToString()
        method = "alliance.v1.MembershipService/ExpelMember"
        proposal = console_pb2.ProposeActionRequest(method=method, request=expel)
        made = self.a.hub.admin.call(proposal, console_pb2.ProposeActionResponse).action
        return (
            console_pb2.ListOperatorsRequest(page_size=1),
            console_pb2.RevokeOperatorRequest(name="operators/nobody"),
            console_pb2.ProposeActionRequest(method=method, request=expel),
            console_pb2.ApproveActionRequest(name=made.name, request_digest=canonical.sha256(expel)),
            console_pb2.RejectActionRequest(name=made.name),
            console_pb2.ListActionsRequest(page_size=1),
            self._policy(),
        )

    def _policy(self) -> Message:
        """A change for the policy in force, of every field."""
        seen = self.a.hub.admin.call(console_pb2.GetPolicyRequest(), console_pb2.GetPolicyResponse).policy
        seen.least_quorum = 2
        fields = ("two_admins", "least_quorum", "strictest_ceiling", "invitation_seconds", "certificate_seconds")
        return console_pb2.UpdatePolicyRequest(policy=seen, update_mask=FieldMask(paths=fields))

    def _schedule(self, name: str) -> federation_pb2.CreateScheduleRequest:
        """One that is due in the year 2096."""
        schedule = federation_pb2.Schedule(
            name=f"schedules/{name}",
            detector=self.detector,
            interval_seconds=86_400,
            rounds=1,
            quorum=2,
            deadline_seconds=60,
            next_time=Timestamp(seconds=4_000_000_000),
        )
        return federation_pb2.CreateScheduleRequest(schedule=schedule)

    def _federation(self) -> tuple[Message, ...]:
        wanted = spec(
            aggregation_settings=[federation_pb2.Setting(name="eta", value=0.1)],
            train_settings=[federation_pb2.Setting(name="lr", value=0.1)],
        )
        return (
            federation_pb2.ProposeDetectorRequest(name="detectors/later", group=self.a.group, spec=wanted),
            federation_pb2.ApproveDetectorRequest(name=self.detector),
            federation_pb2.ListDetectorsRequest(page_size=1),
            federation_pb2.JoinDetectorRequest(name=self.detector),
            federation_pb2.LeaveDetectorRequest(name=self.detector),
            self._schedule("later"),
            federation_pb2.ListSchedulesRequest(page_size=1),
            federation_pb2.PauseScheduleRequest(name="schedules/often"),
            federation_pb2.ResumeScheduleRequest(name="schedules/often"),
            federation_pb2.TriggerRoundRequest(detector=self.detector, rounds=1, quorum=2, deadline_seconds=1),
            federation_pb2.CancelRoundRequest(name="rounds/1"),
            federation_pb2.ListRoundsRequest(page_size=1, detector=self.detector),
            federation_pb2.GetRoundRequest(name="rounds/1"),
            federation_pb2.SubmitResultRequest(
                round="rounds/1",
                kind="TASK_KIND_TRAIN",
                update_digest=bytes(32),
                update_size=10,
                examples=10,
                metrics=[federation_pb2.TaskMetric(name="accuracy", value=0.5)],
                local_metrics=[federation_pb2.TaskMetric(name="accuracy", value=0.5)],
                refusal="TASK_REFUSAL_NO_DATA",
            ),
            federation_pb2.GetModelRequest(detector=self.detector, version=0),
            federation_pb2.ListModelsRequest(page_size=1, detector=self.detector),
            federation_pb2.PromoteModelRequest(detector=self.detector, version=1),
            federation_pb2.SetModelReleaseRequest(detector=self.detector, release="MODEL_RELEASE_BY_PROMOTION"),
        )


def check(outcome: Outcome, request: Message | bytes) -> None:
    """It is an answer, or a refusal of the one form."""
    shown = f"{str(request)[:300]} -> {outcome}"
    assert outcome.code not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE), shown
    if outcome.code is not grpc.StatusCode.OK:
        assert [info.domain for info in outcome.infos] == [DOMAIN], shown
        assert len(outcome.message) < 500, shown
