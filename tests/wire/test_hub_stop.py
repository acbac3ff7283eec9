"""A hub that stops ends the streams that are open, with the reason, and waits for none of them."""

from __future__ import annotations

import pytest

from alliance import channel
from alliance.errors import Unavailable
from alliance.v1 import membership_pb2 as pb
from tests.kit.alliance import Alliance


def test_a_watch_ends_with_the_reason_when_the_hub_stops(three: Alliance) -> None:
    opened = [member.open_channel() for member in three.members]
    watches = [channel.stream_out(one, pb.WatchRequest(), pb.WatchResponse) for one in opened]
    for watch in watches:
        assert next(watch)
    three.hub.stop_serving()
    for watch in watches:
        with pytest.raises(Unavailable) as refused:
            list(watch)
        assert refused.value.reason == "HUB_STOPPING"
    for one in opened:
        one.close()
