"""A federation in one process, shared by the training benchmarks: the hub's strategies, the agents' ClientApps.

The same code as in production on either side (`StrategyRound`, `client_app`), with function calls where the
network would be. Between rounds the strategy's state goes through bytes, as the hub stores it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from flwr.app import Message
from numpy.typing import NDArray
from scipy.sparse import issparse, vstack

from alliance import tensors
from alliance.tensors import Arrays, ArraySpec, Piece
from hub.federation import moments
from hub.federation.flower import RoundGrid, StrategyRound, Update
from hub.federation.model import StrategyName
from member_agent.catalog.readers.records import Record
from member_agent.training import flower
from member_agent.training.dataset import Dataset
from member_agent.training.detector import Detector, settle
from member_agent.training.learner import Learner


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A strategy and its settings, the detector's settings, and how many rounds."""

    strategy: StrategyName
    rounds: int
    strategy_settings: Mapping[str, float] = field(default_factory=dict)
    train_settings: Mapping[str, float] = field(default_factory=dict)


def federate(detector: Detector, learners: Sequence[Learner], plan: Plan) -> Arrays:
    """The model after the plan's rounds, every learner taking part in each."""
    with ExitStack() as files:
        return _federated(detector, learners, plan, files)


def _federated(detector: Detector, learners: Sequence[Learner], plan: Plan, files: ExitStack) -> Arrays:
    specs = detector.specs(settle(detector, plan.train_settings))
    arrays = detector.initial(settle(detector, plan.train_settings))
    apps = [flower.client_app(learner) for learner in learners]
    group = next(tensors.pieces(specs, tensors.MAX_BYTES), ())
    state: BinaryIO | None = None
    for number in range(1, plan.rounds + 1):
        strategy = StrategyRound(
            plan.strategy,
            plan.strategy_settings,
            number=number,
            nodes=range(len(learners)),
            state=moments.Reader(state, specs).read(group),
        )
        told = strategy.task_settings(plan.train_settings)
        updates = []
        for node, app in enumerate(apps):
            message = flower.instruction(flower.TRAIN, arrays, told, number)
            updates.append(_update(node, app(message, flower.context())))
        # Flat, as the hub has them.
        made = strategy.aggregate(partial(_flat, arrays), [piece.spec for piece in group], updates)
        arrays = {spec.name: made.arrays[spec.name].reshape(spec.shape) for spec in specs}
        state = files.enter_context(_kept(specs, group, made.state))
    return arrays


def _flat(arrays: Arrays, name: str) -> NDArray[Any]:
    return arrays[name].reshape(-1)


def _kept(specs: Sequence[ArraySpec], group: Sequence[Piece], state: Arrays) -> BinaryIO:
    """The moments in a file, as the hub stores them."""
    writer, file = moments.Writer(specs, "simulation"), tempfile.TemporaryFile()  # noqa: SIM115  # because the next round reads it
    writer.add(group, state)
    writer.write(file.write)
    file.seek(0)
    return file


class InOrder(RoundGrid):
    """Answers in the order of the nodes, whatever order they were sampled in: sums then round equally."""

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return super().push_messages(sorted(messages, key=lambda message: message.metadata.dst_node_id))


def flowers_grid(learners: Sequence[Learner]) -> InOrder:
    """The plane for Flower's own loop: the same ClientApps, called as messages are pushed."""
    apps = [flower.client_app(learner) for learner in learners]

    def answer(message: Message) -> Message:
        return apps[message.metadata.dst_node_id](message, flower.context())

    return InOrder(list(range(len(learners))), answer)


def pooled(detector: Detector, parts: Sequence[Dataset], plan: Plan, *, seed: int = 0) -> Arrays:
    """The model of somebody who had every member's training rows, trained as long as the federation."""
    joined = [part.features for part in parts]
    data = Dataset(
        features=vstack(joined, format="csr") if issparse(joined[0]) else np.concatenate(joined),
        labels=np.concatenate([part.labels for part in parts]),
        groups=np.concatenate([part.groups for part in parts]),
        parts=np.concatenate([part.parts for part in parts]),
    )
    settings = settle(detector, plan.train_settings)
    arrays = detector.initial(settings)
    for number in range(1, plan.rounds + 1):
        arrays = detector.train(arrays, data, settings, np.random.default_rng((seed, number))).arrays
    return arrays


def records(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[Record]:
    return [Record(number, dict(zip(columns, row, strict=True))) for number, row in enumerate(rows, start=2)]


def _update(node: int, reply: Message) -> Update:
    arrays = reply.content.array_records[flower.ARRAYS]
    weight = reply.content.metric_records[flower.METRICS][flower.WEIGHT]
    assert isinstance(weight, int)
    return Update(node=node, examples=weight, read=lambda name: arrays[name].numpy().reshape(-1))
