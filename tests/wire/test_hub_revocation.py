"""Whoever no longer counts is cut off in mid-stream, also from a stream on which nobody says anything.

A stream that sends or is sent to re-checks its caller itself (test_hub_watch.py, test_hub_blobs.py); the silent ones
here are ended by the warden of `hub.runtime.streams`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from alliance import canonical, channel
from alliance.errors import AllianceError
from alliance.status import from_rpc_error
from alliance.v1 import blob_pb2, enrolment_pb2
from alliance.v1 import membership_pb2 as pb
from hub.membership.model import ConsoleRole
from tests.kit.alliance import Alliance, alliance
from tests.kit.clock import ShiftedClock
from tests.kit.databases import Databases
from tests.kit.hub import RunningHub, running_hub
from tests.kit.keys import Sealed
from tests.kit.member import CHUNK, RawMember
from tests.kit.waiting import eventually

# The promise is 5 s; a machine that is busy with other tests gets some more.
WAIT_S = 20.0
# More than flow control lets the hub send ahead of a reader that does not read.
LARGE = 24 * CHUNK


class Silent:
    """An open stream on which its client says nothing any more."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.ended = threading.Event()

    def read_on(self) -> Silent:
        """Reads whatever comes: gRPC tells of the end only behind the last message."""
        next(self.call)
        threading.Thread(target=self._drain, daemon=True).start()
        return self

    def reason(self) -> str:
        """Why the hub ended it."""
        assert self.ended.wait(WAIT_S), "the stream is still open"
        return from_rpc_error(self.call).reason

    def _drain(self) -> None:
        with contextlib.suppress(grpc.RpcError):
            for _ in self.call:
                pass
        self.ended.set()


def upload(opened: grpc.Channel) -> Silent:
    """A header, a chunk, and then no word."""
    sent, more = threading.Event(), threading.Event()

    def messages() -> Iterator[blob_pb2.UploadBlobRequest]:
        yield blob_pb2.UploadBlobRequest(header=blob_pb2.UploadHeader(digest=canonical.sha256(b""), size=LARGE))
        yield blob_pb2.UploadBlobRequest(chunk=b"x")
        sent.set()
        more.wait(2 * WAIT_S)

    method = opened.stream_unary(
        channel.routes()[blob_pb2.UploadBlobRequest.DESCRIPTOR.full_name],
        request_serializer=blob_pb2.UploadBlobRequest.SerializeToString,
        response_deserializer=blob_pb2.UploadBlobResponse.FromString,
    )
    made = Silent(method.future(messages(), metadata=channel.METADATA))
    for told in (made.ended, more):
        made.call.add_callback(told.set)
    assert sent.wait(WAIT_S)
    return made


def streamed(opened: grpc.Channel, request: Message, response: type[Message]) -> Silent:
    path = channel.routes()[request.DESCRIPTOR.full_name]
    method = opened.unary_stream(
        path, request_serializer=type(request).SerializeToString, response_deserializer=response.FromString
    )
    return Silent(method(request, metadata=channel.METADATA))


def download(opened: grpc.Channel, sealed: Sealed) -> Silent:
    """Reads the first message and then no more: the hub is stuck in the middle of a write."""
    request = blob_pb2.DownloadBlobRequest(digest=sealed.header.digest)
    made = streamed(opened, request, blob_pb2.DownloadBlobResponse)
    assert next(made.call).size == len(sealed.data)
    return made


def received(unread: Silent) -> int:
    """The bytes that were under way to a reader when it was cut off."""
    count = 0
    try:
        for message in unread.call:
            count += len(message.chunk)
    except grpc.RpcError:
        return count
    raise AssertionError("the download was not cut")


def watch(opened: grpc.Channel) -> Silent:
    return streamed(opened, pb.WatchRequest(), pb.WatchResponse).read_on()


def health(opened: grpc.Channel) -> Silent:
    return Silent(health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest())).read_on()


def reflection(opened: grpc.Channel) -> Silent:
    end = threading.Event()

    def requests() -> Iterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        end.wait(2 * WAIT_S)

    stub = reflection_pb2_grpc.ServerReflectionStub(opened)
    made = Silent(stub.ServerReflectionInfo(requests()))
    made.call.add_callback(end.set)
    return made.read_on()


