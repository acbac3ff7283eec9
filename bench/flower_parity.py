"""flower_parity: our loop beside Flower's own `Strategy.start`, same ClientApps and seeds: greatest difference.

Ours drives one round at a time and puts the strategy's state through bytes between rounds, as across a restart of
the hub; Flower's holds everything in one process. tabular-risk on rows generated for this benchmark, 5 members,
20 rounds (5 with --quick), every strategy the hub offers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
from flwr.app import ConfigRecord
from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedProx, FedYogi

from alliance.tensors import Arrays
from bench.figure import Figure
from bench.simulation import InOrder, Plan, federate, flowers_grid, records
from hub.federation.model import StrategyName
from member_agent.catalog.readers.records import Record
from member_agent.training import flower
from member_agent.training.detectors.tabular_risk import TabularRisk
from member_agent.training.learner import Learner

MEMBERS, COLUMNS = 5, 8
_DETECTOR = TabularRisk()
_SETTINGS = {"columns": float(COLUMNS), "rate": 0.05}
_MAP = {**{f"x{c}": f"x{c}" for c in range(1, COLUMNS + 1)}, "label": "label"}
_STRATEGIES: Mapping[StrategyName, tuple[type[FedAvg], Mapping[str, float]]] = {
    StrategyName.FED_AVG: (FedAvg, {}),
    StrategyName.FED_PROX: (FedProx, {"proximal_mu": 0.1}),
    StrategyName.FED_ADAM: (FedAdam, {"eta": 0.1, "tau": 0.01}),
    StrategyName.FED_YOGI: (FedYogi, {"eta": 0.1, "tau": 0.01}),
    StrategyName.FED_ADAGRAD: (FedAdagrad, {"eta": 0.1, "tau": 0.01}),
}


def run(*, quick: bool) -> Iterator[Figure]:
    rounds = 5 if quick else 20
    for name, (_, server) in _STRATEGIES.items():
        plan = Plan(strategy=name, rounds=rounds, strategy_settings=server, train_settings=_SETTINGS)
        ours, theirs = federate(_DETECTOR, _learners(), plan), _theirs(plan)
        weights = max(float(np.abs(ours[key] - theirs[key]).max()) for key in ("w", "b"))
        yield Figure(
            name=f"parity_{name}",
            ours=weights,
            unit="greatest difference of a parameter",
            target=1e-6,
            judged="ours",
            bound="at_most",
            method=f"{weights:.2e} after {rounds} rounds, {MEMBERS} members, generated rows; parameters up to "
            f"{max(float(np.abs(theirs[key]).max()) for key in ('w', 'b')):.3g}; "
            f"statistics differ by {_statistics(ours, theirs):.1e} of their value",
        )


def _statistics(ours: Arrays, theirs: Arrays) -> float:
    """Greatest relative difference of the standardisation's quotients."""
    mine, other = ours["moments"] / ours["unit"], theirs["moments"] / theirs["unit"]
    return float(np.max(np.abs(mine - other) / np.abs(other)))


def _theirs(plan: Plan) -> Arrays:
    learners = _learners()
    kind, server = _STRATEGIES[plan.strategy]
    sizes = {"min_train_nodes": MEMBERS, "min_evaluate_nodes": MEMBERS, "min_available_nodes": MEMBERS}
    arguments: dict[str, float] = {**sizes, **server}
    strategy = kind(**arguments)  # type: ignore[arg-type]  # because the settings are checked by the hub's adapter
    settings = {**_DETECTOR.settings, **plan.train_settings}
    grid: InOrder = flowers_grid(learners)
    result = strategy.start(
        grid,
        flower.record(_DETECTOR.initial(settings)),
        num_rounds=plan.rounds,
        train_config=ConfigRecord({**plan.train_settings}),
        evaluate_config=ConfigRecord({**plan.train_settings}),
    )
    return {name: np.asarray(array.numpy()) for name, array in result.arrays.items()}


def _learners() -> list[Learner]:
    return [Learner(_DETECTOR, partial(_DETECTOR.read, _generated(m), _MAP), seed=m) for m in range(MEMBERS)]


def _generated(member: int) -> list[Record]:
    """Rows of a logistic truth, shifted and scaled by column, of another number for every member."""
    rng = np.random.default_rng(1000 + member)
    x = rng.normal(size=(60 + 40 * member, COLUMNS)) + 0.3 * member
    y = rng.random(len(x)) < 1 / (1 + np.exp(-x @ np.linspace(-1, 1, COLUMNS)))
    shown = x * np.geomspace(0.1, 1000, COLUMNS) + 50
    columns = [f"x{c}" for c in range(1, COLUMNS + 1)]
    return records(
        [*columns, "label"], [[*map(repr, row.tolist()), str(int(t))] for row, t in zip(shown, y, strict=True)]
    )
