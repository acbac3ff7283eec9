"""The one door to Flower on the hub: its strategies run unchanged over a Grid of our own.

Our loop drives one round at a time (configure, then aggregate), because `Strategy.start` can neither
checkpoint, resume nor cancel. A `RoundGrid` is the hub's plane as Flower sees it during one round: its nodes
are the round's slots, its replies the validated updates on disk. Everything of Flower's that is private is
named in this module and held by tests/contract/test_flower.py against flwr 1.41.
"""

from __future__ import annotations

import functools
import io
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Flower asks both at import.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedProx, FedYogi
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

from alliance.errors import FailedPrecondition, InvalidInput
from alliance.tensors import Arrays, ArraySpec
from hub.federation.model import StrategyName

# Flower tells each round's sampling as news; the hub logs its own events.
logging.getLogger("flwr").setLevel(logging.ERROR)

WEIGHT = "num-examples"
ARRAYS, METRICS = "arrays", "metrics"
# The settings a detector may choose, by strategy; everything else of Flower's keeps its default.
SETTINGS: Mapping[StrategyName, frozenset[str]] = {
    StrategyName.FED_AVG: frozenset(),
    StrategyName.FED_PROX: frozenset({"proximal_mu"}),
    StrategyName.FED_ADAM: frozenset({"eta", "eta_l", "beta_1", "beta_2", "tau"}),
    StrategyName.FED_YOGI: frozenset({"eta", "eta_l", "beta_1", "beta_2", "tau"}),
    StrategyName.FED_ADAGRAD: frozenset({"eta", "eta_l", "tau"}),
}
_STRATEGIES: Mapping[StrategyName, type[FedAvg]] = {
    StrategyName.FED_AVG: FedAvg,
    StrategyName.FED_PROX: FedProx,
    StrategyName.FED_ADAM: FedAdam,
    StrategyName.FED_YOGI: FedYogi,
    StrategyName.FED_ADAGRAD: FedAdagrad,
}
MOMENTS = ("m_t", "v_t")
# Flower has one identity per process; the hub is one run for ever.
_RUN, _NODE, _TASK = 1, 1, 1


