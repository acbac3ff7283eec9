"""What a round costs beside its own work: whom its steps wake, and that nobody waits for a clock."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from alliance.v1 import federation_pb2 as pb
from hub.federation.runner import TICK
from hub.membership.rpc import POLL_SECONDS
from tests.kit.alliance import alliance
from tests.kit.federation import ENDED, Trainee, create_detector, ended, plus, spec, trigger

ROUNDS = 20


def counted(counts: Counter[str], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def counting(*args: Any, **named: Any) -> Any:
        counts[name] += 1
        return call(*args, **named)

    return counting


def test_a_series_wakes_its_members_for_tasks_only_and_waits_for_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task is one look at tasks; only polls and arrivals look at everything."""
    counts: Counter[str] = Counter()
    with alliance(members=3) as three:
        wanted, services = spec(), three.hub.services
        detector = create_detector(three.hub, three.group, wanted, *three.members)
        # The hub looks these up at each look.
        monkeypatch.setattr(services.membership, "groups", counted(counts, "sharing", services.membership.groups))
        monkeypatch.setattr(services.rounds, "task", counted(counts, "tasks", services.rounds.task))
        start = time.monotonic()
        trainees = [Trainee(member, wanted, plus(1.0)) for member in three.members]
        first = int(trigger(three.hub, detector, rounds=ROUNDS).name.partition("/")[2])
        done = ended(three.hub, f"rounds/{first}")
        last = f"rounds/{first + ROUNDS - 1}"
        while done.name != last or done.state not in ENDED:
            assert time.monotonic() < start + 60
            listed = three.hub.admin.call(pb.ListRoundsRequest(page_size=1), pb.ListRoundsResponse)
            done = listed.rounds[0]
            time.sleep(0.02)
        elapsed = time.monotonic() - start
        looks = dict(counts)
    assert done.state == pb.ROUND_STATE_RELEASED
    assert [len(one.tasks) for one in trainees] == [2 * ROUNDS] * 3
    polls = 3 * (elapsed / POLL_SECONDS + 2)
    assert looks["sharing"] <= polls
    assert looks["tasks"] <= 3 * 2 * ROUNDS + polls
    # Had every task waited for a poll, or every phase for the runner's next look, it would have taken that long.
    assert elapsed < 2 * ROUNDS * min(TICK, POLL_SECONDS)
