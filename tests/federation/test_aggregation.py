"""Aggregation block by block is Flower's on whole arrays, to the bit; what is bad is refused wherever it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from alliance import tensors
from alliance.names import Digest, GroupId, MemberId
from alliance.tensors import Arrays
from hub.blobs.files import BlobFiles
from hub.federation import aggregation
from hub.federation.aggregation import aggregate
from hub.federation.flower import StrategyRound, Update
from hub.federation.model import (
    SECOND,
    Detector,
    DetectorId,
    DetectorState,
    Participant,
    ParticipantState,
    Plan,
    Round,
    RoundId,
    RoundState,
    Spec,
    StrategyName,
)
from hub.federation.work import Outcome, Work

SHAPES = {
    "w": ((4, 3), "float32"),
    "a-name-as-long-as-a-name-may-be-which-is-64-characters-and-not-1": ((5,), "float64"),
}
SPECS = tuple(tensors.ArraySpec(name=name, dtype=dtype, shape=shape) for name, (shape, dtype) in SHAPES.items())
MEMBERS = [MemberId(f"members/{name}") for name in ("one", "two", "three")]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlobFiles:
    """Blocks end inside arrays, and one holds the end of one and the start of the other."""
    monkeypatch.setattr(aggregation, "BLOCK", 5)
    return BlobFiles(tmp_path)


def arrays(seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    return {spec.name: rng.normal(size=spec.shape).astype(spec.dtype) for spec in SPECS}


def work(
    files: BlobFiles,
    updates: Sequence[bytes | None],
    *,
    strategy: StrategyName = StrategyName.FED_AVG,
    model: Mapping[str, np.ndarray] | None = None,
    number: int = 1,
    state: Digest | None = None,
    most: float = 0.0,
    quorum: int = 2,
) -> Work:
    """A round whose members sent these bytes; None was lost."""
    start = files.put(tensors.encode(arrays(0) if model is None else model))
    lost = Digest(bytes(32))
    slots = tuple(
        Participant(
            member=member,
            state=ParticipantState.REPORTED,
            update_digest=lost if data is None else files.put(data),
            examples=n + 1,
        )
        for n, (member, data) in enumerate(zip(MEMBERS, updates, strict=True))
    )
    spec = Spec(
        code="test",
        arrays=SPECS,
        metrics=("accuracy",),
        strategy=strategy,
        strategy_settings=(),
        train_settings=(),
        max_examples=100,
        max_update_norm=most,
    )
    detector = Detector(
        id=DetectorId("detectors/d"),
        group=GroupId("groups/g"),
        spec=spec,
        state=DetectorState.APPROVED,
        proposer="operators/o",
        create_time=0,
        model_digest=start,
        state_digest=state,
    )
    running = Round(
        id=RoundId(number),
        detector=detector.id,
        state=RoundState.AGGREGATING,
        number=number,
        plan=Plan(quorum=quorum, deadline=SECOND),
        left=0,
        create_time=0,
        phase_deadline=0,
        model_digest=start,
        participants=slots,
    )
    return Work(round=running, detector=detector, epoch=1)


def made(files: BlobFiles, outcome: Outcome) -> Arrays:
    assert outcome.model is not None, outcome
    data = files.read_all(outcome.model.digest)
    assert len(data) == outcome.model.size == tensors.encoded_size(SPECS)
    return tensors.decode(data, SPECS)


@pytest.mark.parametrize("strategy", list(StrategyName))
def test_blocks_put_together_are_what_the_strategy_makes_of_whole_arrays(
    files: BlobFiles, strategy: StrategyName
) -> None:
    model, moments, state = arrays(0), dict[str, np.ndarray](), None
    for number in (1, 2, 3):
        sent = [arrays(10 * number + n) for n in range(3)]
        whole = StrategyRound(strategy, {}, number=number, nodes=range(3), state=moments).aggregate(
            model.__getitem__,
            SPECS,
            [Update(node=n, examples=n + 1, read=one.__getitem__) for n, one in enumerate(sent)],
        )
        asked = work(files, list(map(tensors.encode, sent)), strategy=strategy, model=model, number=number, state=state)
        outcome = aggregate(asked, files)
        found = made(files, outcome)
        for name, array in whole.arrays.items():
            np.testing.assert_array_equal(found[name], array)
        assert (outcome.state is None) == (not whole.state)
        model, moments, state = whole.arrays, whole.state, outcome.state and outcome.state.digest


def spoilt(value: float, name: str, at: int) -> bytes:
    bad = arrays(3)
    bad[name].reshape(-1)[at] = value
    return tensors.encode(bad)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (spoilt(np.nan, SPECS[0].name, 0), "NOT_FINITE"),
        (spoilt(np.inf, SPECS[1].name, -1), "NOT_FINITE"),
        (spoilt(1e30, SPECS[0].name, 7), "UPDATE_TOO_LARGE"),
        (spoilt(1e300, SPECS[1].name, -1), "UPDATE_TOO_LARGE"),
        (tensors.encode(arrays(3))[:-8], "TENSORS_UNEXPECTED"),
        (tensors.encode({"w": np.zeros((3, 4), np.float32)}), "TENSORS_UNEXPECTED"),
    ],
    ids=["first value", "last value", "too far", "square overflows", "cut off", "other arrays"],
)
def test_a_bad_update_is_refused_wherever_it_is_bad_and_the_others_count(
    files: BlobFiles, bad: bytes, reason: str
) -> None:
    good = [arrays(1), arrays(2)]
    outcome = aggregate(work(files, [tensors.encode(good[0]), bad, tensors.encode(good[1])], most=100.0), files)
    ((member, why),) = outcome.refused
    assert (member, reason in why) == (MEMBERS[1], True), why
    found = made(files, outcome)
    for spec in SPECS:
        np.testing.assert_allclose(found[spec.name], (good[0][spec.name] + 3 * good[1][spec.name]) / 4, rtol=1e-6)


def test_what_the_hub_lost_itself_fails_the_round_and_no_member_is_blamed(files: BlobFiles) -> None:
    outcome = aggregate(work(files, [tensors.encode(arrays(1)), None, tensors.encode(arrays(2))]), files)
    assert (outcome.model, outcome.refused) == (None, ())
    assert "[STORAGE]" in outcome.failure


def test_too_few_good_ones_fail_the_round_and_leave_nothing(files: BlobFiles, tmp_path: Path) -> None:
    bad = spoilt(np.nan, "w", 11)
    asked = work(files, [bad, tensors.encode(arrays(1)), bad])
    before = sorted(tmp_path.rglob("*"))
    outcome = aggregate(asked, files)
    assert outcome.model is None
    assert "quorum missed: 1 of 2" in outcome.failure
    assert [member for member, _ in outcome.refused] == [MEMBERS[0], MEMBERS[2]]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_strategy_that_diverges_fails_the_round_and_no_member_is_blamed(files: BlobFiles) -> None:
    huge = {spec.name: np.full(spec.shape, np.finfo(spec.dtype).max, spec.dtype) for spec in SPECS}
    model = {name: -array for name, array in huge.items()}
    outcome = aggregate(work(files, [tensors.encode(huge)] * 3, strategy=StrategyName.FED_ADAGRAD, model=model), files)
    assert "its settings diverge" in outcome.failure
    assert outcome.refused == ()
