"""Another's resources: for every field of a request that names something, what a member gets that presents another's.

The table's keys are found in the contract: a field that is neither in `ROWS` nor in `NAMES_NOTHING` fails
tests/contract/test_hub_matrix_resources.py, so that no new RPC forgets whose things it is about. The page
docs/reference/access.md shows the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from alliance.v1 import blob_pb2, enrolment_pb2, federation_pb2, fingerprint_pb2, key_pb2, membership_pb2
from hub.runtime.access import TABLE
from hub.runtime.caller import MEMBERS, Who
from tests.kit.foreign_requests import (
    Names,
    Stranger,
    admission,
    batch,
    borrowed_signature,
    changed,
    commitment_of_another,
    cosignature,
    enrolling,
    enrolling_signed_by_another,
    epoch,
    epoch_signed_by_another,
    explaining,
    other_s_digest,
    proposal,
    result,
    returning,
    tombstone,
    wrap_of_another_group,
    wraps,
)
from tests.kit.rpc import all_methods

# Values, not names: "Message.field".
NAMES_NOTHING = frozenset(
    {
        # Of the call itself. A page token says where a list goes on, and the list is the caller's own.
        *("AdmitMemberRequest.request_id", "AddCosignatureRequest.request_id", "AddWrapsRequest.request_id"),
        *("ChangeIdentityRequest.request_id", "CreateEpochRequest.request_id", "EnrolAgentRequest.request_id"),
        *("EnrolRequest.request_id", "JoinDetectorRequest.request_id", "LeaveAllianceRequest.request_id"),
        *("LeaveDetectorRequest.request_id", "ProposeDetectorRequest.request_id", "PublishBatchRequest.request_id"),
        *("RenewCertificateRequest.request_id", "ReportHitsRequest.request_id", "RevokeAgentRequest.request_id"),
        *("SubmitResultRequest.request_id", "WithdrawRowsRequest.request_id", "HandshakeRequest.client_version"),
        # A new key's request proves that its key is held; names in it are ignored.
        "EnrolRequest.certificate_request",
        "EnrolAgentRequest.certificate_request",
        "RenewCertificateRequest.certificate_request",
        *("EnrolAgentRequest.request_time", "ExplainCertificateRequest.request_time"),
        # Places in the log, which is the same for everybody.
        *("ListLeavesRequest.start_index", "GetInclusionProofRequest.leaf_index", "GetInclusionProofRequest.tree_size"),
        *("GetConsistencyProofRequest.first_tree_size", "GetConsistencyProofRequest.second_tree_size"),
        *("Cosignature.tree_size", "Cosignature.root_hash", "Cosignature.cosign_time"),
        # Sizes, places and contents of what another field names.
        *("UploadHeader.size", "UploadHeader.offset", "UploadBlobRequest.chunk", "DownloadBlobRequest.offset"),
        *("BatchHeader.scheme", "BatchHeader.row_count", "BatchHeader.size", "BatchHeader.create_time"),
        *("Tombstone.rows", "Tombstone.create_time", "FingerprintHits.row", "FingerprintHits.bucket"),
        *("ListEntriesRequest.after_seq", "ListSegmentsRequest.after_seq"),
        *("KeyWrap.sealed", "CreateEpochRequest.previous_sealed"),
        *("DetectorSpec.code", "DetectorSpec.metrics", "DetectorSpec.aggregation", "DetectorSpec.max_examples"),
        *("DetectorSpec.max_update_norm", "ArraySpec.name", "ArraySpec.dtype", "ArraySpec.shape"),
        *("Setting.name", "Setting.value", "TaskMetric.name", "TaskMetric.value"),
        *("SubmitResultRequest.kind", "SubmitResultRequest.update_size", "SubmitResultRequest.examples"),
        *("SubmitResultRequest.refusal", "GetModelRequest.version"),
    }
)
PAGING = ("page_size", "page_token")


Make = Callable[[Stranger, Names], Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is presented, and the reason of the refusal; where `refusal` is empty, `instead` says what the answer is.

    `told` says why the answer differs from that to a name which nobody has; empty: it does not.
    """

    presents: str
    make: Make
    refusal: str = ""
    instead: str = ""
    told: str = ""


