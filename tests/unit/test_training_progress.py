"""A round as a member sees it: who is asked in which phase, what counts as a change, figures beside its own."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from alliance.v1 import federation_pb2 as pb
from member_agent.training.consents import Uplift
from member_agent.training.progress import progress

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
OWN = Uplift(
    detector="detectors/d",
    round="rounds/7",
    number=3,
    metric="pr_auc",
    federated=0.96,
    local=0.9,
    blended=None,
    examples=9,
)


def at(seconds: float) -> dt.datetime:
    return START + dt.timedelta(seconds=seconds)


def seen(state: str, *, reason: str = "", slot: str = "", why: str = "", **slots: int) -> pb.Round:
    made = pb.Round(
        name="rounds/7",
        detector="detectors/d",
        number=3,
        quorum=2,
        state=f"ROUND_STATE_{state.upper()}",
        reason=reason,
        slots=[pb.SlotCount(state=f"PARTICIPANT_STATE_{name.upper()}", members=n) for name, n in slots.items()],
    )
    if slot:
        made.participants.add(member="members/me", state=f"PARTICIPANT_STATE_{slot.upper()}", reason=why)
    made.deadline_time.FromDatetime(at(60))
    return made


@pytest.mark.parametrize(
    ("found", "answered", "asked"),
    [
        (seen("recruiting"), 0, 0),
        (seen("training", invited=3, reported=1, refused=1), 2, 5),
        (seen("aggregating", reported=3, dropped=1), 3, 4),
        (seen("evaluating", reported=1, evaluated=2, refused=1, dropped=1), 2, 3),
        (seen("released", evaluated=3, refused=1), 3, 4),
        (seen("failed", invited=2), 0, 2),
    ],
    ids=lambda value: pb.RoundState.Name(value.state) if isinstance(value, pb.Round) else "",
)
def test_answered_are_those_asked_in_this_phase(found: pb.Round, answered: int, asked: int) -> None:
    now = progress(found, now=START)
    assert (now.answered, now.asked) == (answered, asked)


def test_time_alone_is_no_change_and_a_state_has_a_time_of_its_own() -> None:
    first = progress(seen("training", invited=2), now=at(0))
    later = progress(seen("training", invited=2), first, now=at(4))
    assert later.same_as(first)
    assert not later.same_as(None)
    assert (later.seconds, later.seconds_left) == (4.0, 56.0)
    answered = progress(seen("training", invited=1, reported=1), later, now=at(5))
    assert not answered.same_as(later)
    assert answered.seconds == 5.0
    judged = progress(seen("evaluating", reported=2), answered, now=at(7))
    assert judged.seconds == 0.0


def test_lines_say_what_matters_in_each_state() -> None:
    assert progress(seen("recruiting"), now=at(1)).line() == "rounds/7 d recruiting, quorum 2, 0 s, 59 s left"
    training = progress(seen("training", slot="reported", invited=1, reported=1), now=at(2)).line()
    assert training == "rounds/7 d training, 1 of 2 answered, here reported, 0 s, 58 s left"
    refused = progress(seen("training", slot="refused", why="too large", invited=1, refused=1), now=at(2)).line()
    assert "here refused (too large)" in refused
    failed = progress(seen("failed", reason="quorum missed", invited=2), now=at(70)).line()
    assert failed == "rounds/7 d failed, 0 of 2 answered, quorum missed"


def test_a_released_round_has_figures_beside_the_members_own() -> None:
    found = seen("released", evaluated=2)
    found.metrics.add(
        name="pr_auc", members=2, federated_mean=0.95, federated_least=0.94, local_mean=0.9, members_not_worse=2
    )
    found.metrics.add(name="f1", members=2, federated_mean=0.5)
    row = progress(found, now=at(9), own=[OWN]).row()
    assert (row["state"], row["seconds_left"], row["slots"]) == ("released", 0.0, {"evaluated": 2})
    assert row["metrics"] == [
        {
            "metric": "pr_auc",
            "members": 2,
            "federated_mean": 0.95,
            "federated_least": 0.94,
            "local_mean": 0.9,
            "members_not_worse": 2,
            "here": 0.96,
            "here_alone": 0.9,
        },
        {
            "metric": "f1",
            "members": 2,
            "federated_mean": 0.5,
            "federated_least": 0.0,
            "local_mean": 0.0,
            "members_not_worse": 0,
            "here": None,
            "here_alone": None,
        },
    ]
    assert replace(progress(found, now=at(9)), now=at(10)).ended
