"""A member's three models, its own, the shared one and the blend, judged on rows it held back; and which is better."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from alliance.gains import gain
from alliance.names import MemberId
from hub.federation.model import Participant, ParticipantState
from hub.federation.wire import summaries
from member_agent.catalog.readers.records import Record
from member_agent.training.dataset import Dataset
from member_agent.training.detector import PROXIMAL_MU, SERVER_ROUND, Settings
from member_agent.training.detectors.url_risk import UrlRisk
from member_agent.training.flower import ALONE, BLENDED, EVALUATE, METRICS, client_app, context, instruction
from member_agent.training.learner import MOST_ALONE, Learner

SETTINGS = {"bits": 10.0, "rate": 0.3}
CODE = UrlRisk()


def learner(words: Mapping[str, str], seed: int, *, alone_rounds: int | None = 5) -> Learner:
    """A member whose URLs hold these words, each with its label."""
    draw = np.random.default_rng(seed)
    made = []
    for n in range(200):
        word = list(words)[int(draw.integers(len(words)))]
        made.append(Record(n, {"url": f"http://shop{seed}{n}.example/{word}", "label": words[word]}))

    def read(settings: Settings) -> Dataset:
        return CODE.read(made, {"url": "url", "label": "label"}, settings)

    return Learner(CODE, read, seed=seed, alone_rounds=alone_rounds)


def test_each_of_the_three_is_judged_as_the_detector_judges_it() -> None:
    mine = learner({"paypal": "1", "shoes": "0"}, 1)
    # What others learnt is the reverse of what is true here.
    theirs = learner({"paypal": "0", "shoes": "1"}, 2).alone(SETTINGS)
    found = mine.evaluate(theirs, SETTINGS)
    held_back, settings = mine.data(SETTINGS)[1], {**CODE.settings, **SETTINGS}
    assert found.examples == len(held_back)
    assert found.shared == CODE.evaluate(theirs, held_back, settings)
    assert found.alone == CODE.evaluate(mine.alone(SETTINGS), held_back, settings)
    assert found.blended == CODE.evaluate(mine.blended(theirs, SETTINGS), held_back, settings)
    assert found.shared["accuracy"] == 0.0
    assert found.alone["accuracy"] == 1.0


def test_the_own_model_is_trained_as_long_as_the_shared_one() -> None:
    words = {"paypal": "1", "shoes": "0"}
    mine = learner(words, 1, alone_rounds=None)
    rows, settings = mine.data(SETTINGS)[0], {**CODE.settings, **SETTINGS}
    arrays, after = CODE.initial(settings), {0: CODE.initial(settings)["w"]}
    for number in range(1, 5):
        arrays = CODE.train(arrays, rows, settings, np.random.default_rng((1, number))).arrays
        after[number] = arrays["w"]
    for number in (0, 1, 4, 2):
        told = {**SETTINGS, SERVER_ROUND: float(number), PROXIMAL_MU: 50.0}
        assert np.array_equal(mine.alone(told)["w"], after[number]), number
    assert not np.array_equal(after[4], after[2])
    # What the hub is told is by that model, the round's number being the message's.
    message = instruction(EVALUATE, CODE.initial(settings), SETTINGS, 3)
    told_figures = client_app(mine)(message, context()).content.metric_records[METRICS]
    expected = CODE.evaluate({**arrays, "w": after[3]}, mine.data(SETTINGS)[1], settings)
    assert told_figures[ALONE + "accuracy"] == expected["accuracy"]


def test_the_own_model_is_not_trained_for_ever() -> None:
    mine = learner({"paypal": "1", "shoes": "0"}, 1, alone_rounds=None)
    settled = mine.alone({**SETTINGS, SERVER_ROUND: float(MOST_ALONE)})
    assert mine.alone({**SETTINGS, SERVER_ROUND: 1e9}) is settled


def test_two_half_models_blend_into_one_that_knows_both() -> None:
    everywhere = {"paypal": "1", "shoes": "0", "login": "1", "about": "0"}
    mine = learner(everywhere, 1)
    half = learner({"paypal": "1", "shoes": "0"}, 2).alone(SETTINGS)
    other = learner({"login": "1", "about": "0"}, 3).alone(SETTINGS)
    held_back, settings = mine.data(SETTINGS)[1], {**CODE.settings, **SETTINGS}
    each = [CODE.evaluate(arrays, held_back, settings)["accuracy"] for arrays in (half, other)]
    assert CODE.evaluate(CODE.blend(half, other), held_back, settings)["accuracy"] == 1.0
    assert max(each) < 1.0


def test_a_reply_tells_the_three_apart() -> None:
    mine = learner({"paypal": "1", "shoes": "0"}, 1)
    message = instruction(EVALUATE, mine.alone(SETTINGS), SETTINGS, 1)
    told = set(client_app(mine)(message, context()).content.metric_records[METRICS])
    assert told == {"num-examples"} | {mark + name for name in CODE.metrics for mark in ("", ALONE, BLENDED)}


@pytest.mark.parametrize(
    ("metric", "value", "against", "better"),
    [("pr_auc", 0.9, 0.8, 0.1), ("false_positive_rate", 0.1, 0.3, 0.2), ("false_positive_rate", 0.3, 0.1, -0.2)],
)
def test_a_gain_is_positive_where_the_figure_is_better(
    metric: str, value: float, against: float, better: float
) -> None:
    assert gain(metric, value, against) == pytest.approx(better)


def test_members_not_worse_are_counted_by_the_direction_of_each_figure() -> None:
    slots = tuple(
        Participant(
            member=MemberId(f"members/m{n}"),
            state=ParticipantState.EVALUATED,
            metrics=(("accuracy", 0.9), ("false_positive_rate", rate)),
            local=(("accuracy", 0.8), ("false_positive_rate", 0.2)),
        )
        for n, rate in enumerate((0.1, 0.2, 0.3))
    )
    assert [(one.name, one.members_not_worse) for one in summaries(slots)] == [
        ("accuracy", 3),
        ("false_positive_rate", 2),
    ]
