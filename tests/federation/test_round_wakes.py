"""What a round costs beside its own work: whom its steps wake, and that nobody waits for a clock.

The clocks stand still: the hub's next look at all rounds, and the watches' next poll, are an hour away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from alliance.v1 import federation_pb2 as pb
from hub.federation import runner
from hub.membership import rpc
from tests.kit.alliance import alliance
from tests.kit.federation import Trainee, create_detector, ended, plus, spec, trigger

ROUNDS = 20


def counted(counts: Counter[str], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def counting(*args: Any, **named: Any) -> Any:
        counts[name] += 1
        return call(*args, **named)

    return counting


def test_a_series_wakes_its_members_for_tasks_only_and_waits_for_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members asked at once look at tasks together, but for one that is busy; only arrivals look at everything."""
    counts: Counter[str] = Counter()
    monkeypatch.setattr(runner, "TICK", 3600.0)
    monkeypatch.setattr(rpc, "POLL_SECONDS", 3600.0)
    with alliance(members=3) as three:
        wanted, services = spec(), three.hub.services
        detector = create_detector(three.hub, three.group, wanted, *three.members)
        # The hub looks these up at each look.
        monkeypatch.setattr(services.membership, "groups", counted(counts, "sharing", services.membership.groups))
        monkeypatch.setattr(services.rounds, "tasks", counted(counts, "tasks", services.rounds.tasks))
        trainees = [Trainee(member, wanted, plus(1.0)) for member in three.members]
        first = int(trigger(three.hub, detector, rounds=ROUNDS).name.partition("/")[2])
        for number in range(first, first + ROUNDS - 1):
            ended(three.hub, f"rounds/{number}")
        done = ended(three.hub, f"rounds/{first + ROUNDS - 1}")
        looks = dict(counts)
    assert done.state == pb.ROUND_STATE_RELEASED
    assert [len(one.tasks) for one in trainees] == [2 * ROUNDS] * 3
    # Each member's watch begins with everything, and may hear of another's arrival.
    arrivals = 3 * 2
    assert looks["sharing"] <= arrivals
    assert looks["tasks"] <= 2 * 2 * ROUNDS + arrivals
