"""Due schedules, open rounds and leases when two runners act at the same moment."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from sqlalchemy import Connection, select, update

from alliance.canonical import sha256
from alliance.errors import FailedPrecondition
from hub.app import Services
from hub.federation import round_store, store
from hub.federation.model import (
    SECOND,
    Participant,
    ParticipantState,
    RoundId,
    RoundState,
)
from hub.federation.runner import Runner
from hub.federation.work import LEASE, Work
from hub.runtime.db import RaceLost
from tests.kit.clock import ShiftedClock
from tests.kit.direct import ADMIN, DirectMember, race, read, write
from tests.kit.training import NIGHTLY, PLAN, Training, answered, encoded, uploads


@pytest.fixture
def training(services: Services, clock: ShiftedClock) -> Training:
    return Training(services, clock)


def test_a_due_schedule_is_claimed_by_one_of_two_runners(training: Training) -> None:
    training.schedule()
    services = training.services

    def start(tx: Connection) -> int:
        return services.rounds.start_due(tx)

    second = race(services, start, lambda: write(services, start))
    assert second == 0
    assert [one.detector for one in training.all_rounds()] == [training.detector]


def test_many_runners_start_a_due_schedule_once(training: Training) -> None:
    training.schedule()
    barrier = Barrier(4)

    def runner() -> int:
        barrier.wait()
        return write(training.services, training.services.rounds.start_due)

    with ThreadPoolExecutor(4) as pool:
        started = [pool.submit(runner) for _ in range(4)]
    assert sum(one.result() for one in started) == 1
    assert len(training.all_rounds()) == 1


def test_a_due_time_starts_once_even_if_the_schedule_were_set_back(training: Training) -> None:
    training.schedule()
    services = training.services
    before = read(services, lambda tx: store.schedules(tx, after=None, limit=1))[0]
    write(services, services.rounds.start_due)
    first = training.all_rounds()[0]
    write(services, lambda tx: services.rounds.cancel(tx, ADMIN, first.id))
    write(services, lambda tx: store.save_schedule(tx, before))
    with pytest.raises(RaceLost):
        write(services, services.rounds.start_due)
    assert [one.id for one in training.all_rounds()] == [first.id]


def test_pausing_while_a_runner_starts_keeps_the_schedules_next_time(training: Training) -> None:
    training.schedule()
    services = training.services
    paused = race(
        services,
        services.rounds.start_due,
        lambda: write(services, lambda tx: services.detectors.pause(tx, ADMIN, NIGHTLY)),
    )
    assert paused.next_time > training.now
    assert read(services, lambda tx: store.schedules(tx, after=None, limit=1)) == [paused]


def test_one_round_of_a_detector_is_open_at_a_time(training: Training) -> None:
    services, rounds = training.services, training.services.rounds
    with pytest.raises((RaceLost, FailedPrecondition)):
        race(services, lambda tx: rounds.trigger(tx, ADMIN, training.detector, PLAN, 1), training.trigger)
    assert len(training.all_rounds()) == 1
    with pytest.raises(FailedPrecondition, match="wait until it ends"):
        training.trigger()


def test_a_schedule_passes_over_a_detector_whose_round_is_open(training: Training) -> None:
    training.schedule()
    running = training.trigger()
    assert write(training.services, training.services.rounds.start_due) == 0
    assert [one.id for one in training.all_rounds()] == [running.id]


def test_one_runner_gets_the_work_and_its_outcome_counts_once(training: Training) -> None:
    round_id = training.aggregating()
    work = training.advance(round_id)
    assert work is not None
    assert training.advance(round_id) is None
    assert training.conclude(work, 1.0)
    assert not training.conclude(work, 2.0)
    found = training.found(round_id)
    assert (found.state, found.result_digest) == (RoundState.EVALUATING, sha256(encoded(1.0)))


def test_a_runner_whose_lease_was_taken_saves_nothing(training: Training) -> None:
    round_id = training.aggregating()
    slow = training.advance(round_id)
    training.clock.advance(seconds=LEASE / SECOND + 1)
    second = training.advance(round_id)
    assert slow is not None
    assert second is not None
    assert second.epoch > slow.epoch
    assert not training.conclude(slow, 9.0)
    assert training.found(round_id).state is RoundState.AGGREGATING
    assert training.conclude(second, 1.0)
    assert training.found(round_id).result_digest == sha256(encoded(1.0))


def test_a_lease_that_is_renewed_lasts_and_one_that_is_not_runs_out(training: Training) -> None:
    rounds, round_id = training.services.rounds, training.aggregating()
    work = training.advance(round_id)
    assert work is not None
    for _ in range(3):
        training.clock.advance(seconds=0.75 * LEASE / SECOND)
        write(training.services, lambda tx: rounds.renew(tx, [work]))
        assert training.advance(round_id) is None
    training.clock.advance(seconds=LEASE / SECOND + 1)
    other = training.advance(round_id)
    assert other is not None
    # Whose lease was taken renews nobody's.
    training.clock.advance(seconds=0.75 * LEASE / SECOND)
    write(training.services, lambda tx: rounds.renew(tx, [work]))
    training.clock.advance(seconds=0.75 * LEASE / SECOND)
    assert training.advance(round_id) is not None


def test_a_lease_that_ended_is_not_renewed(training: Training) -> None:
    round_id = training.aggregating()
    work = training.advance(round_id)
    assert work is not None
    write(training.services, training.services.rounds.recover)
    write(training.services, lambda tx: training.services.rounds.renew(tx, [work]))
    assert training.advance(round_id) is not None


def test_a_runner_keeps_its_lease_for_as_long_as_it_combines(training: Training) -> None:
    """The model it combines from is a pipe that nobody writes to, until the lease has long run out."""
    round_id, files = training.aggregating(), training.services.blobs.files
    model = files.path(training.found(round_id).model_digest)
    model.unlink()
    os.mkfifo(model)
    runner = Runner(training.services.rounds, files, training.services.db, renewal_seconds=0.01)
    runner.start()
    try:
        ends = time.monotonic() + 10
        while lease(training, round_id) <= training.now:
            assert time.monotonic() < ends
        for _ in range(3):
            training.clock.advance(seconds=0.75 * LEASE / SECOND)
            wanted = training.now + 0.9 * LEASE
            while lease(training, round_id) < wanted:
                assert time.monotonic() < ends
            assert training.advance(round_id) is None
    finally:
        # Opened for both never waits, and is a writer to whoever waits for one.
        os.close(os.open(model, os.O_RDWR))
        runner.stop()
    assert training.found(round_id).state is RoundState.FAILED
    assert lease(training, round_id) == 0


def test_two_runners_race_for_the_lease_and_one_wins(training: Training) -> None:
    round_id = training.aggregating()
    won: list[Work | None] = []

    def first(tx: Connection) -> None:
        won.append(training.services.rounds.advance(tx, round_id))

    won.append(race(training.services, first, lambda: training.advance(round_id)))
    assert [work is not None for work in won] == [True, False]


def test_what_was_cancelled_meanwhile_stays_cancelled(training: Training) -> None:
    round_id = training.aggregating()
    work = training.advance(round_id)
    assert work is not None
    training.cancel(round_id)
    assert not training.conclude(work, 1.0)
    found = training.found(round_id)
    assert (found.state, found.result_digest) == (RoundState.CANCELLED, None)


def test_the_leases_of_a_dead_process_are_void(training: Training) -> None:
    round_id = training.aggregating()
    dead = training.advance(round_id)
    assert dead is not None
    write(training.services, training.services.rounds.recover)
    again = training.advance(round_id)
    assert again is not None
    assert not training.conclude(dead, 9.0)
    assert training.conclude(again, 1.0)


def lease(training: Training, round_id: RoundId) -> int:
    """Until when it is held."""
    with training.services.db.read() as tx:
        query = select(round_store.round_table.c.lease_until).where(round_store.round_table.c.id == round_id)
        return int(tx.execute(query).scalar_one())


def submits(training: Training, member: DirectMember, round_id: RoundId) -> None:
    """The member's answer, its update uploaded before."""
    assert answered(training, member, round_id, uploads(training, member, encoded(1.0)), len(encoded(1.0)))


