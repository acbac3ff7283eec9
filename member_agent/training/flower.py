"""The agent's one door to Flower: a `ClientApp` that trains and evaluates a detector on the member's rows.

Messages carry arrays by reference, inside one process: between processes tensors travel beside a small header
(frames.py), never through Flower's serialisation. The arrays of a message answer to the names of the detector's
specification; a configuration is numbers. tests/contract/test_flower.py holds what is private of Flower's.
"""

from __future__ import annotations

import logging
import os
from typing import Any

# Flower asks both at import.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

from alliance.tensors import Arrays
from member_agent.training.detector import SERVER_ROUND, Settings
from member_agent.training.learner import Evaluation, Learner

logging.getLogger("flwr").setLevel(logging.ERROR)

ARRAYS, METRICS, CONFIG = "arrays", "metrics", "config"
WEIGHT = "num-examples"
# Before the name of a metric: that of the member's own model, and that of its blend with the shared one.
ALONE, BLENDED = "alone.", "blended."
TRAIN, EVALUATE = "train", "evaluate"
_ONE = 1


class HeldArray(Array):
    """A Flower array that refers to ours instead of holding a serialised copy."""

    def __init__(self, values: NDArray[Any]) -> None:
        super().__init__(dtype=str(values.dtype), shape=values.shape, stype="numpy.ndarray", data=b"")
        self.__dict__["_values"] = values

    def numpy(self) -> NDArray[Any]:
        return np.asarray(self.__dict__["_values"])


def client_app(learner: Learner) -> ClientApp:
    """Train and evaluate; what a reply holds is what the hub's strategies expect."""
    app = ClientApp()
    detector = learner.detector

    def arrays_of(message: Message, settings: Settings) -> Arrays:
        """In the dtypes of the specification: Flower's adaptive strategies answer in float64."""
        record = message.content.array_records[ARRAYS]
        specs = detector.specs({**detector.settings, **settings})
        return {s.name: np.asarray(record[s.name].numpy(), dtype=s.dtype) for s in specs}

    @app.train()
    def train(message: Message, context: Context) -> Message:
        settings = settings_of(message)
        made = learner.train(arrays_of(message, settings), settings, int(settings.get(SERVER_ROUND, 0)))
        metrics = MetricRecord({WEIGHT: made.examples, **made.metrics})
        return Message(RecordDict({ARRAYS: record(made.arrays), METRICS: metrics}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        settings = settings_of(message)
        found: Evaluation = learner.evaluate(arrays_of(message, settings), settings)
        alone = {ALONE + name: value for name, value in found.alone.items()}
        blended = {BLENDED + name: value for name, value in found.blended.items()}
        # One record: Flower's strategies refuse a reply with two.
        metrics = MetricRecord({WEIGHT: found.examples, **found.shared, **alone, **blended})
        return Message(RecordDict({METRICS: metrics}), reply_to=message)

    return app


def settings_of(message: Message) -> dict[str, float]:
    config = message.content.config_records[CONFIG]
    return {key: float(value) for key, value in config.items() if isinstance(value, int | float)}


def record(arrays: Arrays) -> ArrayRecord:
    """Items are set one by one: the constructor would copy them into plain arrays."""
    made = ArrayRecord()
    for name, values in arrays.items():
        made[name] = HeldArray(values)
    return made


def instruction(kind: str, arrays: Arrays, settings: Settings, number: int) -> Message:
    """What a strategy would send for this task."""
    identify()
    config = ConfigRecord({**settings, SERVER_ROUND: number})
    return Message(RecordDict({ARRAYS: record(arrays), CONFIG: config}), dst_node_id=_ONE, message_type=kind)


def context() -> Context:
    return Context(run_id=_ONE, node_id=_ONE, node_config={}, state=RecordDict(), run_config={})


def identify() -> None:
    """Flower has one identity per process; ours is always the same, for nobody else reads it."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = _ONE, _ONE, _ONE
