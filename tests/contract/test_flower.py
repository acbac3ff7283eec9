"""Flower 1.41.0 as the two adapters use it: every private name, and the behaviour that our own loop stands on."""

from __future__ import annotations

import inspect
from functools import partial
from importlib.metadata import version

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, strategy
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from alliance.tensors import Arrays, ArraySpec
from hub.federation.flower import ARRAYS, METRICS, SETTINGS, WEIGHT, RoundGrid, StrategyRound, Update, array_values
from hub.federation.model import StrategyName
from member_agent.catalog.readers.records import Record
from member_agent.training import flower
from member_agent.training.detector import PROXIMAL_MU, SERVER_ROUND
from member_agent.training.detectors.null import NullDetector
from member_agent.training.detectors.tabular_risk import TabularRisk
from member_agent.training.learner import Learner

SPECS = (ArraySpec(name="w", dtype="float32", shape=(4,)),)
MOVING = (StrategyName.FED_ADAM, StrategyName.FED_YOGI, StrategyName.FED_ADAGRAD)


def test_the_version_that_the_adapters_are_written_for() -> None:
    assert version("flwr") == "1.41.0"


def test_private_names_are_where_they_were() -> None:
    assert {"run_id", "node_id", "task_id"} <= set(dir(type(TaskIdentity)))
    assert Run.create_empty(7).run_id == 7
    assert {"dtype", "shape", "stype", "data"} <= set(inspect.signature(Array.__init__).parameters)


def test_flower_asks_a_grid_for_nothing_that_ours_has_not() -> None:
    assert Grid.__abstractmethods__ == {
        "set_run",
        "run",
        "create_message",
        "get_node_ids",
        "push_messages",
        "pull_messages",
        "send_and_receive",
    }
    assert not RoundGrid.__abstractmethods__


def test_a_reply_names_its_weight_and_records_as_strategies_expect() -> None:
    made = strategy.FedAvg()
    assert (made.weighted_by_key, made.arrayrecord_key) == (WEIGHT, ARRAYS) == (flower.WEIGHT, flower.ARRAYS)
    assert made.configrecord_key == flower.CONFIG
    assert METRICS == flower.METRICS


@pytest.mark.parametrize("name", list(StrategyName))
def test_every_setting_we_offer_is_an_argument_of_flowers_strategy(name: StrategyName) -> None:
    kinds: dict[StrategyName, type[strategy.FedAvg]] = {
        StrategyName.FED_AVG: strategy.FedAvg,
        StrategyName.FED_PROX: strategy.FedProx,
        StrategyName.FED_ADAM: strategy.FedAdam,
        StrategyName.FED_YOGI: strategy.FedYogi,
        StrategyName.FED_ADAGRAD: strategy.FedAdagrad,
    }
    assert SETTINGS[name] <= set(inspect.signature(kinds[name]).parameters)


def test_strategies_tell_the_round_and_fedprox_its_mu_under_the_names_the_agent_reads() -> None:
    made = StrategyRound(StrategyName.FED_PROX, {"proximal_mu": 0.25}, number=3, nodes=[0], state={})
    assert made.task_settings({"rate": 0.5}) == {"rate": 0.5, PROXIMAL_MU: 0.25, SERVER_ROUND: 3.0}


@pytest.mark.parametrize("name", MOVING)
def test_moments_are_the_attributes_we_keep_and_carry_a_strategy_across_a_restart(name: StrategyName) -> None:
    def update(value: float) -> list[Update]:
        return [Update(node=0, examples=1, read=lambda _: np.full(4, value, np.float32))]

    model: Arrays = {"w": np.zeros(4, np.float32)}
    first = StrategyRound(name, {}, number=1, nodes=[0], state={}).aggregate(model.__getitem__, SPECS, update(1.0))
    assert set(first.state) == {"m_t/w", "v_t/w"}
    kept, lost = (
        StrategyRound(name, {}, number=2, nodes=[0], state=state)
        .aggregate(first.arrays.__getitem__, SPECS, update(2.0))
        .arrays["w"]
        for state in (first.state, {})
    )
    assert not np.array_equal(kept, lost)


