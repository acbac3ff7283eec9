"""The round machine over its whole life, pure: every state, every way out, every ending at most once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alliance.names import Digest, MemberId
from hub.federation import round as machine
from hub.federation import schedule
from hub.federation.model import (
    SECOND,
    DetectorId,
    ParticipantState,
    Plan,
    Round,
    RoundId,
    RoundState,
    Schedule,
    ScheduleId,
)
from hub.federation.round import Action, step

A, B, C = (MemberId(f"members/{name}") for name in "abc")
PLAN = Plan(quorum=2, deadline=60 * SECOND)
START = 1_000 * SECOND


def planned() -> Round:
    return Round(
        id=RoundId(1),
        detector=DetectorId("detectors/d"),
        state=RoundState.PLANNED,
        number=1,
        plan=PLAN,
        left=0,
        create_time=START,
        phase_deadline=START + PLAN.deadline,
        model_digest=Digest(bytes(32)),
    )


def recruiting() -> Round:
    return step(planned(), START, [], []).round


def training() -> Round:
    return step(recruiting(), START + 1, [A, B, C], [A, B, C]).round


def with_states(one: Round, **states: ParticipantState) -> Round:
    changed = one
    for name, state in states.items():
        slot = changed.of(MemberId(f"members/{name}"))
        assert slot is not None
        changed = changed.with_participant(replace(slot, state=state))
    return changed


def test_a_planned_round_recruits() -> None:
    made = step(planned(), START, [], [])
    assert (made.round.state, made.action) == (RoundState.RECRUITING, Action.AGAIN)


def test_everyone_there_starts_at_once() -> None:
    made = step(recruiting(), START + 1, [B, A], [A, B])
    assert made.round.state is RoundState.TRAINING
    assert [p.member for p in made.round.participants] == [A, B]


def test_a_quorum_waits_a_moment_for_the_others() -> None:
    waiting = step(recruiting(), START + 1, [A, B], [A, B, C])
    assert waiting.action is Action.WAIT
    started = step(recruiting(), START + machine.GRACE, [A, B], [A, B, C])
    assert started.round.state is RoundState.TRAINING
    hasty = replace(recruiting(), plan=Plan(quorum=2, deadline=SECOND))
    assert step(hasty, START + SECOND // 10, [A, B], [A, B, C]).round.state is RoundState.TRAINING


def test_a_missed_quorum_closes_at_its_deadline_with_the_reason() -> None:
    before = step(recruiting(), START + PLAN.deadline - 1, [A], [A, B, C])
    assert before.action is Action.WAIT
    closed = step(recruiting(), START + PLAN.deadline, [A], [A, B, C])
    assert closed.round.state is RoundState.FAILED
    assert "quorum missed: 1 of 2" in closed.round.reason
    assert closed.round.end_time == START + PLAN.deadline


def test_training_waits_for_all_slots_and_drops_stragglers_at_the_deadline() -> None:
    two = with_states(training(), a=ParticipantState.REPORTED, b=ParticipantState.REPORTED)
    assert step(two, START + 2, [], []).action is Action.WAIT
    late = step(two, two.phase_deadline, [], [])
    assert late.round.state is RoundState.AGGREGATING
    straggler = late.round.of(C)
    assert straggler is not None
    assert (straggler.state, straggler.reason) == (ParticipantState.DROPPED, "no result by the deadline")


def test_training_fails_below_the_quorum() -> None:
    one = with_states(training(), a=ParticipantState.REPORTED, b=ParticipantState.REFUSED, c=ParticipantState.REFUSED)
    assert step(one, START + 2, [], []).round.state is RoundState.FAILED


def test_aggregating_asks_for_work_again_after_a_restart() -> None:
    ready = replace(training(), state=RoundState.AGGREGATING)
    assert [step(ready, START + n, [], []).action for n in (2, 3)] == [Action.AGGREGATE] * 2


def test_evaluation_releases_when_all_have_evaluated_or_at_the_deadline() -> None:
    reported = with_states(training(), a=ParticipantState.REPORTED, b=ParticipantState.REPORTED)
    evaluating = machine.aggregated(reported, START + 5, Digest(b"r" * 32), None)
    assert step(evaluating, START + 6, [], []).action is Action.WAIT
    done = with_states(evaluating, a=ParticipantState.EVALUATED, b=ParticipantState.EVALUATED)
    assert step(done, START + 6, [], []).round.state is RoundState.RELEASED
    assert step(evaluating, evaluating.phase_deadline, [], []).round.state is RoundState.RELEASED


@pytest.mark.parametrize("state", [ParticipantState.INVITED, ParticipantState.REPORTED])
def test_who_is_gone_before_the_sum_is_dropped_with_its_update(state: ParticipantState) -> None:
    without = machine.gone(with_states(training(), b=state), {B})
    slot = without.of(B)
    assert slot is not None
    assert (slot.state, slot.reason) == (ParticipantState.DROPPED, "no longer taking part")


def test_while_it_is_summed_an_update_stays_and_afterwards_nobody_waits_for_who_is_gone() -> None:
    done = with_states(
        training(), a=ParticipantState.REPORTED, b=ParticipantState.REPORTED, c=ParticipantState.REPORTED
    )
    summing = replace(done, state=RoundState.AGGREGATING)
    assert machine.gone(summing, {B}) == summing
    evaluating = with_states(
        machine.aggregated(summing, START + 5, Digest(b"r" * 32), None),
        a=ParticipantState.EVALUATED,
        c=ParticipantState.EVALUATED,
    )
    without = machine.gone(evaluating, {A, B})
    assert step(without, START + 6, [], []).round.state is RoundState.RELEASED
    assert [p.state for p in without.participants] == [
        ParticipantState.EVALUATED,
        ParticipantState.DROPPED,
        ParticipantState.EVALUATED,
    ]


@pytest.mark.parametrize("state", [RoundState.RELEASED, RoundState.FAILED, RoundState.CANCELLED])
def test_what_ended_stays(state: RoundState) -> None:
    ended = replace(planned(), state=state, end_time=START)
    assert step(ended, START + 10**12, [A, B], [A, B]).round is ended


def nightly(**changes: object) -> Schedule:
    made = Schedule(
        id=ScheduleId("schedules/s"),
        detector=DetectorId("detectors/d"),
        interval=100 * SECOND,
        rounds=1,
        plan=PLAN,
        next_time=START,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # because the keywords are the fields' own


def test_a_schedule_fires_once_however_long_the_hub_was_away() -> None:
    assert schedule.due(nightly(), START - 1) is None
    found = schedule.due(nightly(), START + 350 * SECOND)
    assert found is not None
    assert found.due_time == START + 300 * SECOND
    assert found.schedule.next_time == START + 400 * SECOND
    assert schedule.due(found.schedule, START + 350 * SECOND) is None


def test_a_paused_schedule_is_not_due_and_resumes_on_its_beat() -> None:
    paused = nightly(paused=True)
    assert schedule.due(paused, START + 10**12) is None
    resumed = schedule.resumed(paused, START + 250 * SECOND)
    assert resumed.next_time == START + 300 * SECOND
    assert not resumed.paused
