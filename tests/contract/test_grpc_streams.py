"""What `alliance.channel` knows of gRPC's private parts: how a stream that is closed early is emptied."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any, cast

import pytest

from alliance import channel
from alliance.errors import AllianceError
from alliance.v1 import blob_pb2
from alliance.v1 import membership_pb2 as pb
from tests.kit.alliance import Alliance


@pytest.fixture
def drained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The streams that were emptied."""
    streams: list[Any] = []
    drain = channel._drain

    def remember(stream: Any) -> None:
        drain(stream)
        streams.append(stream)

    monkeypatch.setattr(channel, "_drain", remember)
    return streams


@pytest.mark.parametrize("read", [1, 2])
def test_a_stream_that_is_closed_early_leaves_nothing_in_grpc(three: Alliance, drained: list[Any], read: int) -> None:
    sealed = three.members[0].publish(three.bank, bytes(8 << 20))
    request = blob_pb2.DownloadBlobRequest(digest=sealed.header.digest)
    with closing(cast(Any, channel.download(three.members[1].channel, request))) as stream:
        for _ in range(read):
            next(stream)
    (closed,) = drained
    assert type(closed).__name__ == "_SingleThreadedRendezvous"
    assert not closed._state.due
    # The connection goes on.
    assert three.members[1].download(sealed.header.digest) == sealed.data


def test_a_stream_whose_channel_is_closed_under_it_leaves_nothing_either(three: Alliance, drained: list[Any]) -> None:
    opened = three.members[0].open_channel()
    stream = channel.stream_out(opened, pb.WatchRequest(), pb.WatchResponse)
    next(stream)
    threading.Timer(0.2, opened.close).start()
    with pytest.raises(AllianceError, match="losed"):
        list(stream)
    assert not drained[0]._state.due
