"""The round machine: a pure `step(round, now, present) -> (round, action)`; the runner is dull.

planned -> recruiting -> training -> aggregating -> evaluating -> released; failed and cancelled end it from
anywhere. Each call makes at most one transition, so each can be one transaction; stepping again from what
was stored goes on where a killed hub stopped. A slot is a member: dropped at its phase's deadline, and what
comes late changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from alliance.names import Digest, MemberId
from hub.federation.model import SECOND, Participant, ParticipantState, Round, RoundState

# With a quorum there, recruiting gives the others so long, or a tenth of the deadline: agents whose connection
# broke, or whose hub came back, dial again within about two seconds.
GRACE = 2 * SECOND


class Action(StrEnum):
    """What the runner does after storing a step: look again later, at once, or aggregate first."""

    WAIT = "wait"
    AGAIN = "again"
    AGGREGATE = "aggregate"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`wake` is when to look again at the latest, microseconds; `round` is what to store, if it changed."""

    round: Round
    action: Action
    wake: int


def step(current: Round, now: int, present: Collection[MemberId], consenting: Collection[MemberId]) -> Step:
    """One transition, or none.

    Args:
        present: consenting members whose agents are connected now.
        consenting: all members that consented and are active.
    """
    match current.state:
        case RoundState.PLANNED:
            opened = replace(current, state=RoundState.RECRUITING, phase_deadline=now + current.plan.deadline)
            return Step(round=opened, action=Action.AGAIN, wake=now)
        case RoundState.RECRUITING:
            return _recruit(current, now, present, consenting)
        case RoundState.TRAINING:
            return _collect(current, now, done=ParticipantState.REPORTED, then=RoundState.AGGREGATING)
        case RoundState.AGGREGATING:
            return Step(round=current, action=Action.AGGREGATE, wake=now)
        case RoundState.EVALUATING:
            return _evaluated(current, now)
        case RoundState.RELEASED | RoundState.FAILED | RoundState.CANCELLED:
            return Step(round=current, action=Action.END, wake=now)
    assert_never(current.state)


def _recruit(current: Round, now: int, present: Collection[MemberId], consenting: Collection[MemberId]) -> Step:
    everyone = set(consenting) <= set(present)
    enough = len(present) >= current.plan.quorum
    patient_until = current.create_time + min(GRACE, current.plan.deadline // 10)
    if enough and (everyone or now >= patient_until):
        roster = tuple(Participant(member=member) for member in sorted(present))
        training = replace(
            current, state=RoundState.TRAINING, participants=roster, phase_deadline=now + current.plan.deadline
        )
        return Step(round=training, action=Action.WAIT, wake=training.phase_deadline)
    if now >= current.phase_deadline:
        reason = f"{len(present)} of {current.plan.quorum} members were there by the deadline"
        return Step(round=fail(current, now, f"quorum missed: {reason}"), action=Action.END, wake=now)
    wake = min(current.phase_deadline, max(now + SECOND, patient_until))
    return Step(round=current, action=Action.WAIT, wake=wake)


def _collect(current: Round, now: int, *, done: ParticipantState, then: RoundState) -> Step:
    """Waits for every slot, or the deadline; goes on with a quorum of those that are done."""
    late = now >= current.phase_deadline
    if current.count(ParticipantState.INVITED) and not late:
        return Step(round=current, action=Action.WAIT, wake=current.phase_deadline)
    closed = _drop(current, ParticipantState.INVITED, "no result by the deadline")
    reported = closed.count(done)
    if reported < current.plan.quorum:
        why = f"quorum missed: {reported} of {current.plan.quorum} members reported"
        return Step(round=fail(closed, now, why), action=Action.END, wake=now)
    return Step(round=replace(closed, state=then), action=Action.AGAIN, wake=now)


def _evaluated(current: Round, now: int) -> Step:
    """Evaluation informs; a member that does not evaluate holds nothing up beyond the deadline."""
    if current.count(ParticipantState.REPORTED) and now < current.phase_deadline:
        return Step(round=current, action=Action.WAIT, wake=current.phase_deadline)
    released = replace(current, state=RoundState.RELEASED, end_time=now)
    return Step(round=released, action=Action.END, wake=now)


def aggregated(current: Round, now: int, result: Digest, state: Digest | None) -> Round:
    """The transition the runner stores together with the aggregate it computed."""
    return replace(
        current,
        state=RoundState.EVALUATING,
        result_digest=result,
        state_digest=state,
        phase_deadline=now + current.plan.deadline,
    )


def fail(current: Round, now: int, reason: str) -> Round:
    return replace(current, state=RoundState.FAILED, reason=reason, end_time=now)


def cancel(current: Round, now: int, reason: str) -> Round:
    return replace(current, state=RoundState.CANCELLED, reason=reason, end_time=now)


def gone(current: Round, members: Collection[MemberId]) -> Round:
    """Drops members that were suspended, expelled or took back their consent during the round.

    Their update counts only if it was being aggregated already; nobody waits for their answer.
    """
    changed = current
    for slot in current.participants:
        awaited = slot.state is ParticipantState.INVITED
        reported = slot.state is ParticipantState.REPORTED
        if slot.member not in members or not (awaited or reported):
            continue
        if awaited or current.state is RoundState.TRAINING:
            reason = "no longer taking part"
        elif current.state is RoundState.EVALUATING:
            reason = "no longer taking part; its update counted"
        else:
            continue
        changed = changed.with_participant(replace(slot, state=ParticipantState.DROPPED, reason=reason))
    return changed


def _drop(current: Round, state: ParticipantState, reason: str) -> Round:
    listed = tuple(
        replace(p, state=ParticipantState.DROPPED, reason=reason) if p.state is state else p
        for p in current.participants
    )
    return replace(current, participants=listed)