def test_flower_asks_a_lazy_array_for_its_values_and_for_nothing_else() -> None:
    held = flower.HeldArray(np.arange(3, dtype=np.float32))
    record = ArrayRecord()
    record["w"] = held
    assert record["w"] is held
    content = RecordDict({ARRAYS: record})
    assert content.array_records[ARRAYS]["w"].numpy().tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (2, 3, 5)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_values_of_an_array_of_flowers_are_read_where_they_lie(shape: tuple[int, ...], dtype: str) -> None:
    for order in ("C", "F"):
        values = np.random.default_rng(1).normal(size=shape).astype(dtype, order=order)
        np.testing.assert_array_equal(array_values(Array(values)), values)
    assert not array_values(Array(np.ones(3))).flags.owndata


def test_a_client_app_runs_on_a_message_of_ours_without_any_runtime() -> None:
    code = NullDetector()
    rows = [Record(n, {"id": str(n)}) for n in range(8)]
    app = flower.client_app(Learner(code, partial(code.read, rows, {})))
    assert isinstance(app, ClientApp)
    trained = app(flower.instruction(flower.TRAIN, {}, {}, 1), flower.context())
    assert dict(trained.content.metric_records[METRICS]) == {WEIGHT: 6}
    judged = app(flower.instruction(flower.EVALUATE, {}, {}, 1), flower.context())
    assert dict(judged.content.metric_records[METRICS]) == {
        WEIGHT: 2,
        "nothing": 1.0,
        "alone.nothing": 1.0,
        "blended.nothing": 1.0,
    }


@pytest.mark.parametrize("name", list(StrategyName))
def test_statistics_are_those_of_all_rows_whatever_the_strategy_makes_of_steps(name: StrategyName) -> None:
    """Every strategy is linear in steps far below its tau, which standardisation in rounds rests on (ADR 12)."""
    code, settings = TabularRisk(), {**TabularRisk().settings, "columns": 2.0}
    rng = np.random.default_rng(1)
    tables = [rng.normal((m, 1000.0 * m), (1.0, 50.0), size=(20 * m, 2)) for m in (1, 2, 3)]
    columns = {"x1": "x1", "x2": "x2", "label": "label"}
    data = []
    for table in tables:
        rows = [
            Record(n, {"x1": repr(float(a)), "x2": repr(float(b)), "label": str(n % 2)})
            for n, (a, b) in enumerate(table)
        ]
        data.append(code.read(rows, columns, settings))
    arrays, state = code.initial(settings), dict[str, np.ndarray]()
    for number in range(1, 4):
        made = [code.train(arrays, part, settings, np.random.default_rng(number)) for part in data]
        updates = [Update(node=n, examples=t.examples, read=t.arrays.__getitem__) for n, t in enumerate(made)]
        round_ = StrategyRound(name, {}, number=number, nodes=range(3), state=state)
        result = round_.aggregate(arrays.__getitem__, code.specs(settings), updates)
        arrays, state = result.arrays, result.state
    _, mean, square = arrays["moments"] / arrays["unit"]
    everything = np.concatenate(tables)
    assert np.allclose(mean, everything.mean(axis=0), rtol=1e-9)
    assert np.allclose(square, (everything**2).mean(axis=0), rtol=1e-9)
    assert arrays["w"].any()


def test_a_grid_of_ours_is_enough_for_flowers_own_loop() -> None:
    def answer(message: Message) -> Message:
        record = ArrayRecord()
        record["w"] = flower.HeldArray(np.full(4, float(message.metadata.dst_node_id), np.float32))
        return Message(RecordDict({ARRAYS: record, METRICS: MetricRecord({WEIGHT: 1})}), reply_to=message)

    made = strategy.FedAvg(fraction_evaluate=0.0, min_train_nodes=2, min_available_nodes=2)
    start = flower.record({"w": np.zeros(4, np.float32)})
    result = made.start(RoundGrid([1, 3], answer), start, num_rounds=1, train_config=ConfigRecord())
    assert result.arrays["w"].numpy().tolist() == [2.0] * 4
