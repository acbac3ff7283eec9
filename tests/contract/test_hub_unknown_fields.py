"""The contract is closed at the hub's end, too: a field that it does not know is refused, however deep it stands."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from alliance.errors import InvalidInput
from alliance.v1 import fingerprint_pb2
from alliance.v1 import membership_pb2 as pb
from hub.runtime.closed import require_known
from tests.kit.hub import RunningHub
from tests.kit.keys import request_id
from tests.kit.rpc import all_methods, raw_call

METHODS = {name: method for name, method in all_methods().items() if name.startswith("alliance.")}
# Field 2047, of 11 bytes.
SMUGGLED = b"\xfa\x7f\x0bcanary-0815"


def paths(descriptor: Descriptor, path: tuple[FieldDescriptor, ...] = ()) -> Iterator[tuple[FieldDescriptor, ...]]:
    """Every way down to a message inside."""
    yield path
    for field in descriptor.fields:
        if field.message_type is not None:
            assert field.message_type not in [step.message_type for step in path], "a message that holds itself"
            yield from paths(field.message_type, (*path, field))


def smuggling(descriptor: Descriptor, path: tuple[FieldDescriptor, ...]) -> Message:
    """A message with one field too many at the end of a path."""
    made: Message = GetMessageClass(descriptor)()
    at: Message = made
    for field in path:
        inner = getattr(at, field.name)
        at = inner.add() if field.is_repeated else inner
        at.SetInParent()
    at.MergeFromString(SMUGGLED)
    return made


@pytest.mark.parametrize("name", sorted(METHODS))
def test_no_request_of_the_contract_takes_one_anywhere(name: str) -> None:
    descriptor = METHODS[name].input_type
    for path in paths(descriptor):
        message = type(smuggling(descriptor, path)).FromString(smuggling(descriptor, path).SerializeToString())
        with pytest.raises(InvalidInput) as caught:
            require_known(message)
        assert caught.value.reason == "UNKNOWN_FIELD"
        assert caught.value.field == ".".join(field.name for field in path)
        assert "2047" in caught.value.message
        assert "canary" not in caught.value.message


def test_what_the_contract_names_is_taken() -> None:
    hits = [fingerprint_pb2.FingerprintHits(batch_digest=bytes(32), row=n) for n in range(100)]
    require_known(fingerprint_pb2.ReportHitsRequest(bank="banks/b", hits=hits))


@pytest.mark.parametrize(
    "name",
    [
        "alliance.v1.MembershipService/CreateGroup",
        "alliance.v1.MembershipService/Watch",
        "alliance.v1.BlobService/UploadBlob",
        "alliance.v1.EnrolmentService/Enrol",
    ],
)
def test_the_hub_refuses_it_on_every_kind_of_call(name: str, hub: RunningHub) -> None:
    opened = {
        "MembershipService/CreateGroup": hub.admin.channel,
        "EnrolmentService/Enrol": hub.open_enrolment_channel(),
    }.get(name.removeprefix("alliance.v1.")) or hub.enrol("acme").channel
    outcome = raw_call(opened, METHODS[name], SMUGGLED)
    assert (outcome.code, outcome.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "UNKNOWN_FIELD")


def test_nothing_of_a_refused_request_is_done(hub: RunningHub) -> None:
    plain = pb.CreateGroupRequest(request_id=request_id(), name="groups/shoes").SerializeToString()
    method = METHODS["alliance.v1.MembershipService/CreateGroup"]
    assert raw_call(hub.admin.channel, method, plain + SMUGGLED).reason == "UNKNOWN_FIELD"
    assert not hub.admin.call(pb.ListGroupsRequest(), pb.ListGroupsResponse).groups
    assert raw_call(hub.admin.channel, method, plain).responses