_BANK, _GROUP = "a bank of a group it is not in", "a group it is not in"
_DETECTOR, _BLOB = "a detector of a group it is not in", "a blob of another member"
_SIGNED = "what another member signed"
_PUBLIC = "members see each other"
_TAKEN = "names are one space for the whole alliance"

ROWS: dict[str, Row] = {
    "AuditService/AddCosignature cosignature.witness_key": Row(
        presents="another member's witness key", make=lambda s, n: cosignature(s), refusal="SIGNATURE_INVALID"
    ),
    "AuditService/AddCosignature cosignature.witness_certificate": Row(
        presents=_SIGNED, make=lambda s, n: cosignature(s), refusal="SIGNATURE_INVALID"
    ),
    "AuditService/AddCosignature cosignature.signature": Row(
        presents=_SIGNED, make=lambda s, n: cosignature(s), refusal="SIGNATURE_INVALID"
    ),
    "BlobService/GetUpload digest": Row(
        presents=_BLOB, make=lambda s, n: blob_pb2.GetUploadRequest(digest=n.blob), instead="as if it were not there"
    ),
    "BlobService/UploadBlob header.digest": Row(
        presents=_BLOB,
        make=lambda s, n: blob_pb2.UploadBlobRequest(header=blob_pb2.UploadHeader(digest=n.blob, size=9)),
        instead="as if it were not there: all bytes must come",
    ),
    "BlobService/DownloadBlob digest": Row(
        presents=_BLOB, make=lambda s, n: blob_pb2.DownloadBlobRequest(digest=n.blob), refusal="BLOB_NOT_FOUND"
    ),
    "EnrolmentService/Enrol invitation_secret": Row(
        presents="a secret that nobody gave it",
        make=lambda s, n: enrolling(s, secret=bytes(32)),
        refusal="INVITATION_UNKNOWN",
    ),
    "EnrolmentService/Enrol identity.signing_key": Row(
        presents="another member's key", make=lambda s, n: enrolling(s, signing=True), refusal="IDENTITY_INVALID"
    ),
    "EnrolmentService/Enrol identity.sealing_key": Row(
        presents="another member's key",
        make=lambda s, n: enrolling(s, sealing=True),
        refusal="IDENTITY_TAKEN",
        told=_PUBLIC,
    ),
    "EnrolmentService/Enrol identity_signature": Row(
        presents=_SIGNED, make=enrolling_signed_by_another, refusal="IDENTITY_INVALID"
    ),
    "EnrolmentService/EnrolAgent member": Row(
        presents="another member", make=lambda s, n: returning(s, s.other, ""), refusal="IDENTITY_REFUSED"
    ),
    "EnrolmentService/EnrolAgent agent": Row(
        presents="another member's agent as its own",
        make=lambda s, n: returning(s, s.me, n.agent),
        refusal="AGENT_REVOKED",
    ),
    "EnrolmentService/EnrolAgent identity_signature": Row(
        presents=_SIGNED, make=lambda s, n: returning(s, s.me, "", name=n.invited), refusal="IDENTITY_REFUSED"
    ),
    "EnrolmentService/ExplainCertificate certificate_chain": Row(
        presents="another member's certificate", make=explaining, refusal="NOT_THE_HOLDER"
    ),
    "EnrolmentService/ExplainCertificate signature": Row(
        presents="a signature by another key than the certificate's", make=explaining, refusal="NOT_THE_HOLDER"
    ),
    "EnrolmentService/RevokeAgent name": Row(
        presents="another member's agent",
        make=lambda s, n: enrolment_pb2.RevokeAgentRequest(name=n.agent),
        refusal="AGENT_NOT_FOUND",
    ),
    "EnrolmentService/ChangeIdentity identity.signing_key": Row(
        presents="another member's key", make=lambda s, n: changed(s, signing=True), refusal="IDENTITY_INVALID"
    ),
    "EnrolmentService/ChangeIdentity identity.sealing_key": Row(
        presents="another member's key",
        make=lambda s, n: changed(s, sealing=True),
        refusal="IDENTITY_TAKEN",
        told=_PUBLIC,
    ),
    "EnrolmentService/ChangeIdentity former_signature": Row(
        presents=_SIGNED, make=lambda s, n: borrowed_signature(s, "former_signature"), refusal="IDENTITY_INVALID"
    ),
    "EnrolmentService/ChangeIdentity signature": Row(
        presents=_SIGNED, make=lambda s, n: borrowed_signature(s, "signature"), refusal="IDENTITY_INVALID"
    ),
    "EnrolmentService/ListIdentityChanges member": Row(
        presents="another member",
        make=lambda s, n: enrolment_pb2.ListIdentityChangesRequest(member=s.other.name),
        instead="the chain of its public identities",
        told=_PUBLIC,
    ),
    "FederationService/ProposeDetector name": Row(
        presents="the name of a detector of a group it is not in",
        make=lambda s, n: proposal(s, n.detector, s.group),
        refusal="DETECTOR_EXISTS",
        told=_TAKEN,
    ),
    "FederationService/ProposeDetector group": Row(
        presents=_GROUP, make=lambda s, n: proposal(s, "detectors/mine", n.group), refusal="NOT_IN_GROUP"
    ),
    "FederationService/ProposeDetector initial_digest": Row(
        presents=_BLOB, make=lambda s, n: proposal(s, "detectors/mine", s.group, n.blob), refusal="BLOB_MISSING"
    ),
    "FederationService/JoinDetector name": Row(
        presents=_DETECTOR,
        make=lambda s, n: federation_pb2.JoinDetectorRequest(name=n.detector),
        refusal="NOT_IN_GROUP",
    ),
    "FederationService/LeaveDetector name": Row(
        presents=_DETECTOR,
        make=lambda s, n: federation_pb2.LeaveDetectorRequest(name=n.detector),
        refusal="NOT_IN_GROUP",
    ),
    "FederationService/ListRounds detector": Row(
        presents=_DETECTOR,
        make=lambda s, n: federation_pb2.ListRoundsRequest(detector=n.detector),
        refusal="NOT_IN_GROUP",
    ),
    "FederationService/GetRound name": Row(
        presents="a round it has no part in",
        make=lambda s, n: federation_pb2.GetRoundRequest(name=n.round),
        refusal="ROUND_NOT_FOUND",
    ),
    "FederationService/SubmitResult round": Row(
        presents="a round it has no part in", make=lambda s, n: result(n.round), refusal="NO_SLOT"
    ),
    "FederationService/SubmitResult update_digest": Row(
        presents=_BLOB, make=lambda s, n: result(n.round, n.blob), refusal="NO_SLOT"
    ),
    "FederationService/GetModel detector": Row(
        presents=_DETECTOR,
        make=lambda s, n: federation_pb2.GetModelRequest(detector=n.detector),
        refusal="NOT_IN_GROUP",
    ),
    "FingerprintService/PublishBatch batch.bank": Row(
        presents=_BANK, make=lambda s, n: batch(s, bank=n.bank), refusal="NOT_IN_GROUP"
    ),
    "FingerprintService/PublishBatch batch.publisher": Row(
        presents="another member as the publisher",
        make=lambda s, n: batch(s, publisher=s.other.name),
        refusal="PUBLISHER_MISMATCH",
    ),
    "FingerprintService/PublishBatch batch.epoch": Row(
        presents="an epoch that its group is not at", make=lambda s, n: batch(s, epoch=2), refusal="EPOCH_STALE"
    ),
    "FingerprintService/PublishBatch batch.digest": Row(
        presents=_BLOB, make=lambda s, n: batch(s, digest=n.blob), refusal="BLOB_MISSING"
    ),
    "FingerprintService/PublishBatch batch.signature": Row(
        presents=_SIGNED, make=lambda s, n: batch(s, bank=n.bank), refusal="NOT_IN_GROUP"
    ),
    "FingerprintService/WithdrawRows tombstone.bank": Row(
        presents=_BANK,
        make=lambda s, n: tombstone(s, bank=n.bank, publisher=s.me.name, digest=n.batch),
        refusal="NOT_IN_GROUP",
    ),
    "FingerprintService/WithdrawRows tombstone.publisher": Row(
        presents="another member as the publisher",
        make=lambda s, n: tombstone(s, bank=n.bank, publisher=s.other.name, digest=n.batch),
        refusal="NOT_IN_GROUP",
    ),
    "FingerprintService/WithdrawRows tombstone.batch_digest": Row(
        presents="a batch of another bank, as one of its own bank",
        make=lambda s, n: tombstone(s, bank=s.bank, publisher=s.me.name, digest=n.batch),
        refusal="BATCH_NOT_FOUND",
    ),
    "FingerprintService/WithdrawRows tombstone.signature": Row(
        presents=_SIGNED,
        make=lambda s, n: tombstone(s, bank=n.bank, publisher=s.me.name, digest=n.batch),
        refusal="NOT_IN_GROUP",
    ),
    "FingerprintService/ListEntries bank": Row(
        presents=_BANK, make=lambda s, n: fingerprint_pb2.ListEntriesRequest(bank=n.bank), refusal="NOT_IN_GROUP"
    ),
    "FingerprintService/ListSegments bank": Row(
        presents=_BANK, make=lambda s, n: fingerprint_pb2.ListSegmentsRequest(bank=n.bank), refusal="NOT_IN_GROUP"
    ),
    "FingerprintService/ReportHits bank": Row(
        presents=_BANK, make=lambda s, n: fingerprint_pb2.ReportHitsRequest(bank=n.bank), refusal="NOT_IN_GROUP"
    ),
    "FingerprintService/ReportHits hits.batch_digest": Row(
        presents="a batch of another bank, as one of its own bank",
        make=lambda s, n: fingerprint_pb2.ReportHitsRequest(
            bank=s.bank,
            hits=[fingerprint_pb2.FingerprintHits(batch_digest=n.batch, row=0, bucket="HIT_BUCKET_1_TO_9")],
        ),
        instead="nothing stored",
    ),
    "FingerprintService/ListHits bank": Row(
        presents=_BANK, make=lambda s, n: fingerprint_pb2.ListHitsRequest(bank=n.bank), refusal="NOT_IN_GROUP"
    ),
    "KeyService/GetGroupKey group": Row(
        presents=_GROUP, make=lambda s, n: key_pb2.GetGroupKeyRequest(group=n.group), refusal="NOT_IN_GROUP"
    ),
    "KeyService/GetGroupKey epoch": Row(
        presents="an epoch of a group it is not in",
        make=lambda s, n: key_pb2.GetGroupKeyRequest(group=n.group, epoch=1),
        refusal="NOT_IN_GROUP",
    ),
    "KeyService/CreateEpoch group": Row(
        presents=_GROUP, make=lambda s, n: epoch(s, group=n.group), refusal="NOT_IN_GROUP"
    ),
    "KeyService/CreateEpoch epoch": Row(
        presents="an epoch of a group it is not in", make=lambda s, n: epoch(s, group=n.group), refusal="NOT_IN_GROUP"
    ),
    "KeyService/CreateEpoch commitment": Row(
        presents="another group's commitment", make=commitment_of_another, refusal="SIGNATURE_INVALID"
    ),
    "KeyService/CreateEpoch signature": Row(
        presents=_SIGNED, make=epoch_signed_by_another, refusal="SIGNATURE_INVALID"
    ),
    "KeyService/CreateEpoch wraps.group": Row(presents=_GROUP, make=wrap_of_another_group, refusal="WRAP_INVALID"),
    "KeyService/CreateEpoch wraps.epoch": Row(
        presents="another epoch", make=lambda s, n: epoch(s, group=s.group, epoch=1), refusal="WRAP_INVALID"
    ),
    "KeyService/CreateEpoch wraps.recipient": Row(
        presents="a member that is not in its group",
        make=lambda s, n: epoch(s, group=s.group, recipient=s.other.name),
        refusal="INVALID_INPUT",
    ),
    "KeyService/CreateEpoch wraps.sender": Row(
        presents="another member as the sender",
        make=lambda s, n: epoch(s, group=s.group, sender=s.other.name),
        refusal="WRAP_INVALID",
    ),
    "KeyService/CreateEpoch wraps.commitment": Row(
        presents="another group's commitment",
        make=lambda s, n: epoch(s, group=s.group, commitment=bytes(32)),
        refusal="WRAP_INVALID",
    ),
    "KeyService/CreateEpoch wraps.signature": Row(
        presents=_SIGNED,
        make=lambda s, n: epoch(s, group=s.group, signature=s.other.sign(b"x")),
        refusal="SIGNATURE_INVALID",
    ),
    "KeyService/AddWraps wraps.group": Row(
        presents=_GROUP, make=lambda s, n: wraps(s, group=n.group), refusal="NOT_IN_GROUP"
    ),
    "KeyService/AddWraps wraps.epoch": Row(
        presents="another epoch", make=lambda s, n: wraps(s, epoch=2), refusal="EPOCH_STALE"
    ),
    "KeyService/AddWraps wraps.recipient": Row(
        presents="a member that is not in its group",
        make=lambda s, n: wraps(s, recipient=s.other.name),
        refusal="INVALID_INPUT",
    ),
    "KeyService/AddWraps wraps.sender": Row(
        presents="another member as the sender",
        make=lambda s, n: wraps(s, sender=s.other.name),
        refusal="WRAP_INVALID",
    ),
    "KeyService/AddWraps wraps.commitment": Row(
        presents="another group's commitment",
        make=lambda s, n: wraps(s, commitment=bytes(32)),
        refusal="WRAP_INVALID",
    ),
    "KeyService/AddWraps wraps.signature": Row(
        presents=_SIGNED, make=lambda s, n: wraps(s, signature=s.other.sign(b"x")), refusal="SIGNATURE_INVALID"
    ),
    "MembershipService/GetMember name": Row(
        presents="another member",
        make=lambda s, n: membership_pb2.GetMemberRequest(name=s.other.name),
        instead="its public identity and standing, not why",
        told=_PUBLIC,
    ),
    "MembershipService/AdmitMember member": Row(
        presents="a member that is admitted already",
        make=lambda s, n: admission(s, s.other, s.me),
        refusal="ALREADY_ADMITTED",
        told=_PUBLIC,
    ),
    "MembershipService/AdmitMember identity_digest": Row(
        presents="another member's identity as that of the one that waits",
        make=other_s_digest,
        refusal="IDENTITY_DIFFERS",
    ),
    "MembershipService/AdmitMember signature": Row(
        presents=_SIGNED, make=lambda s, n: admission(s, s.waiting, s.other), refusal="SIGNATURE_INVALID"
    ),
}


def fields(descriptor: Descriptor, path: str = "") -> Iterator[tuple[str, str]]:
    """Every scalar of a request: its path, and "Message.field"."""
    for field in descriptor.fields:
        if field.message_type is None or field.message_type.full_name == "google.protobuf.Timestamp":
            yield path + field.name, f"{descriptor.name}.{field.name}"
        else:
            yield from fields(field.message_type, f"{path}{field.name}.")


def naming() -> Iterator[str]:
    """`KeyService/GetGroupKey group`: every field, of every RPC that members or anyone may call, that names a thing."""
    for name, method in all_methods().items():
        if not name.startswith("alliance.") or not TABLE[name].who & (MEMBERS | {Who.ANONYMOUS}):
            continue
        for path, field in fields(method.input_type):
            if field not in NAMES_NOTHING and field.partition(".")[2] not in PAGING:
                yield f"{name.removeprefix('alliance.v1.')} {path}"
