"""Detectors, schedules, rounds and their participants; pure, times in microseconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NewType

from alliance.errors import FailedPrecondition, InvalidInput
from alliance.names import Digest, GroupId, MemberId
from alliance.tensors import ArraySpec
from hub.federation.release import NOTHING, Release, ReleaseMode

DetectorId = NewType("DetectorId", str)
ScheduleId = NewType("ScheduleId", str)
RoundId = NewType("RoundId", int)
SECOND = 1_000_000


class StrategyName(StrEnum):
    FED_AVG = "fed_avg"
    FED_PROX = "fed_prox"
    FED_ADAM = "fed_adam"
    FED_YOGI = "fed_yogi"
    FED_ADAGRAD = "fed_adagrad"


class DetectorState(StrEnum):
    PROPOSED = "proposed"
    APPROVED = "approved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What every participant must agree on; settings are numbers under names the detector's code declares."""

    code: str
    arrays: tuple[ArraySpec, ...]
    metrics: tuple[str, ...]
    strategy: StrategyName
    strategy_settings: tuple[tuple[str, float], ...] = ()
    train_settings: tuple[tuple[str, float], ...] = ()
    max_examples: int = 1_000_000
    max_update_norm: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """`model_digest` is what the next round begins from, `state_digest` the strategy's own state with it (moments)."""

    id: DetectorId
    group: GroupId
    spec: Spec
    state: DetectorState
    proposer: str
    create_time: int
    model_digest: Digest
    state_digest: Digest | None = None
    release: Release = NOTHING

    def approve(self, mode: ReleaseMode = ReleaseMode.AUTOMATIC) -> Detector:
        if self.state is not DetectorState.PROPOSED:
            raise FailedPrecondition(f"{self.id} is {self.state} already", reason="DETECTOR_STATE")
        return replace(self, state=DetectorState.APPROVED, release=replace(self.release, mode=mode))

    def require_approved(self) -> None:
        if self.state is not DetectorState.APPROVED:
            raise FailedPrecondition(
                f"{self.id} is not approved", reason="DETECTOR_STATE", remedy="ask an operator to approve it"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a round is run: at least `quorum` members, at most `deadline` microseconds per phase."""

    quorum: int
    deadline: int

    def __post_init__(self) -> None:
        if self.quorum < 2:
            raise InvalidInput("a quorum is at least 2 members", field="quorum", remedy="5 is the usual minimum")
        if not SECOND <= self.deadline <= 30 * 86_400 * SECOND:
            raise InvalidInput("a deadline is 1 second to 30 days", field="deadline_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    id: ScheduleId
    detector: DetectorId
    interval: int
    rounds: int
    plan: Plan
    next_time: int
    paused: bool = False


class RoundState(StrEnum):
    PLANNED = "planned"
    RECRUITING = "recruiting"
    TRAINING = "training"
    AGGREGATING = "aggregating"
    EVALUATING = "evaluating"
    RELEASED = "released"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({RoundState.RELEASED, RoundState.FAILED, RoundState.CANCELLED})


class ParticipantState(StrEnum):
    """A slot's life: invited -> reported -> evaluated, or refused, or dropped."""

    INVITED = "invited"
    REPORTED = "reported"
    REFUSED = "refused"
    DROPPED = "dropped"
    EVALUATED = "evaluated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """One member's slot. `examples` are capped; `metrics` and `local` are its evaluation, federated and alone."""

    member: MemberId
    state: ParticipantState = ParticipantState.INVITED
    update_digest: Digest | None = None
    examples: int = 0
    reason: str = ""
    metrics: tuple[tuple[str, float], ...] = ()
    local: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """`phase_deadline` ends the state it is in; `left` rounds follow this one."""

    id: RoundId
    detector: DetectorId
    state: RoundState
    number: int
    plan: Plan
    left: int
    create_time: int
    phase_deadline: int
    model_digest: Digest
    result_digest: Digest | None = None
    state_digest: Digest | None = None
    end_time: int | None = None
    reason: str = ""
    participants: tuple[Participant, ...] = field(default=())

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def of(self, member: MemberId) -> Participant | None:
        return next((p for p in self.participants if p.member == member), None)

    def with_participant(self, changed: Participant) -> Round:
        listed = tuple(changed if p.member == changed.member else p for p in self.participants)
        return replace(self, participants=listed)

    def count(self, *states: ParticipantState) -> int:
        return sum(p.state in states for p in self.participants)
