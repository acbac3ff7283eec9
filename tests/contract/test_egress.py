"""The closed list of what may leave a member, held against the whole contract: nothing else can even be spelled."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from alliance.canonical import sha256
from alliance.channel import FILES
from alliance.errors import NotPermitted
from alliance.v1 import blob_pb2, enrolment_pb2, fingerprint_pb2, key_pb2, membership_pb2
from hub.runtime import access
from hub.runtime.caller import ANONYMOUS, MEMBERS
from member_agent.egress import CLOSED_LIST, MODEL_UPDATE, Permitted, PermittedBlob, permit, permit_blob
from tests.kit.rpc import all_methods

# What the agent sends. An addition is a decision: it stands here, in `member_agent/egress.py`, and in a review.
SENT = {
    "AddCosignatureRequest",
    "AddWrapsRequest",
    "ChangeIdentityRequest",
    "CreateEpochRequest",
    "DownloadBlobRequest",
    "EnrolAgentRequest",
    "EnrolRequest",
    "ExplainCertificateRequest",
    "GetCheckpointRequest",
    "GetGroupKeyRequest",
    "GetModelRequest",
    "GetTrustBundleRequest",
    "GetUploadRequest",
    "HandshakeRequest",
    "JoinDetectorRequest",
    "LeaveAllianceRequest",
    "AdmitMemberRequest",
    "LeaveDetectorRequest",
    "ListAgentsRequest",
    "ListBanksRequest",
    "ListCosignaturesRequest",
    "ListDetectorsRequest",
    "ListEntriesRequest",
    "ListGroupsRequest",
    "ListHitsRequest",
    "ListIdentityChangesRequest",
    "ListLeavesRequest",
    "ListMembersRequest",
    "ListRoundsRequest",
    "ListSegmentsRequest",
    "ProposeDetectorRequest",
    "PublishBatchRequest",
    "RenewCertificateRequest",
    "ReportHitsRequest",
    "RevokeAgentRequest",
    "SubmitResultRequest",
    "UploadBlobRequest",
    "WatchRequest",
    "WithdrawRowsRequest",
}
# Fractions leave only as what federated training is of: its settings and its figures on held-back rows.
FRACTIONS = {
    "alliance.v1.DetectorSpec.max_update_norm",
    "alliance.v1.Setting.value",
    "alliance.v1.TaskMetric.value",
}
# Words of a member's own data; none may be part of the name of a field that can leave.
PRIVATE = {
    *("amount", "brand", "category", "city", "colour", "condition", "cost", "currency", "description", "email"),
    *("gtin", "image", "link", "listing", "model", "mpn", "phone", "photo", "picture", "price", "product"),
    *("quantity", "sales", "seller", "ship", "shop", "sku", "stock", "text", "title", "turnover", "url", "volume"),
}
FREE_TEXT = (
    "Red running shoe X100",
    "https://shop.example/shoe.jpg",
    "12.50 EUR",
    "seller: bob",
    "a@b.example",
    "日本",
    "members/Acme",
    "../../etc/passwd",
    "two\nlines",
    "x" * 5000,
)


def messages() -> dict[str, Descriptor]:
    """Every message of the contract, nested ones too."""
    found: dict[str, Descriptor] = {}

    def add(message: Descriptor) -> None:
        found[message.full_name] = message
        for nested in message.nested_types:
            add(nested)

    for file in FILES:
        for message in file.DESCRIPTOR.message_types_by_name.values():
            add(message)
    return found


def listed() -> list[tuple[str, Descriptor]]:
    known = messages()
    return [(name, known[name]) for name in sorted(CLOSED_LIST) if name in known]


def string_fields() -> Iterator[tuple[str, str]]:
    for name, descriptor in listed():
        for field in descriptor.fields:
            if field.type == FieldDescriptor.TYPE_STRING:
                yield name, field.name


def put(message: Message, field: str, value: str | bytes) -> None:
    """Sets a text or bytes, as the only one where the field is repeated."""
    if message.DESCRIPTOR.fields_by_name[field].is_repeated:
        getattr(message, field)[:] = [value]
    else:
        setattr(message, field, value)


def made(name: str) -> Message:
    return GetMessageClass(messages()[name])()


def within(message: Message) -> Message:
    """A message that may leave with `message` inside it; itself, if it is a request."""
    name = message.DESCRIPTOR.full_name
    if CLOSED_LIST[name].kind:
        return message
    for outer, descriptor in listed():
        for field in descriptor.fields:
            if field.message_type is not None and field.message_type.full_name == name:
                holder = made(outer)
                target = getattr(holder, field.name)
                (target.add() if field.is_repeated else target).CopyFrom(message)
                return within(holder)
    raise AssertionError(f"{name} is listed, and nothing that leaves holds it")


def why_refused(message: Message) -> NotPermitted:
    with pytest.raises(NotPermitted) as error:
        permit(message)
    assert (error.value.reason, error.value.exit_code) == ("EGRESS_REFUSED", 6)
    return error.value


def test_every_request_is_listed_or_refused() -> None:
    requests = {m.input_type.full_name for name, m in all_methods().items() if name.startswith("alliance.v1.")}
    sent = {f"alliance.v1.{name}" for name in SENT}
    assert sent <= requests
    assert {name for name, entry in CLOSED_LIST.items() if entry.kind} == sent
    for name in sorted(requests - sent):
        assert why_refused(made(name)).field == name


def test_what_operators_and_auditors_ask_is_not_listed() -> None:
    for name, method in all_methods().items():
        callers = access.TABLE[name].who
        if not callers & (MEMBERS | {ANONYMOUS.who}):
            assert method.input_type.full_name not in CLOSED_LIST, name


@pytest.mark.parametrize("name", sorted(set(messages()) - set(CLOSED_LIST)))
def test_a_message_that_is_not_listed_is_refused(name: str) -> None:
    assert name in why_refused(made(name)).message


@pytest.mark.parametrize("name", sorted(name for name, entry in CLOSED_LIST.items() if not entry.kind))
def test_a_part_does_not_leave_alone(name: str) -> None:
    part = made(name) if name in messages() else membership_pb2.Member().create_time
    assert "only inside another" in why_refused(part).message


@pytest.mark.parametrize(("name", "descriptor"), listed())
def test_the_list_names_fields_that_exist_and_messages_that_are_listed(name: str, descriptor: Descriptor) -> None:
    entry = CLOSED_LIST[name]
    fields = descriptor.fields_by_name
    assert set(entry.fields) <= set(fields)
    for field in entry.fields:
        inner = fields[field].message_type
        assert inner is None or inner.full_name in CLOSED_LIST


@pytest.mark.parametrize(("name", "descriptor"), listed())
def test_no_field_could_carry_what_is_private(name: str, descriptor: Descriptor) -> None:
    loose = {"google.protobuf.Any", "google.protobuf.Struct", "google.protobuf.Value"}
    for field in descriptor.fields:
        assert not PRIVATE & set(field.name.split("_")), f"{name}.{field.name}"
        if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
            assert f"{name}.{field.name}" in FRACTIONS
        if field.message_type is not None:
            assert field.message_type.full_name not in loose
            assert not field.message_type.GetOptions().map_entry, f"{name}.{field.name} is an open map"


@pytest.mark.parametrize("name", [name for name, _ in listed()])
def test_a_field_the_contract_does_not_have_is_refused_by_its_number(name: str) -> None:
    message = made(name)
    message.MergeFromString(b"\xba\x3e\x05shoes")  # field 999, five bytes
    assert "unknown fields (999)" in why_refused(within(message)).message


@pytest.mark.parametrize("name", [name for name, descriptor in listed() if set(descriptor.fields_by_name)])
def test_a_field_that_is_not_listed_is_refused_by_its_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is for a field that the contract gets one day, and nobody decided about."""
    first = messages()[name].fields[0]
    message = made(name)
    _set_something(message, first)
    entry = CLOSED_LIST[name]
    rest = {field: check for field, check in entry.fields.items() if field != first.name}
    changed = {**CLOSED_LIST, name: type(entry)(kind=entry.kind, fields=rest)}
    monkeypatch.setattr("member_agent.egress.CLOSED_LIST", changed)
    error = why_refused(within(message))
    assert error.field.endswith(first.name)
    assert "not on the closed list" in error.message