def test_the_last_answer_takes_the_round_on_and_hands_its_work_over_once_committed(training: Training) -> None:
    services = training.services
    told: list[tuple[RoundState, Work | None]] = []
    asked: list[list[str]] = []
    services.rounds.listen(
        asked=lambda members: asked.append(sorted(members)),
        ripe=lambda work: told.append((training.all_rounds()[0].state, work)),
    )
    round_id = training.trigger().id
    assert told == [(RoundState.PLANNED, None)]

    def present(tx: Connection) -> None:
        for member in training.members:
            services.membership.mark_present(tx, member.name, until=training.now + 40 * SECOND)

    write(services, present)
    assert training.advance(round_id) is None
    assert asked == [[member.name for member in training.members]]
    submits(training, training.members[0], round_id)
    assert training.found(round_id).state is RoundState.TRAINING
    assert len(told) == 1
    submits(training, training.members[1], round_id)
    (state, work), epoch = told[1], 1
    assert state is RoundState.AGGREGATING
    assert work is not None
    assert (work.round, work.epoch) == (training.found(round_id), epoch)
    # The lease came with the work.
    assert training.advance(round_id) is None
    assert training.conclude(work, 1.0)
    assert asked == [[member.name for member in training.members]] * 2
    assert training.found(round_id).state is RoundState.EVALUATING


