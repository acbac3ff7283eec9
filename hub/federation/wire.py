"""Detectors and rounds between their wire form and their values; the store keeps specifications in wire form."""

from __future__ import annotations

import math
from collections import Counter

from alliance import tensors
from alliance.errors import InvalidInput
from alliance.gains import gain
from alliance.tensors import ArraySpec
from alliance.v1 import federation_pb2 as pb
from hub.federation.model import Detector, Participant, Round, RoundState, Schedule, Spec, StrategyName
from hub.federation.release import Model, ReleaseMode
from hub.runtime.caller import Caller
from hub.runtime.clock import timestamp

MAX_METRICS = 16
MAX_SETTINGS = 32


def parse_spec(spec: pb.DetectorSpec) -> Spec:
    """Raises: InvalidInput naming the field."""
    arrays = tuple(ArraySpec(name=a.name, dtype=a.dtype, shape=tuple(a.shape)) for a in spec.arrays)
    tensors.check_specs(arrays)
    if not 1 <= len(spec.metrics) <= MAX_METRICS or len(set(spec.metrics)) != len(spec.metrics):
        raise InvalidInput(f"a detector has 1 to {MAX_METRICS} metrics", field="spec.metrics", remedy="name them once")
    for text, field in ((spec.code, "spec.code"), *((name, "spec.metrics") for name in spec.metrics)):
        if not text or len(text) > 64 or not all(char.isalnum() or char in "-_." for char in text):
            raise InvalidInput(f"{text[:64]!r} is not a name", field=field, remedy="use letters, digits, - and _")
    try:
        strategy = StrategyName(pb.Strategy.Name(spec.aggregation).removeprefix("STRATEGY_").lower())
    except ValueError as error:
        raise InvalidInput(
            "unknown strategy", field="spec.aggregation", remedy=f"use one of {', '.join(StrategyName)}"
        ) from error
    if spec.max_examples < 1 or not math.isfinite(spec.max_update_norm) or spec.max_update_norm < 0:
        raise InvalidInput(
            "a bound is out of range", field="spec.max_examples", remedy="bound what one member counts for"
        )
    return Spec(
        code=spec.code,
        arrays=arrays,
        metrics=tuple(spec.metrics),
        strategy=strategy,
        strategy_settings=_settings(spec.aggregation_settings, "spec.aggregation_settings"),
        train_settings=_settings(spec.train_settings, "spec.train_settings"),
        max_examples=spec.max_examples,
        max_update_norm=spec.max_update_norm,
    )


def spec_message(spec: Spec) -> pb.DetectorSpec:
    return pb.DetectorSpec(
        code=spec.code,
        arrays=[pb.ArraySpec(name=a.name, dtype=a.dtype, shape=a.shape) for a in spec.arrays],
        metrics=spec.metrics,
        aggregation=f"STRATEGY_{spec.strategy.upper()}",
        aggregation_settings=[pb.Setting(name=n, value=v) for n, v in spec.strategy_settings],
        train_settings=[pb.Setting(name=n, value=v) for n, v in spec.train_settings],
        max_examples=spec.max_examples,
        max_update_norm=spec.max_update_norm,
    )


def detector_message(
    detector: Detector, released: Model, *, consents: int, joined: bool, caller: Caller
) -> pb.Detector:
    return pb.Detector(
        name=detector.id,
        group=detector.group,
        spec=spec_message(detector.spec),
        state=f"DETECTOR_STATE_{detector.state.upper()}",
        proposer=detector.proposer,
        create_time=timestamp(detector.create_time),
        consents=consents if caller.is_console else int(joined),
        joined=joined,
        model_digest=released.digest,
        model_version=released.version,
        release=f"MODEL_RELEASE_{detector.release.mode.upper()}",
        newest_version=detector.release.newest,
    )