class Scene:
    """One member of an alliance at some hub, with every kind of stream open."""

    def __init__(self, a: Alliance, member: RawMember, address: str = "") -> None:
        self.a, self.member = a, member
        sealed = a.members[0].publish(a.bank, bytes(LARGE))
        self.channel = member.open_channel(address)
        self.unread = download(self.channel, sealed)
        self.streams = {"upload": upload(self.channel), "watch": watch(self.channel), "health": health(self.channel)}

    def check(self, reason: str, *, health: str = "") -> None:
        """All were cut for this reason; `health` may be left alone."""
        streams = dict(self.streams)
        if not health:
            streams.pop("health")
        assert {name: stream.reason() for name, stream in streams.items()} == dict.fromkeys(streams, reason)
        # Nothing was added to what had been handed to the connection.
        assert received(self.unread) < LARGE // 2
        assert from_rpc_error(self.unread.call).reason == reason

    def close(self) -> None:
        self.channel.close()


@pytest.fixture
def scene(three: Alliance) -> Iterator[Scene]:
    made = Scene(three, three.members[1])
    yield made
    made.close()


def test_suspension_cuts_every_stream_and_leaves_the_hub_s_health_to_see(scene: Scene) -> None:
    scene.a.hub.suspend(scene.member)
    scene.check("MEMBER_SUSPENDED")
    assert not scene.streams["health"].ended.is_set()
    # What was cut leaves nothing behind: the member comes back and goes on.
    request = pb.ReinstateMemberRequest(name=scene.member.name, reason="cleared")
    scene.a.hub.admin.call(request, pb.ReinstateMemberResponse)
    assert scene.member.upload(b"again").complete


def test_expulsion_cuts_every_stream(scene: Scene) -> None:
    scene.a.hub.expel(scene.member)
    scene.check("CERTIFICATE_REVOKED", health="too")


def test_expiry_cuts_every_stream(scene: Scene, clock: ShiftedClock) -> None:
    """Nobody does anything: only time passes."""
    clock.advance(hours=scene.a.hub.settings.membership_certificate_hours + 1)
    scene.check("CERTIFICATE_EXPIRED", health="too")


def test_a_revoked_agent_is_cut_off_and_its_member_s_others_stay(three: Alliance) -> None:
    member, hub = three.members[1], three.hub
    other = member.further_agent(hub.settings.alliance_name, hub.open_enrolment_channel())
    scene, own = Scene(three, member), watch(other.channel)
    other.call(enrolment_pb2.RevokeAgentRequest(name=member.agent), enrolment_pb2.RevokeAgentResponse)
    scene.check("CERTIFICATE_REVOKED", health="too")
    assert not own.ended.is_set()
    scene.close()
    other.close()


@pytest.mark.postgres
@pytest.mark.parametrize("how", ["suspended", "expelled"])
def test_another_hub_process_cuts_too(how: str, tmp_path: Path, postgres_databases: Databases) -> None:
    url = postgres_databases.create()
    with alliance(members=2, folder=tmp_path, url=url) as a, running_hub(tmp_path, url=url) as second:
        scene = Scene(a, a.members[1], second.address)
        if how == "suspended":
            a.hub.suspend(a.members[1])
            scene.check("MEMBER_SUSPENDED")
        else:
            a.hub.expel(a.members[1])
            scene.check("CERTIFICATE_REVOKED", health="too")
        scene.close()


def test_an_operator_s_reflection_is_cut_when_its_certificate_expires(hub: RunningHub, clock: ShiftedClock) -> None:
    opened = hub.operator(ConsoleRole.VIEWER).channel
    stream = reflection(opened)
    clock.advance(days=400)
    assert stream.reason() == "CERTIFICATE_EXPIRED"


def test_streams_that_end_by_themselves_are_forgotten(three: Alliance) -> None:
    """Cut short by its client, refused by the hub, or done: the warden holds none of them."""
    member, streams = three.members[1], three.hub.hub._streams
    sealed = three.members[0].publish(three.bank)
    member.download(sealed.header.digest)
    member.upload(b"some bytes")
    with pytest.raises(AllianceError):
        member.download(bytes(32))
    with contextlib.closing(member.open_channel()) as opened:
        watch(opened)
    eventually(lambda: not streams._open, "the end of every stream")
