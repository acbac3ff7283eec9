"""What goes wrong in one round ends that round, with its reason, and holds up nobody else's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from alliance import canonical, tensors
from alliance.names import Digest
from alliance.v1 import federation_pb2 as pb
from tests.kit.alliance import Alliance, alliance
from tests.kit.federation import Trainee, create_detector, ended, model, plus, shown, spec, trigger
from tests.kit.waiting import eventually

ZEROS = tensors.encode({"w": np.zeros((2, 3), np.float32), "b": np.zeros(2, np.float32)})


@pytest.fixture
def three() -> Iterator[Alliance]:
    with alliance(members=3) as made:
        yield made


def task(trainee: Trainee, kind: int) -> pb.Task:
    eventually(lambda: any(one.kind == kind for one in trainee.tasks))
    return next(one for one in trainee.tasks if one.kind == kind)


def test_a_failure_of_the_hubs_own_ends_the_round_and_the_next_one_runs(three: Alliance) -> None:
    wanted = spec()
    detector = create_detector(three.hub, three.group, wanted, *three.members)
    trainees = [Trainee(member, wanted, None) for member in three.members]
    started = trigger(three.hub, detector, quorum=3, seconds=60)
    lost = tensors.encode({"w": np.ones((2, 3), np.float32), "b": np.ones(2, np.float32)})
    trainees[0].submit_bytes(task(trainees[0], pb.TASK_KIND_TRAIN), lost, 10)
    three.hub.services.blobs.files.path(Digest(canonical.sha256(lost))).unlink()
    for trainee in trainees[1:]:
        trainee.submit_bytes(task(trainee, pb.TASK_KIND_TRAIN), ZEROS, 10)
    done = ended(three.hub, started.name)
    assert (done.state, done.reason) == (
        pb.ROUND_STATE_FAILED,
        "not aggregated: the hub's disk refuses: No such file or directory [STORAGE]",
    )
    for trainee in trainees:
        trainee.train = plus(1.0)
    assert ended(three.hub, trigger(three.hub, detector).name).state == pb.ROUND_STATE_RELEASED


def test_who_leaves_the_detector_after_its_answer_is_not_in_the_average(three: Alliance) -> None:
    wanted = spec()
    detector = create_detector(three.hub, three.group, wanted, *three.members)
    slow = Trainee(three.members[0], wanted, None)
    Trainee(three.members[1], wanted, plus(1.0))
    Trainee(three.members[2], wanted, plus(100.0))
    started = trigger(three.hub, detector, quorum=2, seconds=60)
    reported = pb.PARTICIPANT_STATE_REPORTED
    eventually(lambda: [p.state for p in shown(three.hub, started.name).participants[1:]] == [reported] * 2)
    three.members[2].call(pb.LeaveDetectorRequest(name=detector), pb.LeaveDetectorResponse)
    slow.train = plus(1.0)
    slow.answer(task(slow, pb.TASK_KIND_TRAIN))
    done = ended(three.hub, started.name)
    assert done.state == pb.ROUND_STATE_RELEASED, done
    assert done.participants[2].state == pb.PARTICIPANT_STATE_DROPPED
    np.testing.assert_allclose(model(three.hub, three.members[0], detector, wanted)["w"], 1.0)


def test_nobody_waits_for_the_evaluation_of_a_suspended_member(three: Alliance) -> None:
    wanted = spec()
    detector = create_detector(three.hub, three.group, wanted, *three.members)
    Trainee(three.members[0], wanted, plus(1.0))
    Trainee(three.members[1], wanted, plus(1.0))
    slow = Trainee(three.members[2], wanted, None)
    started = trigger(three.hub, detector, quorum=3, seconds=600)
    slow.submit_bytes(task(slow, pb.TASK_KIND_TRAIN), ZEROS, 10)
    task(slow, pb.TASK_KIND_EVALUATE)
    three.hub.suspend(three.members[2])
    done = ended(three.hub, started.name)
    assert done.state == pb.ROUND_STATE_RELEASED
    assert done.participants[2].reason == "no longer taking part; its update counted"
    assert done.metrics[0].members == 2