def model_message(model: Model, detector: Detector, *, size: int) -> pb.Model:
    return pb.Model(
        version=model.version,
        digest=model.digest,
        size=size,
        round="" if model.round is None else f"rounds/{model.round}",
        trained_from=model.trained_from,
        create_time=timestamp(model.create_time),
        released=model.version == detector.release.released > 0,
        next_start=model.version == detector.release.start,
    )


def parse_release(release: int, *, said: bool = False) -> ReleaseMode:
    """What is unspecified is automatic, unless it must be `said`. Raises: InvalidInput."""
    if release == pb.MODEL_RELEASE_BY_PROMOTION:
        return ReleaseMode.BY_PROMOTION
    if release == pb.MODEL_RELEASE_AUTOMATIC or (release == pb.MODEL_RELEASE_UNSPECIFIED and not said):
        return ReleaseMode.AUTOMATIC
    known = ", ".join(ReleaseMode)
    raise InvalidInput(f"{release} is no way to release", field="release", remedy=f"use one of {known}")


def schedule_message(schedule: Schedule) -> pb.Schedule:
    return pb.Schedule(
        name=schedule.id,
        detector=schedule.detector,
        interval_seconds=schedule.interval // 1_000_000,
        rounds=schedule.rounds,
        quorum=schedule.plan.quorum,
        deadline_seconds=schedule.plan.deadline // 1_000_000,
        paused=schedule.paused,
        next_time=timestamp(schedule.next_time),
    )


def round_message(one: Round, caller: Caller) -> pb.Round:
    """Names to the console; to a member, its own slot. Of all slots how many, of metrics only a distribution."""
    shown = [p for p in one.participants if caller.is_console or p.member == caller.name]
    message = pb.Round(
        name=f"rounds/{one.id}",
        detector=one.detector,
        state=f"ROUND_STATE_{one.state.upper()}",
        number=one.number,
        quorum=one.plan.quorum,
        create_time=timestamp(one.create_time),
        deadline_time=timestamp(one.phase_deadline),
        reason=one.reason,
        model_digest=one.model_digest,
        result_digest=one.result_digest or b"",
        participants=[
            pb.Participant(member=p.member, state=f"PARTICIPANT_STATE_{p.state.upper()}", reason=p.reason)
            for p in shown
        ],
        metrics=summaries(one.participants) if one.state is RoundState.RELEASED else [],
        slots=[
            pb.SlotCount(state=f"PARTICIPANT_STATE_{state.upper()}", members=members)
            for state, members in sorted(Counter(p.state for p in one.participants).items())
        ],
    )
    if one.end_time is not None:
        message.end_time.CopyFrom(timestamp(one.end_time))
    return message


def summaries(participants: tuple[Participant, ...]) -> list[pb.MetricSummary]:
    """Each metric over the members that evaluated, without names."""
    names = list(dict.fromkeys(name for p in participants for name, _ in p.metrics))
    found = []
    for name in names:
        pairs = [(dict(p.metrics)[name], dict(p.local).get(name)) for p in participants if name in dict(p.metrics)]
        federated = [value for value, _ in pairs]
        alone = [(value, local) for value, local in pairs if local is not None]
        found.append(
            pb.MetricSummary(
                name=name,
                members=len(federated),
                federated_mean=sum(federated) / len(federated),
                federated_least=min(federated),
                local_mean=sum(local for _, local in alone) / len(alone) if alone else 0.0,
                members_not_worse=sum(gain(name, value, local) >= 0 for value, local in alone),
            )
        )
    return found


def _settings(settings: object, field: str) -> tuple[tuple[str, float], ...]:
    found = tuple((s.name, s.value) for s in settings)  # type: ignore[attr-defined]  # because repeated fields are untyped
    if len(found) > MAX_SETTINGS or len(dict(found)) != len(found):
        raise InvalidInput(f"at most {MAX_SETTINGS} settings, each once", field=field)
    for name, value in found:
        if not math.isfinite(value) or not name or len(name) > 64:
            raise InvalidInput(f"setting {name[:64]!r} is not a finite number", field=field)
    return found
