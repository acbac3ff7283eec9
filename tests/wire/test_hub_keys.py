"""Epochs over the wire: whoever loses is told to use the winner's, on either database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from alliance.errors import AllianceError, NotPermitted
from alliance.v1 import key_pb2
from tests.kit.alliance import Alliance
from tests.kit.hub import running_hub
from tests.kit.member import RawMember


def test_of_creators_at_once_one_wins_and_the_others_are_told(tmp_path: Path, database_url: str) -> None:
    with running_hub(tmp_path, url=database_url) as hub, ThreadPoolExecutor(3) as pool:
        members, together = [hub.enrol(f"m{n}") for n in range(3)], Barrier(3)
        group = hub.create_group("shoes", *members)

        def create(member: RawMember, epoch: int) -> str:
            request, _ = member.epoch_request(group, members, epoch=epoch)
            together.wait(10)
            try:
                return member.call(request, key_pb2.CreateEpochResponse).epoch.creator
            except AllianceError as error:
                return error.reason

        for epoch in range(1, 6):
            outcomes = [future.result() for future in [pool.submit(create, m, epoch) for m in members]]
            [winner] = [outcome for outcome in outcomes if outcome.startswith("members/")]
            assert sorted(outcomes) == ["EPOCH_TAKEN", "EPOCH_TAKEN", winner]
            for member in members:
                found = member.call(key_pb2.GetGroupKeyRequest(group=group), key_pb2.GetGroupKeyResponse)
                assert (found.epoch.creator, found.wrap.sender) == (winner, winner)


def test_a_newcomer_is_wrapped_in_and_opens_the_epoch(three: Alliance) -> None:
    newcomer = three.hub.enrol("newcomer")
    with pytest.raises(NotPermitted):
        newcomer.open_epoch(three.group)
    three.hub.add_to_group(three.group, newcomer)
    holder = three.members[2]
    secret = holder.open_epoch(three.group)
    state = holder.call(key_pb2.GetGroupKeyRequest(group=three.group), key_pb2.GetGroupKeyResponse)
    assert list(state.members_without_wrap) == [newcomer.name]
    wrap = holder.wrap(newcomer.name, newcomer.identity.sealing_key, three.group, 1, secret)
    assert holder.call(key_pb2.AddWrapsRequest(wraps=[wrap]), key_pb2.AddWrapsResponse).stored == 1
    assert newcomer.open_epoch(three.group) == secret
