"""Whole rounds over real mTLS: what counts, what is refused and why, what survives."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from alliance import canonical, tensors
from alliance.errors import FailedPrecondition, NotFound, NotPermitted
from alliance.v1 import federation_pb2 as pb
from tests.kit.alliance import Alliance, alliance
from tests.kit.federation import Trainee, create_detector, ended, model, plus, shown, spec, trigger
from tests.kit.waiting import eventually


@pytest.fixture
def three() -> Iterator[Alliance]:
    with alliance(members=3) as made:
        yield made


def test_a_round_averages_by_examples_and_releases(three: Alliance) -> None:
    wanted = spec()
    detector = create_detector(three.hub, three.group, wanted, *three.members)
    for n, member in enumerate(three.members):
        Trainee(member, wanted, plus(float(n + 1), examples=10 * (n + 1)))
    done = ended(three.hub, trigger(three.hub, detector).name)
    assert done.state == pb.ROUND_STATE_RELEASED, done
    expected = (1 * 10 + 2 * 20 + 3 * 30) / 60
    for array in model(three.hub, three.members[0], detector, wanted).values():
        np.testing.assert_allclose(array, np.float32(expected), rtol=1e-6)
    summary = done.metrics[0]
    assert (summary.name, summary.members, summary.members_not_worse) == ("accuracy", 3, 3)


def test_a_series_of_rounds_goes_on_by_itself_with_true_numbers(three: Alliance) -> None:
    wanted = spec(aggregation="STRATEGY_FED_ADAM")
    detector = create_detector(three.hub, three.group, wanted, *three.members)
    trainees = [Trainee(member, wanted, plus(1.0)) for member in three.members]
    trigger(three.hub, detector, rounds=3)
    eventually(lambda: _version(three, detector) >= 3, "the third round's model")
    assert [t.number for t in trainees[0].tasks if t.kind == pb.TASK_KIND_TRAIN] == [1, 2, 3]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"w": np.full((2, 3), np.nan, np.float32), "b": np.zeros(2, np.float32)}, "NOT_FINITE"),
        ({"w": np.full((2, 3), np.inf, np.float32), "b": np.zeros(2, np.float32)}, "NOT_FINITE"),
        ({"w": np.full((2, 3), -np.inf, np.float32), "b": np.zeros(2, np.float32)}, "NOT_FINITE"),
        ({"w": np.zeros((3, 2), np.float32), "b": np.zeros(2, np.float32)}, "TENSORS_UNEXPECTED"),
        ({"w": np.zeros((2, 3), np.float64), "b": np.zeros(2, np.float32)}, "TENSORS_UNEXPECTED"),
        ({"w": np.full((2, 3), 1e6, np.float32), "b": np.zeros(2, np.float32)}, "UPDATE_TOO_LARGE"),
        ({"w": np.zeros((200, 300), np.float32), "b": np.zeros(2, np.float32)}, "TENSORS_UNEXPECTED"),
    ],
    ids=["nan", "infinity", "minus infinity", "shape", "dtype", "norm", "oversized"],
)
def test_a_bad_update_is_refused_with_its_reason_and_the_round_goes_on(
    three: Alliance, bad: dict[str, np.ndarray], reason: str
) -> None:
    wanted = spec(max_update_norm=100.0)
    detector = create_detector(three.hub, three.group, wanted, *three.members)
    Trainee(three.members[0], wanted, plus(1.0))
    Trainee(three.members[1], wanted, plus(1.0))
    Trainee(three.members[2], wanted, lambda current: (bad, 10))
    done = ended(three.hub, trigger(three.hub, detector, quorum=2).name)
    assert done.state == pb.ROUND_STATE_RELEASED, done
    slot = next(p for p in done.participants if p.member == three.members[2].name)
    assert slot.state == pb.PARTICIPANT_STATE_REFUSED
    assert reason in slot.reason
    np.testing.assert_allclose(model(three.hub, three.members[0], detector, wanted)["w"], 1.0)


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ([("loss", 0.1)], "METRICS_UNEXPECTED"),
        ([("accuracy", 0.1), ("accuracy", 0.9)], "METRICS_UNEXPECTED"),
        ([("accuracy", math.nan)], "NOT_FINITE"),
        ([("accuracy", math.inf)], "NOT_FINITE"),
    ],
    ids=["unknown", "repeated", "nan", "infinity"],
)
def test_a_bad_metric_is_refused_with_its_reason_and_counts_for_nothing(
    three: Alliance, metrics: list[tuple[str, float]], reason: str
) -> None:
    wanted = spec()
    detector = create_detector(three.hub, three.group, wanted, *three.members)
    trainees = [Trainee(member, wanted, None) for member in three.members]
    started = trigger(three.hub, detector, quorum=2)
    for trainee in trainees:
        trainee.submit_bytes(_task(trainee), tensors.encode(_zeros()), 10)
    told = [pb.TaskMetric(name=name, value=value) for name, value in metrics]
    bad = trainees[2].submit(_task(trainees[2], kind=pb.TASK_KIND_EVALUATE), metrics=told)
    assert (bad.accepted, reason in bad.reason) == (False, True), bad
    for trainee in trainees[:2]:
        right = [pb.TaskMetric(name="accuracy", value=0.5)]
        trainee.submit(_task(trainee, kind=pb.TASK_KIND_EVALUATE), metrics=right)
    done = ended(three.hub, started.name)
    assert done.state == pb.ROUND_STATE_RELEASED
    assert [(one.name, one.members) for one in done.metrics] == [("accuracy", 2)]


def test_an_update_is_what_the_member_itself_uploaded(three: Alliance) -> None:
    wanted = spec()
    detector = create_detector(three.hub, three.group, wanted, *three.members)
    trainees = [Trainee(member, wanted, None) for member in three.members]
    trigger(three.hub, detector, quorum=2)
    data = tensors.encode(_zeros())
    assert trainees[0].submit_bytes(_task(trainees[0]), data, 10).accepted
    named = {"update_digest": canonical.sha256(data), "update_size": len(data), "examples": 10}
    another = trainees[1].submit(_task(trainees[1]), **named)
    assert (another.accepted, "BLOB_MISSING" in another.reason) == (False, True), another
    nobodys = trainees[2].submit(_task(trainees[2]), **{**named, "update_digest": bytes(32)})
    assert (nobodys.accepted, "BLOB_MISSING" in nobodys.reason) == (False, True), nobodys


@pytest.mark.parametrize("examples", [0, -1])
def test_an_update_of_no_examples_is_refused(three: Alliance, examples: int) -> None:
    wanted = spec()
    detector = create_detector(three.hub, three.group, wanted, *three.members)
    trainees = [Trainee(member, wanted, None) for member in three.members]
    trigger(three.hub, detector, quorum=2)
    answer = trainees[0].submit_bytes(_task(trainees[0]), tensors.encode(_zeros()), examples)
    assert (answer.accepted, "NO_EXAMPLES" in answer.reason) == (False, True), answer


def test_a_model_without_arrays_goes_through_its_rounds(three: Alliance) -> None:
    wanted = pb.DetectorSpec(code="test", metrics=["accuracy"], aggregation="STRATEGY_FED_AVG", max_examples=10)
    detector = create_detector(three.hub, three.group, wanted, *three.members)
    for member in three.members:
        Trainee(member, wanted, lambda model: ({}, 1))
    assert ended(three.hub, trigger(three.hub, detector).name).state == pb.ROUND_STATE_RELEASED


def test_claimed_examples_are_capped(three: Alliance) -> None:
    wanted = spec(max_examples=10)
    detector = create_detector(three.hub, three.group, wanted, *three.members)
    Trainee(three.members[0], wanted, plus(3.0, examples=10**12))
    Trainee(three.members[1], wanted, plus(0.0, examples=10))
    Trainee(three.members[2], wanted, plus(0.0, examples=10))
    ended(three.hub, trigger(three.hub, detector).name)
    np.testing.assert_allclose(model(three.hub, three.members[0], detector, wanted)["w"], 1.0, rtol=1e-6)


def test_a_missed_quorum_fails_at_its_deadline_with_the_reason(three: Alliance) -> None:
    wanted = spec()
    detector = create_detector(three.hub, three.group, wanted, *three.members)
    Trainee(three.members[0], wanted, plus(1.0))
    done = ended(three.hub, trigger(three.hub, detector, quorum=3, seconds=1).name)
    assert done.state == pb.ROUND_STATE_FAILED
    assert "quorum missed" in done.reason


def test_a_straggler_is_dropped_and_its_late_answer_changes_nothing(three: Alliance) -> None:
    wanted = spec()
    detector = create_detector(three.hub, three.group, wanted, *three.members)
    Trainee(three.members[0], wanted, plus(1.0))
    Trainee(three.members[1], wanted, plus(1.0))
    slow = Trainee(three.members[2], wanted, None)
    done = ended(three.hub, trigger(three.hub, detector, quorum=2, seconds=2).name)
    assert done.state == pb.ROUND_STATE_RELEASED
    late = slow.submit_bytes(slow.tasks[0], tensors.encode(_zeros()), 10)
    assert not late.accepted
    np.testing.assert_allclose(model(three.hub, three.members[0], detector, wanted)["w"], 1.0)


def test_a_repeated_answer_counts_once(three: Alliance) -> None:
    wanted = spec()
    detector = create_detector(three.hub, three.group, wanted, *three.members)
    trainees = [Trainee(member, wanted, None) for member in three.members]
    started = trigger(three.hub, detector, quorum=3)
    task = _task(trainees[0])
    first = trainees[0].submit_bytes(task, tensors.encode(_zeros()), 10)
    again = trainees[0].submit_bytes(task, tensors.encode({k: v + 9 for k, v in _zeros().items()}), 10)
    assert (first.accepted, again.accepted) == (True, False)
    for trainee in trainees[1:]:
        trainee.submit_bytes(_task(trainee), tensors.encode(_zeros()), 10)
    for trainee in trainees:
        trainee.train = plus(0.0)
        trainee.answer(_task(trainee, kind=pb.TASK_KIND_EVALUATE))
    assert ended(three.hub, started.name).state == pb.ROUND_STATE_RELEASED
    np.testing.assert_allclose(model(three.hub, three.members[0], detector, wanted)["w"], 0.0)


def test_a_member_suspended_during_the_round_is_dropped(three: Alliance) -> None:
    wanted = spec()
    detector = create_detector(three.hub, three.group, wanted, *three.members)
    waiting = Trainee(three.members[2], wanted, None)
    Trainee(three.members[0], wanted, plus(1.0))
    Trainee(three.members[1], wanted, plus(1.0))
    # Long before its deadline.
    started = trigger(three.hub, detector, quorum=2, seconds=600)
    _task(waiting)
    three.hub.suspend(three.members[2])
    done = ended(three.hub, started.name)
    assert done.state == pb.ROUND_STATE_RELEASED
    slot = next(p for p in done.participants if p.member == three.members[2].name)
    assert (slot.state, slot.reason) == (pb.PARTICIPANT_STATE_DROPPED, "no longer taking part")


def test_who_has_not_consented_gets_no_task_no_model_and_no_round(three: Alliance) -> None:
    wanted = spec()
    detector = create_detector(three.hub, three.group, wanted, *three.members[:2])
    outsider = Trainee(three.members[2], wanted, plus(1.0))
    for member in three.members[:2]:
        Trainee(member, wanted, plus(1.0))
    done = ended(three.hub, trigger(three.hub, detector, quorum=2).name)
    assert done.state == pb.ROUND_STATE_RELEASED
    assert not outsider.tasks
    with pytest.raises(NotPermitted):
        three.members[2].call(pb.GetModelRequest(detector=detector), pb.GetModelResponse)
    with pytest.raises(NotFound):
        three.members[2].call(pb.GetRoundRequest(name=done.name), pb.GetRoundResponse)


def test_an_unapproved_detector_does_not_start_and_one_round_runs_at_a_time(three: Alliance) -> None:
    name = "detectors/unapproved"
    request = pb.ProposeDetectorRequest(name=name, group=three.group, spec=spec())
    three.hub.admin.call(request, pb.ProposeDetectorResponse)
    with pytest.raises(FailedPrecondition, match="not approved"):
        trigger(three.hub, name)
    detector = create_detector(three.hub, three.group, spec(), *three.members)
    started = trigger(three.hub, detector)
    with pytest.raises(FailedPrecondition, match="wait until it ends"):
        trigger(three.hub, detector)
    cancelled = three.hub.admin.call(pb.CancelRoundRequest(name=started.name), pb.CancelRoundResponse).round
    assert cancelled.state == pb.ROUND_STATE_CANCELLED
    assert shown(three.hub, started.name).state == pb.ROUND_STATE_CANCELLED


def test_a_schedule_starts_rounds_and_pausing_stops_it(three: Alliance) -> None:
    wanted = spec()
    detector = create_detector(three.hub, three.group, wanted, *three.members)
    for member in three.members:
        Trainee(member, wanted, plus(1.0))
    schedule = pb.Schedule(
        name="schedules/often", detector=detector, interval_seconds=1, rounds=1, quorum=3, deadline_seconds=10
    )
    three.hub.admin.call(pb.CreateScheduleRequest(schedule=schedule), pb.CreateScheduleResponse)
    eventually(lambda: _version(three, detector) >= 2, "the second round's model")
    paused = three.hub.admin.call(pb.PauseScheduleRequest(name="schedules/often"), pb.PauseScheduleResponse)
    assert paused.schedule.paused


def _version(made: Alliance, detector: str) -> int:
    return made.members[0].call(pb.GetModelRequest(detector=detector), pb.GetModelResponse).version


def _zeros() -> dict[str, np.ndarray]:
    return {"w": np.zeros((2, 3), np.float32), "b": np.zeros(2, np.float32)}


def _task(trainee: Trainee, *, kind: int = pb.TASK_KIND_TRAIN) -> pb.Task:
    """The task once it is there."""
    return eventually(lambda: [task for task in trainee.tasks if task.kind == kind], "the task")[0]
