"""The hub killed with -9 in every state of a round, and around a schedule's due time; the same round ends.

The hub is `alliance-hub serve` in a process of its own on fixed ports. Where a round is when the kill falls is
decided by the members: one keeps its agent away (recruiting), or its answer back (training, evaluating). While
the hub aggregates nobody holds it, so there the model is large, the kill falls on the first sight of that state,
and a kill that came too late is tried again on the detector's next round. Afterwards the database says in which
state the hub died.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

from alliance.canonical import AuditEvent
from alliance.v1 import audit_pb2
from alliance.v1 import federation_pb2 as pb
from hub.operator_client import OperatorClient
from tests.kit.alliance import alliance
from tests.kit.federation import ENDED, Trainee, create_detector, plus, spec
from tests.kit.hub_cli import run
from tests.kit.hub_process import HubProcess, free_address
from tests.kit.member import RawMember
from tests.kit.waiting import eventually

LARGE = 2_000_000
ATTEMPTS = 5
SMALL_SPEC = spec()
LARGE_SPEC = pb.DetectorSpec(
    code="test",
    arrays=[pb.ArraySpec(name="w", dtype="float32", shape=[LARGE])],
    metrics=["accuracy"],
    aggregation="STRATEGY_FED_AVG",
    max_examples=1000,
)


class World:
    """A hub process to kill, its operator, three members and a detector they joined."""

    def __init__(self, hub: HubProcess, members: list[RawMember], specs: dict[str, pb.DetectorSpec]):
        self.hub, self.members, self.specs = hub, members, specs
        self.trainees: dict[RawMember, Trainee] = {}
        self._operator: OperatorClient | None = None
        settings, _ = hub.home.load()
        self.address = settings.server_address

    @property
    def operator(self) -> OperatorClient:
        if self._operator is None:
            self._operator = OperatorClient(self.hub.home.operator / "admin", self.address)
        return self._operator

    def watch(self, detector: str, *members: RawMember, holding: tuple[int, ...] = ()) -> None:
        """Opens the members' watches; those whose place is in `holding` take tasks and do not answer."""
        for n, member in enumerate(members or self.members):
            amount = None if n in holding else plus(float(n + 1), examples=10 * (n + 1))
            self.trainees[member] = Trainee(member, self.specs[detector], amount)

    def killed(self) -> None:
        self.hub.kill()
        if self._operator is not None:
            self._operator.close()
            self._operator = None

    def back(self) -> None:
        """The hub is started again; members dial it anew."""
        self.hub.start()
        for member in self.members:
            member.reconnect(self.address)

    def trigger(self, detector: str) -> str:
        request = pb.TriggerRoundRequest(detector=detector, rounds=1, quorum=3, deadline_seconds=60)
        return self.operator.call(request, pb.TriggerRoundResponse).round.name

    def round(self, name: str) -> pb.Round:
        return self.operator.call(pb.GetRoundRequest(name=name), pb.GetRoundResponse).round

    def rounds(self) -> list[pb.Round]:
        return list(self.operator.call(pb.ListRoundsRequest(page_size=100), pb.ListRoundsResponse).rounds)

    def until(self, name: str, wanted: Callable[[pb.Round], bool], *, pause: float = 0.01) -> pb.Round:
        def found() -> pb.Round | None:
            seen = self.round(name)
            return seen if wanted(seen) else None

        return eventually(found, f"what {name} should become", pause=pause)

    def stored_states(self) -> list[str]:
        """The states of all rounds, oldest first, as the dead hub left them."""
        with closing(sqlite3.connect(self.hub.home.database_file)) as database:
            return [state for (state,) in database.execute("SELECT state FROM round ORDER BY id")]

    def check_released(self, name: str, detector: str, *, start: float = 0.0) -> None:
        """Ended with the right average, every slot counted once, and the log whole."""
        done = self.until(name, lambda one: one.state in ENDED)
        assert done.state == pb.ROUND_STATE_RELEASED, done
        assert [p.state for p in done.participants] == [pb.PARTICIPANT_STATE_EVALUATED] * 3
        assert [(m.name, m.members) for m in done.metrics] == [("accuracy", 3)]
        reader = self.members[0]
        model = reader.call(pb.GetModelRequest(detector=detector), pb.GetModelResponse)
        assert model.digest == done.result_digest
        values = np.frombuffer(reader.download(model.digest)[-4:], np.float32)
        np.testing.assert_allclose(values, start + (1 * 10 + 2 * 20 + 3 * 30) / 60, rtol=1e-6)
        logged = events(reader, name)
        expected = {f"slot_{state}:{m.name}": 1 for m in self.members for state in ("reported", "evaluated")}
        expected |= {f"round_{state}": 1 for state in ("recruiting", "training", "aggregating", "evaluating")}
        assert logged == Counter({f"round_planned:{detector}": 1, "round_released": 1} | expected)
        assert run("audit", "verify", home=self.hub.home.path).code == 0