class LazyArray(Array):
    """A Flower array that is read only when a strategy asks, so that a round holds one update at a time."""

    def __init__(self, spec: ArraySpec, read: Callable[[], NDArray[Any]]) -> None:
        super().__init__(dtype=spec.dtype, shape=spec.shape, stype="numpy.ndarray", data=b"")
        self.__dict__["_read"] = read

    def numpy(self) -> NDArray[Any]:
        return np.asarray(self.__dict__["_read"]())


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """A validated update: `node` is its slot's number in the roster, `read` gives one of its arrays."""

    node: int
    examples: int
    read: Callable[[str], NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """`arrays` in the specification's dtypes; `state` the strategy's moments, empty where it has none."""

    arrays: Arrays
    state: Arrays


class RoundGrid(Grid):
    """One round's slots as Flower's nodes. Replies are handed in; nothing is sent from here."""

    def __init__(self, nodes: Sequence[int], answer: Callable[[Message], Message | None]) -> None:
        _identify()
        self._nodes = list(nodes)
        self._answer = answer
        self._run = Run.create_empty(_RUN)
        self._replies: dict[str, Message] = {}

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        sent = []
        for message in messages:
            name = f"{message.metadata.message_type}:{message.metadata.dst_node_id}"
            reply = self._answer(message)
            if reply is not None:
                self._replies[name] = reply
            sent.append(name)
        return sent

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._replies.pop(name) for name in message_ids if name in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return self.pull_messages(self.push_messages(messages))


class StrategyRound:
    """One strategy at one round: what it configures, what it makes of the updates.

    Args:
        state: the moments after the round before, empty at first.

    Raises:
        InvalidInput: a setting the strategy has not.
    """

    def __init__(
        self, name: StrategyName, settings: Mapping[str, float], *, number: int, nodes: Sequence[int], state: Arrays
    ) -> None:
        _identify()
        check_settings(name, settings)
        self._number = number
        self._nodes = list(nodes)
        # Quorum is the round machine's affair: Flower would wait for it for ever.
        size = len(self._nodes)
        counts = {"min_train_nodes": size, "min_evaluate_nodes": size, "min_available_nodes": size}
        arguments: dict[str, Any] = {**counts, **settings}
        self._strategy = _STRATEGIES[name](**arguments)
        for moment in MOMENTS:
            held = {k.partition("/")[2]: np.array(v) for k, v in state.items() if k.startswith(f"{moment}/")}
            if held:
                setattr(self._strategy, moment, held)

    def task_settings(self, settings: Mapping[str, float]) -> dict[str, float]:
        """What each participant is told: the detector's settings and the strategy's own (FedProx's mu)."""
        config = ConfigRecord(dict(settings))
        list(self._strategy.configure_train(self._number, ArrayRecord(), config, self._grid()))
        return {key: float(value) for key, value in config.items() if isinstance(value, int | float)}

    def aggregate(
        self, model: Callable[[str], NDArray[Any]], specs: Sequence[ArraySpec], updates: Sequence[Update]
    ) -> Aggregate:
        """Aggregates in slot order; reads of the model what the strategy asks for.

        Every strategy here takes each value for itself, so pieces of arrays can be aggregated one after the other.

        Raises: FailedPrecondition if the strategy gives nothing.
        """
        current = _record(specs, model)
        messages = self._strategy.configure_train(self._number, current, ConfigRecord(), self._grid())
        instructions = {message.metadata.dst_node_id: message for message in messages}
        replies = [_reply(instructions[u.node], specs, u) for u in sorted(updates, key=lambda u: u.node)]
        if not specs:
            return Aggregate(arrays={}, state={})
        arrays, _ = self._strategy.aggregate_train(self._number, replies)
        if arrays is None:
            raise FailedPrecondition("the strategy gave no model", reason="NO_AGGREGATE")
        made = {s.name: array_values(arrays[s.name]).astype(s.dtype, copy=False) for s in specs}
        return Aggregate(arrays=made, state=self._moments())

    def _moments(self) -> Arrays:
        held = {moment: getattr(self._strategy, moment, None) or {} for moment in MOMENTS}
        return {f"{moment}/{k}": np.asarray(v) for moment, values in held.items() for k, v in values.items()}

    def _grid(self) -> RoundGrid:
        return RoundGrid(self._nodes, lambda message: None)


@functools.lru_cache(maxsize=256)
def task_settings(
    name: StrategyName,
    strategy: tuple[tuple[str, float], ...],
    training: tuple[tuple[str, float], ...],
    number: int,
) -> tuple[tuple[str, float], ...]:
    """What each participant of a round is told, sorted: the detector's settings and the strategy's (FedProx's mu)."""
    configured = StrategyRound(name, dict(strategy), number=number, nodes=[0], state={})
    return tuple(sorted(configured.task_settings(dict(training)).items()))


def check_settings(name: StrategyName, settings: Mapping[str, float]) -> None:
    """Raises: InvalidInput."""
    unknown = set(settings) - SETTINGS[name]
    if unknown:
        raise InvalidInput(
            f"{name} has no setting {', '.join(sorted(unknown))}",
            field="spec.aggregation_settings",
            remedy=f"use {', '.join(sorted(SETTINGS[name])) or 'none'}",
        )


def _reply(instruction: Message, specs: Sequence[ArraySpec], update: Update) -> Message:
    metrics = MetricRecord({WEIGHT: update.examples})
    return Message(RecordDict({ARRAYS: _record(specs, update.read), METRICS: metrics}), reply_to=instruction)


def array_values(array: Array) -> NDArray[Any]:
    """As `array.numpy()`, which copies them twice: Flower keeps them in NumPy's file format."""
    stream = io.BytesIO(array.data)
    if array.stype != "numpy.ndarray" or np.lib.format.read_magic(stream) != (1, 0):
        return np.asarray(array.numpy())
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    flat = np.frombuffer(array.data, dtype=dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran_order else "C")


def _record(specs: Sequence[ArraySpec], read: Callable[[str], NDArray[Any]]) -> ArrayRecord:
    """Items are set one by one: the constructor would copy them into plain arrays."""
    record = ArrayRecord()
    for spec in specs:
        record[spec.name] = LazyArray(spec, functools.partial(read, spec.name))
    return record


def _identify() -> None:
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = _RUN, _NODE, _TASK
