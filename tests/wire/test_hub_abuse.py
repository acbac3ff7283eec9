"""What holds off abuse: sockets that never speak, metadata and messages too large, bombs, floods, immortal connections.

The hub stands in a process of its own where its memory or its files are looked at.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from alliance import channel
from alliance.errors import LimitExceeded, Unavailable
from alliance.v1 import blob_pb2, membership_pb2
from hub.runtime import server
from member_agent import hub_client
from member_agent.hub_client import HubClient
from member_agent.ledger import Ledger
from tests.kit.hub import RunningHub, running_hub
from tests.kit.hub_process import HubProcess, free_address
from tests.kit.member import RawMember
from tests.kit.rpc import all_methods, raw_call
from tests.kit.waiting import eventually

HANDSHAKE = all_methods()["alliance.v1.MembershipService/Handshake"]
HELLO = membership_pb2.HandshakeRequest(client_version="0.1.0")
SOCKETS = 1500
HANDSHAKE_S = dict(server.OPTIONS)["grpc.server_handshake_timeout_ms"] / 1000
MIB = 1 << 20
# The start of a TLS record that announces more than comes.
HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20)


class Outside:
    """A hub in a process of its own, with one member."""

    def __init__(self, folder: Path) -> None:
        address = free_address()
        with running_hub(folder, server_address=address, server_enrolment_address=free_address()) as hub:
            self.member = hub.enrol("acme")
            self.member.close()
        self.address = address
        self.process = HubProcess(folder)

    def status(self, field: str) -> int:
        """A number of /proc/PID/status, in KiB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field))

    def files(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    made = Outside(tmp_path)
    with made.process:
        made.member.reconnect(made.address)
        yield made
        made.member.close()


@pytest.fixture
def many_files() -> Iterator[int]:
    """How many sockets this process may have; the hub's process inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(hard, max(soft, SOCKETS + 500))
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    yield min(SOCKETS, most - 300)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def served(member: RawMember) -> bool:
    return member.call(HELLO, membership_pb2.HandshakeResponse).caller == member.name


def is_closed(opened: socket.socket) -> bool:
    try:
        return opened.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


# Connections.


def test_half_open_sockets_end_by_themselves_and_nobody_waits_for_them(many_files: int, outside: Outside) -> None:
    """A third of them never says a word, a third begins a handshake, a third sends what is no handshake."""
    host, _, port = outside.address.rpartition(":")
    before = outside.files()
    with contextlib.ExitStack() as stack:
        sockets = []
        for n in range(many_files):
            opened = stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
            opened.setblocking(False)
            if n % 3:
                opened.send(HALF_A_HELLO if n % 3 == 1 else b"GET / HTTP/1.1\r\n\r\n")
            sockets.append(opened)
        assert served(outside.member)
        fresh = outside.member.open_channel()
        channel.call(fresh, HELLO, membership_pb2.HandshakeResponse)
        fresh.close()
        eventually(lambda: all(map(is_closed, sockets)), "the end of every connection", pause=0.2)
    eventually(lambda: outside.files() <= before + 10, "the end of the hub's hold on files", pause=0.2)
    assert served(outside.member)


def test_connections_do_not_live_for_ever_and_nobody_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With half an hour made half a second: calls go on over new connections."""
    changed = {**dict(server.OPTIONS), "grpc.max_connection_age_ms": 500}
    monkeypatch.setattr(server, "OPTIONS", tuple(changed.items()))
    with running_hub(tmp_path) as hub:
        states: list[grpc.ChannelConnectivity] = []
        member = hub.enrol("acme")
        member.channel.subscribe(states.append)
        assert served(member)
        eventually(lambda: served(member) and states.count(grpc.ChannelConnectivity.READY) >= 3, "the third connection")


# Messages.


@pytest.mark.parametrize("size", [20_000, 200_000])
def test_metadata_is_limited(size: int, hub: RunningHub) -> None:
    member = hub.enrol("acme")
    outcome = raw_call(member.channel, HANDSHAKE, HELLO.SerializeToString(), metadata=[("x-bomb", "y" * size)])
    assert outcome.code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
    assert served(member)


@pytest.mark.parametrize("name", ["MembershipService/Handshake", "BlobService/UploadBlob", "KeyService/CreateEpoch"])
def test_messages_are_limited(name: str, hub: RunningHub) -> None:
    member = hub.enrol("acme")
    outcome = raw_call(member.channel, all_methods()[f"alliance.v1.{name}"], bytes(5 * MIB))
    assert outcome.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert served(member)


def test_a_bomb_does_not_unfold(outside: Outside) -> None:
    """A hundred megabytes in a hundred kilobytes are refused, and never there."""
    assert served(outside.member)
    before = outside.status("VmHWM")
    path = f"/{HANDSHAKE.containing_service.full_name}/{HANDSHAKE.name}"
    opened: Any = outside.member.channel
    with pytest.raises(grpc.RpcError) as caught:
        opened.unary_unary(path)(
            bytes(100 * MIB), timeout=20, metadata=channel.METADATA, compression=grpc.Compression.Gzip
        )
    # gRPC unpacks before it looks at the size, so that nothing packed is taken at all.
    assert cast("grpc.Call", caught.value).code() is grpc.StatusCode.UNIMPLEMENTED
    assert (outside.status("VmHWM") - before) * 1024 < 30 * MIB
    assert served(outside.member)


# Floods.


def hello_until_refused(member: RawMember) -> LimitExceeded:
    for _ in range(1000):
        try:
            served(member)
        except LimitExceeded as error:
            return error
    raise AssertionError("never refused")


def test_a_flood_of_calls_is_refused_with_the_time_to_wait_and_hits_nobody_else(tmp_path: Path) -> None:
    with running_hub(tmp_path, limits_calls_per_second=3.0) as hub:
        greedy, other = hub.enrol("greedy"), hub.enrol("other")
        error = hello_until_refused(greedy)
        assert (error.reason, 0 < error.retry_seconds <= 1) == ("RATE_LIMITED", True)
        second = greedy.open_channel()
        with pytest.raises(LimitExceeded):
            channel.call(second, HELLO, membership_pb2.HandshakeResponse)
        second.close()
        assert served(other)
        time.sleep(error.retry_seconds)
        assert served(greedy)


def test_an_agent_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    with running_hub(tmp_path, limits_calls_per_second=5.0) as hub:
        member, ledger = hub.enrol("acme"), Ledger(tmp_path / "ledger.jsonl")
        hello_until_refused(member)
        client = HubClient(member.channel, ledger)
        for _ in range(3):
            assert client.handshake().caller == member.name
        ledger.close()


def test_an_agent_that_would_have_to_wait_too_long_comes_back_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as a hub that is away: nothing it wanted to send is given up."""
    monkeypatch.setattr(hub_client, "PATIENCE_SECONDS", 0.1)
    with running_hub(tmp_path, limits_calls_per_second=0.5) as hub:
        member, ledger = hub.enrol("acme"), Ledger(tmp_path / "ledger.jsonl")
        hello_until_refused(member)
        with pytest.raises(Unavailable) as caught:
            HubClient(member.channel, ledger).handshake()
        assert caught.value.reason == "RATE_LIMITED"
        ledger.close()


def test_a_member_has_so_many_streams_and_no_more(tmp_path: Path) -> None:
    with running_hub(tmp_path, limits_streams=3) as hub:
        member, ledger = hub.enrol("acme"), Ledger(tmp_path / "ledger.jsonl")
        request = membership_pb2.WatchRequest()
        streams: list[Any] = [
            channel.stream_out(member.channel, request, membership_pb2.WatchResponse) for _ in range(3)
        ]
        for stream in streams:
            next(stream)
        with pytest.raises(LimitExceeded) as caught:
            next(channel.stream_out(member.channel, request, membership_pb2.WatchResponse))
        assert (caught.value.reason, caught.value.retry_seconds > 0) == ("TOO_MANY_STREAMS", True)
        with pytest.raises(Unavailable):
            next(HubClient(member.channel, ledger).stream(request, membership_pb2.WatchResponse))
        assert served(member)
        next(channel.stream_out(hub.enrol("other").channel, request, membership_pb2.WatchResponse))
        streams[0].close()

        def opened() -> bool:
            try:
                next(channel.stream_out(member.channel, request, membership_pb2.WatchResponse))
            except LimitExceeded:
                return False
            return True

        eventually(opened, "the place of a stream that ended")
        ledger.close()


def test_bytes_beyond_the_rate_are_slowed_down_and_arrive(tmp_path: Path) -> None:
    with running_hub(tmp_path, limits_megabytes_per_second=0.2) as hub:
        member, data = hub.enrol("acme"), os.urandom(2_400_000)
        start = time.monotonic()
        assert member.upload(data, chunk=100_000).complete
        # Ten seconds' worth at once, and the rest at the rate.
        assert time.monotonic() - start > 1.5


def test_a_flood_of_bytes_makes_the_next_calls_wait(tmp_path: Path) -> None:
    """A kilobyte a second: the calls are few enough, their bytes are not."""
    with running_hub(tmp_path, limits_megabytes_per_second=0.001) as hub:
        assert hello_until_refused(hub.enrol("acme")).reason == "RATE_LIMITED"
        assert served(hub.enrol("other"))


def test_uploads_that_never_send_do_not_hold_up_others(hub: RunningHub) -> None:
    """As many silent uploads as the hub has workers, and more: each waits without one."""
    member, stop = hub.enrol("acme"), threading.Event()
    opened: Any = member.channel
    method = opened.stream_unary(channel.routes()[blob_pb2.UploadBlobRequest.DESCRIPTOR.full_name])

    def silence() -> Iterator[bytes]:
        stop.wait(60)
        yield from ()

    calls = [method.future(silence(), metadata=channel.METADATA) for _ in range(4 * hub.settings.server_workers)]
    assert served(member)
    stop.set()
    for call in calls:
        assert call.exception(20) is not None