@pytest.mark.parametrize(("name", "field"), list(string_fields()))
def test_free_text_is_refused_in_every_field(name: str, field: str) -> None:
    for text in (*FREE_TEXT, base64.urlsafe_b64encode(FREE_TEXT[0].encode()).decode()):
        message = made(name)
        put(message, field, text)
        assert why_refused(within(message)).field.endswith(field), text


@pytest.mark.parametrize(("name", "field"), list(string_fields()))
def test_whatever_text_passes_is_of_a_closed_form(name: str, field: str) -> None:
    @given(st.one_of(st.text(), st.from_regex(r"[a-z]{0,9}/?[A-Za-z0-9=_.-]{0,70}", fullmatch=True)))
    def holds(text: str) -> None:
        message = made(name)
        put(message, field, text)
        try:
            permit(within(message))
        except NotPermitted:
            return
        told = base64.urlsafe_b64decode(text).decode() if field == "page_token" else text
        assert set(told) <= set("abcdefghijklmnopqrstuvwxyz0123456789-/:._")

    holds()


@pytest.mark.parametrize(
    ("name", "field"),
    [(n, f.name) for n, d in listed() for f in d.fields if f.type == FieldDescriptor.TYPE_BYTES],
)
def test_only_a_sealed_batch_is_large(name: str, field: str) -> None:
    message = made(name)
    put(message, field, bytes((1 << 20) + 1))
    assert why_refused(within(message)).field.endswith(field)
    put(message, field, bytes(4096))
    if (name, field) == ("alliance.v1.UploadBlobRequest", "chunk"):
        permit(within(message))
    else:
        why_refused(within(message))