def events(reader: RawMember, subject: str) -> Counter[str]:
    """What the log says about a subject, once everything queued is in it."""

    def logged() -> Counter[str] | None:
        request, found = audit_pb2.ListLeavesRequest(page_size=1000), Counter[str]()
        while True:
            page = reader.call(request, audit_pb2.ListLeavesResponse)
            leaves = [AuditEvent.from_bytes(leaf.data) for leaf in page.leaves]
            found.update(leaf.event for leaf in leaves if leaf.subject == subject)
            request.page_token = page.next_page_token
            if not request.page_token:
                return found if found["round_released"] else None

    return eventually(logged, f"the release of {subject} in the log", pause=0.05)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Made by a hub in this process, then served by one that can be killed."""
    addresses = {"server_address": free_address(), "server_enrolment_address": free_address()}
    with alliance(members=3, folder=tmp_path, **addresses) as made:
        specs = {}
        for wanted in (SMALL_SPEC, LARGE_SPEC):
            specs[create_detector(made.hub, made.group, wanted, *made.members)] = wanted
        members = made.members
    with HubProcess(tmp_path) as hub, ExitStack() as closing_members:
        here = World(hub, members, specs)
        for member in members:
            member.reconnect(here.address)
            closing_members.callback(member.close)
        yield here
        here.killed()


def detector_of(world: World, wanted: pb.DetectorSpec) -> str:
    return next(name for name, one in world.specs.items() if one is wanted)


def reported(count: int) -> Callable[[pb.Round], bool]:
    return lambda one: sum(p.state == pb.PARTICIPANT_STATE_REPORTED for p in one.participants) == count


def evaluated(count: int) -> Callable[[pb.Round], bool]:
    return lambda one: sum(p.state == pb.PARTICIPANT_STATE_EVALUATED for p in one.participants) == count


def test_killed_while_recruiting(world: World) -> None:
    detector = detector_of(world, SMALL_SPEC)
    world.watch(detector, *world.members[:2])
    name = world.trigger(detector)
    world.until(name, lambda one: one.state == pb.ROUND_STATE_RECRUITING)
    world.killed()
    assert world.stored_states() == ["recruiting"]
    world.back()
    world.watch(detector)
    world.check_released(name, detector)


def test_killed_in_training_with_some_answers_in(world: World) -> None:
    detector = detector_of(world, SMALL_SPEC)
    world.watch(detector, holding=(2,))
    name = world.trigger(detector)
    world.until(name, reported(2))
    world.killed()
    assert world.stored_states() == ["training"]
    world.back()
    world.watch(detector)
    world.check_released(name, detector)
    asked = [[task.kind for task in world.trainees[member].tasks] for member in world.members]
    assert asked == [[pb.TASK_KIND_EVALUATE]] * 2 + [[pb.TASK_KIND_TRAIN, pb.TASK_KIND_EVALUATE]]


def test_killed_in_evaluating_with_some_answers_in(world: World) -> None:
    detector = detector_of(world, SMALL_SPEC)
    world.watch(detector, holding=(2,))
    name = world.trigger(detector)
    world.until(name, reported(2))
    slow = world.trainees[world.members[2]]
    slow.train = plus(3.0, examples=30)
    slow.answer(slow.tasks[0])
    slow.train = None
    world.until(name, evaluated(2))
    result = world.round(name).result_digest
    world.killed()
    assert world.stored_states() == ["evaluating"]
    world.back()
    world.watch(detector)
    world.check_released(name, detector)
    assert world.round(name).result_digest == result


def test_killed_while_aggregating(world: World) -> None:
    detector, start = detector_of(world, LARGE_SPEC), 0.0
    for _ in range(ATTEMPTS):
        world.watch(detector)
        name = world.trigger(detector)
        world.until(name, lambda one: one.state not in (pb.ROUND_STATE_PLANNED, pb.ROUND_STATE_RECRUITING,
                    pb.ROUND_STATE_TRAINING), pause=0.0)  # fmt: skip
        world.killed()
        caught = world.stored_states()[-1] == "aggregating"
        world.back()
        world.watch(detector)
        world.check_released(name, detector, start=start)
        if caught:
            return
        start += (1 * 10 + 2 * 20 + 3 * 30) / 60
    pytest.fail(f"the kill came too late {ATTEMPTS} times")


def scheduled(world: World, detector: str, *, in_seconds: float) -> None:
    wanted = pb.Schedule(
        name="schedules/nightly", detector=detector, interval_seconds=3600, rounds=1, quorum=3, deadline_seconds=60
    )
    wanted.next_time.FromNanoseconds(int((time.time() + in_seconds) * 1e9))
    world.operator.call(pb.CreateScheduleRequest(schedule=wanted), pb.CreateScheduleResponse)


def test_a_schedule_due_while_the_hub_was_down_starts_once(world: World) -> None:
    detector = detector_of(world, SMALL_SPEC)
    scheduled(world, detector, in_seconds=2.0)
    world.killed()
    assert world.stored_states() == []
    time.sleep(2.1)
    world.back()
    world.watch(detector)
    check_started_once(world, detector)


def test_a_schedule_due_just_before_the_kill_is_not_started_twice(world: World) -> None:
    detector = detector_of(world, SMALL_SPEC)
    scheduled(world, detector, in_seconds=0.3)
    eventually(world.rounds, "the schedule's round", pause=0.01)
    world.killed()
    world.back()
    world.watch(detector)
    check_started_once(world, detector)


def check_started_once(world: World, detector: str) -> None:
    """One round, also after the runner has looked at the schedule again."""
    found = eventually(world.rounds, "the schedule's round")
    world.check_released(found[0].name, detector)
    time.sleep(1.2)
    assert [one.name for one in world.rounds()] == [found[0].name]
    schedules = world.operator.call(pb.ListSchedulesRequest(), pb.ListSchedulesResponse).schedules
    assert time.time() + 3000 < schedules[0].next_time.ToSeconds() < time.time() + 3600
