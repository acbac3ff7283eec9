"""The closed list of what may leave a member.

Every message to the hub passes `permit`: its type must be listed, every field set in it must be listed for
that type, and every text must be a resource name, an id or another closed form. There is no free text and
no open map, so a title, price, image, URL or seller name has no way out; the only large bytes are sealed
batches, and a model's arrays for the detectors the member joined. `hub_client` sends nothing that is not
`Permitted`. Adding a line here is a decision to be reviewed.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from alliance import chunks
from alliance.canonical import sha256
from alliance.errors import NotPermitted
from alliance.names import Digest
from alliance.v1 import blob_pb2

Check = Callable[[Any], bool]
_PERMIT = object()
# What the ledger calls an upload of a federated round; a batch is sealed, this is clear to the hub.
MODEL_UPDATE = "model update"
# Bytes of one message of an upload.
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Permitted:
    """A message that passed the list; only `permit` makes one. `kind` is what the ledger calls it."""

    kind: str
    message: Message
    data: bytes = field(default=b"", repr=False)
    _token: object = field(repr=False)

    def __post_init__(self) -> None:
        if self._token is not _PERMIT:
            raise NotPermitted("only egress.permit makes a permitted message", reason="EGRESS_FORGED")

    def to_bytes(self) -> bytes:
        """What is recorded, and sent."""
        return self.data


@dataclass(frozen=True, slots=True, kw_only=True)
class PermittedBlob:
    """Large bytes that may be uploaded, and their SHA-256; only `permit_blob` makes one."""

    kind: str
    data: memoryview = field(repr=False)
    digest: Digest
    _token: object = field(repr=False)

    def __post_init__(self) -> None:
        if self._token is not _PERMIT:
            raise NotPermitted("only egress.permit_blob makes a permitted blob", reason="EGRESS_FORGED")

    def parts(self, offset: int, progress: Callable[[int], None]) -> Iterator[bytes]:
        """The messages that upload it from `offset` on: one that says so, then nothing but its bytes."""
        header = blob_pb2.UploadHeader(digest=self.digest, size=len(self.data), offset=offset)
        yield permit(blob_pb2.UploadBlobRequest(header=header)).to_bytes()
        for at in range(offset, len(self.data), CHUNK):
            chunk = self.data[at : at + CHUNK]
            yield chunks.serialise(blob_pb2.UploadBlobRequest, chunk)
            progress(len(chunk))


def _text(pattern: str) -> Check:
    compiled = re.compile(pattern)
    return lambda value: compiled.fullmatch(value) is not None


def _name(collection: str) -> Check:
    return _text(rf"{collection}/[a-z0-9](?:[a-z0-9-]{{0,61}}[a-z0-9])?")


def _page_token(value: str) -> bool:
    """What the hub handed out: a name, a number or a digest of its own (hub paging), never other words."""
    try:
        key = base64.urlsafe_b64decode(value).decode("ascii")
    except ValueError:
        return False
    return re.fullmatch(r"[a-z0-9/:-]{1,300}", key) is not None


def _bytes(most: int, least: int = 1) -> Check:
    return lambda value: least <= len(value) <= most


def _number(least: int, most: int) -> Check:
    return lambda value: least <= value <= most


# A random UUID and nothing else: a looser form could spell a title.
_ID = _text(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIGEST = _bytes(32, 32)
_SIGNATURE = _bytes(80, 64)
_MEMBER, _GROUP, _BANK = _name("members"), _name("groups"), _name("banks")
_COUNT = _number(0, 2**62)
_PAGE = {"page_size": _number(0, 1000), "page_token": _page_token}
_SCHEME = _text(r"pdq-256|terms-v1")
_DETECTOR, _ROUND = _name("detectors"), _text(r"rounds/[0-9]{1,18}")
# Names that a detector's code declares: of arrays, metrics, settings.
_DECLARED = _text(r"[a-z0-9_.-]{1,64}")
_FINITE: Check = math.isfinite
_INSIDE: Check = lambda value: True  # noqa: E731  # because a message's own fields are listed under its own name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    kind: str
    fields: Mapping[str, Check]


def _listed(kind: str, /, **fields: Check) -> _Entry:
    return _Entry(kind=kind, fields=fields)


CLOSED_LIST: Mapping[str, _Entry] = {
    "alliance.v1.EnrolRequest": _listed(
        "enrolment",
        request_id=_ID,
        invitation_secret=_DIGEST,
        certificate_request=_bytes(2048),
        identity=_INSIDE,
        identity_signature=_SIGNATURE,
    ),
    "alliance.v1.MemberIdentity": _listed("", signing_key=_bytes(200), sealing_key=_bytes(32, 32)),
    "alliance.v1.RenewCertificateRequest": _listed("enrolment", request_id=_ID, certificate_request=_bytes(2048)),
    "alliance.v1.ExplainCertificateRequest": _listed(
        "enrolment", certificate_chain=_bytes(2048), request_time=_INSIDE, signature=_SIGNATURE
    ),
    "alliance.v1.EnrolAgentRequest": _listed(
        "enrolment",
        request_id=_ID,
        member=_MEMBER,
        agent=_name("agents"),
        certificate_request=_bytes(2048),
        request_time=_INSIDE,
        identity_signature=_SIGNATURE,
    ),
    "alliance.v1.ChangeIdentityRequest": _listed(
        "enrolment", request_id=_ID, identity=_INSIDE, former_signature=_SIGNATURE, signature=_SIGNATURE
    ),
    "alliance.v1.ListIdentityChangesRequest": _listed("question", member=_MEMBER, **_PAGE),
    "alliance.v1.ListAgentsRequest": _listed("question", **_PAGE),
    "alliance.v1.RevokeAgentRequest": _listed("membership", request_id=_ID, name=_name("agents")),
    "alliance.v1.HandshakeRequest": _listed("session", client_version=_text(r"[0-9.]{5,17}")),
    "alliance.v1.WatchRequest": _listed("session"),
    "alliance.v1.ListMembersRequest": _listed("question", **_PAGE),
    "alliance.v1.ListGroupsRequest": _listed("question", **_PAGE),
    "alliance.v1.LeaveAllianceRequest": _listed("membership", request_id=_ID),
    "alliance.v1.AdmitMemberRequest": _listed(
        "membership", request_id=_ID, member=_MEMBER, identity_digest=_DIGEST, signature=_SIGNATURE
    ),
    "alliance.v1.GetGroupKeyRequest": _listed("question", group=_GROUP, epoch=_number(0, 2**31 - 1)),
    "alliance.v1.CreateEpochRequest": _listed(
        "sealed group key",
        request_id=_ID,
        group=_GROUP,
        epoch=_number(1, 2**31 - 1),
        commitment=_DIGEST,
        signature=_SIGNATURE,
        wraps=_INSIDE,
        previous_sealed=_bytes(48, 48),
    ),
    "alliance.v1.AddWrapsRequest": _listed("sealed group key", request_id=_ID, wraps=_INSIDE),
    "alliance.v1.KeyWrap": _listed(
        "",
        group=_GROUP,
        epoch=_number(1, 2**31 - 1),
        recipient=_MEMBER,
        sender=_MEMBER,
        commitment=_DIGEST,
        # A sealed 32-byte secret: 32 of key encapsulation, 32, 16 of tag.
        sealed=_bytes(80, 80),
        signature=_SIGNATURE,
    ),
    "alliance.v1.GetUploadRequest": _listed("question", digest=_DIGEST),
    "alliance.v1.UploadBlobRequest": _listed("sealed batch", header=_INSIDE, chunk=_bytes(CHUNK)),
    "alliance.v1.UploadHeader": _listed("", digest=_DIGEST, size=_COUNT, offset=_COUNT),
    "alliance.v1.DownloadBlobRequest": _listed("question", digest=_DIGEST, offset=_COUNT),
    "alliance.v1.ListBanksRequest": _listed("question", **_PAGE),
    "alliance.v1.PublishBatchRequest": _listed("batch header", request_id=_ID, batch=_INSIDE),
    "alliance.v1.BatchHeader": _listed(
        "",
        bank=_BANK,
        publisher=_MEMBER,
        scheme=_SCHEME,
        epoch=_number(1, 2**31 - 1),
        row_count=_number(1, 65_536),
        digest=_DIGEST,
        size=_COUNT,
        create_time=_INSIDE,
        signature=_SIGNATURE,
    ),
    "alliance.v1.WithdrawRowsRequest": _listed("tombstone", request_id=_ID, tombstone=_INSIDE),
    "alliance.v1.Tombstone": _listed(
        "",
        bank=_BANK,
        publisher=_MEMBER,
        batch_digest=_DIGEST,
        rows=_number(0, 65_535),
        create_time=_INSIDE,
        signature=_SIGNATURE,
    ),
    "alliance.v1.ListEntriesRequest": _listed("question", bank=_BANK, after_seq=_COUNT, **_PAGE),
    "alliance.v1.ListSegmentsRequest": _listed("question", bank=_BANK, after_seq=_COUNT, **_PAGE),
    "alliance.v1.ReportHitsRequest": _listed("bucketed hits", request_id=_ID, bank=_BANK, hits=_INSIDE),
    "alliance.v1.FingerprintHits": _listed("", batch_digest=_DIGEST, row=_number(0, 65_535), bucket=_number(1, 4)),
    "alliance.v1.ListHitsRequest": _listed("question", bank=_BANK, **_PAGE),
    "alliance.v1.GetCheckpointRequest": _listed("question"),
    "alliance.v1.ListCosignaturesRequest": _listed("question", **_PAGE),
    "alliance.v1.AddCosignatureRequest": _listed("cosignature", request_id=_ID, cosignature=_INSIDE),
    "alliance.v1.Cosignature": _listed(
        "",
        tree_size=_COUNT,
        root_hash=_DIGEST,
        cosign_time=_INSIDE,
        witness_key=_bytes(32, 32),
        witness_certificate=_SIGNATURE,
        signature=_bytes(64, 64),
    ),
    "alliance.v1.GetTrustBundleRequest": _listed("question"),
    "alliance.v1.ListLeavesRequest": _listed("question", start_index=_COUNT, **_PAGE),
    "alliance.v1.ProposeDetectorRequest": _listed(
        "detector", request_id=_ID, name=_DETECTOR, group=_GROUP, spec=_INSIDE, initial_digest=_DIGEST
    ),
    "alliance.v1.DetectorSpec": _listed(
        "",
        code=_DECLARED,
        arrays=_INSIDE,
        metrics=_DECLARED,
        aggregation=_number(1, 5),
        aggregation_settings=_INSIDE,
        train_settings=_INSIDE,
        max_examples=_number(1, 2**40),
        max_update_norm=_FINITE,
    ),
    "alliance.v1.ArraySpec": _listed("", name=_DECLARED, dtype=_text(r"float32|float64"), shape=_number(0, 2**40)),
    "alliance.v1.Setting": _listed("", name=_DECLARED, value=_FINITE),
    "alliance.v1.ListDetectorsRequest": _listed("question", **_PAGE),
    "alliance.v1.JoinDetectorRequest": _listed("detector", request_id=_ID, name=_DETECTOR),
    "alliance.v1.LeaveDetectorRequest": _listed("detector", request_id=_ID, name=_DETECTOR),
    "alliance.v1.ListRoundsRequest": _listed("question", detector=_DETECTOR, **_PAGE),
    "alliance.v1.SubmitResultRequest": _listed(
        "training result",
        request_id=_ID,
        round=_ROUND,
        kind=_number(1, 2),
        update_digest=_DIGEST,
        update_size=_COUNT,
        examples=_number(0, 2**40),
        metrics=_INSIDE,
        local_metrics=_INSIDE,
        refusal=_number(1, 4),
    ),
    "alliance.v1.TaskMetric": _listed("", name=_DECLARED, value=_FINITE),
    "alliance.v1.GetModelRequest": _listed("question", detector=_DETECTOR),
    "google.protobuf.Timestamp": _listed("", seconds=_COUNT, nanos=_number(0, 999_999_999)),
}


def permit(message: Message) -> Permitted:
    """Checks a message against the closed list. Raises: NotPermitted naming the type or field; nothing is sent."""
    _check(message, "")
    kind = CLOSED_LIST[message.DESCRIPTOR.full_name].kind
    if not kind:
        raise _refused(message.DESCRIPTOR.full_name, "leaves only inside another message")
    return Permitted(kind=kind, message=message, data=message.SerializeToString(deterministic=True), _token=_PERMIT)


def permit_blob(data: bytes | memoryview, *, content: str = "") -> PermittedBlob:
    """Permits large bytes.

    Args:
        content: what they are where they are no sealed batch: `MODEL_UPDATE`.

    Raises: NotPermitted.
    """
    if content not in ("", MODEL_UPDATE):
        raise _refused(content, "is nothing that may be uploaded")
    kind = content or CLOSED_LIST["alliance.v1.UploadBlobRequest"].kind
    return PermittedBlob(kind=kind, data=memoryview(data).toreadonly(), digest=sha256(data), _token=_PERMIT)


def _check(message: Message, path: str) -> None:
    entry = CLOSED_LIST.get(message.DESCRIPTOR.full_name)
    if entry is None:
        raise _refused(message.DESCRIPTOR.full_name, "is not on the closed list")
    if len(UnknownFieldSet(message)):
        numbers = ", ".join(str(unknown.field_number) for unknown in UnknownFieldSet(message))
        raise _refused(f"{path or message.DESCRIPTOR.name}", f"has unknown fields ({numbers})")
    for descriptor, value in message.ListFields():
        where = f"{path}.{descriptor.name}".lstrip(".")
        allowed = entry.fields.get(descriptor.name)
        if allowed is None:
            raise _refused(where, "is not on the closed list")
        values = value if descriptor.is_repeated else (value,)
        for one in values:
            if descriptor.type == FieldDescriptor.TYPE_MESSAGE:
                _check(one, where)
            elif not allowed(one):
                raise _refused(where, "has a value that may not leave")


def _refused(where: str, why: str) -> NotPermitted:
    return NotPermitted(
        f"{where} {why}", reason="EGRESS_REFUSED", field=where, remedy="nothing was sent; see member_agent/egress.py"
    )