def test_a_match_is_told_in_buckets_only() -> None:
    for bucket in (5, 1000):
        hits = [fingerprint_pb2.FingerprintHits(batch_digest=bytes(32), row=0, bucket=bucket)]  # type: ignore[arg-type]  # because it is no bucket
        assert why_refused(fingerprint_pb2.ReportHitsRequest(hits=hits)).field == "hits.bucket"


def test_a_wrap_is_of_the_size_of_a_sealed_key() -> None:
    wraps = [key_pb2.KeyWrap(sealed=bytes(81))]
    assert why_refused(key_pb2.AddWrapsRequest(wraps=wraps)).field == "wraps.sealed"


def test_a_permit_cannot_be_made_by_hand() -> None:
    with pytest.raises(NotPermitted) as error:
        Permitted(kind="question", message=membership_pb2.CreateGroupRequest(), _token=object())
    assert error.value.reason == "EGRESS_FORGED"


def test_large_bytes_are_a_batch_or_an_update_and_leave_as_they_were_permitted() -> None:
    data = bytes(range(256)) * 10_000
    for content, kind in (("", "sealed batch"), (MODEL_UPDATE, "model update")):
        blob = permit_blob(data, content=content)
        assert (blob.kind, blob.digest) == (kind, sha256(data))
        sent: list[int] = []
        header, *parts = (blob_pb2.UploadBlobRequest.FromString(raw) for raw in blob.parts(1000, sent.append))
        assert header.header == blob_pb2.UploadHeader(digest=sha256(data), size=len(data), offset=1000)
        assert b"".join(part.chunk for part in parts) == data[1000:]
        assert sum(sent) == len(data) - 1000
        for part in parts:
            permit(part)
    with pytest.raises(NotPermitted):
        permit_blob(data, content="catalogue")
    with pytest.raises(NotPermitted):
        PermittedBlob(kind="sealed batch", data=memoryview(data), digest=sha256(data), _token=object())


def test_what_is_permitted_is_told_in_the_bytes_that_leave() -> None:
    request = enrolment_pb2.RenewCertificateRequest(certificate_request=b"request")
    assert permit(request).to_bytes() == request.SerializeToString(deterministic=True)


def _set_something(message: Message, field: FieldDescriptor) -> None:
    target = getattr(message, field.name)
    if field.message_type is not None:
        (target.add() if field.is_repeated else target).SetInParent()
    else:
        something = {FieldDescriptor.TYPE_STRING: "x", FieldDescriptor.TYPE_BYTES: b"x"}.get(field.type, 1)
        if field.is_repeated:
            target.append(something)
        else:
            setattr(message, field.name, something)