def invited(training: Training, *members: DirectMember) -> RoundId:
    """A round in which these are asked to train."""
    made = training.trigger()
    slots = tuple(Participant(member=member.name) for member in members)

    def save(tx: Connection) -> None:
        training_round = replace(
            made, state=RoundState.TRAINING, participants=slots, phase_deadline=training.now + 60 * SECOND
        )
        round_store.save_round(tx, made, training_round)

    write(training.services, save)
    return made.id


def test_the_last_answer_stands_where_what_follows_from_it_fails(training: Training) -> None:
    """A third slot that cannot be read lets the last answer in, and not the round go on; once mended, it does."""
    third, told = DirectMember.join(training.services, "third"), list[Work | None]()
    round_id = invited(training, *training.members, third)
    training.services.rounds.listen(asked=lambda members: None, ripe=told.append)

    def state_of(member: DirectMember, state: str) -> None:
        slots = round_store.participant_table
        change = update(slots).where(slots.c.round == round_id, slots.c.member == member.name).values(state=state)
        write(training.services, lambda tx: tx.execute(change))

    submits(training, training.members[0], round_id)
    state_of(third, "lost")
    submits(training, training.members[1], round_id)
    assert told == []
    state_of(third, "dropped")
    found = training.found(round_id)
    assert found.state is RoundState.TRAINING
    assert [slot.state for slot in found.participants] == [
        ParticipantState.REPORTED,
        ParticipantState.DROPPED,
        ParticipantState.REPORTED,
    ]
    assert training.advance(round_id) is not None


def test_a_round_that_ended_is_left_as_it_is(training: Training) -> None:
    """A runner may come to it late: its series goes on once."""
    rounds = training.services.rounds
    first = write(training.services, lambda tx: rounds.trigger(tx, ADMIN, training.detector, PLAN, 2))

    def release(tx: Connection) -> None:
        round_store.save_round(tx, first, replace(first, state=RoundState.RELEASED, end_time=training.now))

    write(training.services, release)
    before = training.all_rounds()
    assert training.advance(first.id) is None
    assert training.all_rounds() == before


def test_only_rounds_that_wait_for_no_answer_are_ripe(training: Training) -> None:
    round_id = training.trigger().id

    def ripe() -> list[RoundId]:
        return read(training.services, training.services.rounds.ripe_rounds)

    assert ripe() == [round_id]
    slots = tuple(Participant(member=member.name) for member in training.members)

    def save(state: RoundState, slots: tuple[Participant, ...]) -> None:
        def saved(tx: Connection) -> None:
            found = round_store.lock_round(tx, round_id)
            assert found is not None
            round_store.save_round(tx, found, replace(found, state=state, participants=slots))

        write(training.services, saved)

    save(RoundState.TRAINING, slots)
    assert ripe() == []
    save(RoundState.TRAINING, tuple(replace(slot, state=ParticipantState.REPORTED) for slot in slots))
    assert ripe() == [round_id]
    save(RoundState.EVALUATING, tuple(replace(slot, state=ParticipantState.REPORTED) for slot in slots))
    assert ripe() == []
