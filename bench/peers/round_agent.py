"""A member's agent for the round benchmarks: watches, trains with the agent's own parts, answers.

`python -m bench.peers.round_agent HOME CODE` runs until it is killed. CODE is "null" (an empty task in the training
process) or "copy" (sends its first model back, with one value changed in every round, so that only the bytes count).
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from alliance import log
from alliance.v1 import membership_pb2
from member_agent.app import open_agent
from member_agent.config import Home
from member_agent.training.tasks import TaskRunner
from member_agent.training.trainer import EvalResult, Task, Trainer, TrainResult

NULL = {"null": "member_agent.training.detectors.null:NullDetector"}


class Copy(Trainer):
    """Gives the first model back; its last value is the round's number and the process's, so that no two are alike."""

    _update = bytearray()

    def train(self, task: Task, model: bytes | memoryview) -> TrainResult:
        if len(self._update) != len(model):
            self._update = bytearray(model)
        self._update[-4:] = struct.pack("<f", task.number + os.getpid() / (1 << 22))
        return TrainResult(update=memoryview(self._update), examples=1)

    def evaluate(self, task: Task, model: bytes | memoryview) -> EvalResult:
        return EvalResult(metrics={"accuracy": 1.0}, local_metrics={"accuracy": 1.0}, examples=1)


TRAINERS: dict[str, Callable[[], Trainer]] = {"null": lambda: Trainer(own_code=NULL), "copy": Copy}


def main(home: Home, code: str) -> None:
    log.configure(level="error")
    with ExitStack() as stack:
        agent = stack.enter_context(open_agent(home))
        hub = stack.enter_context(agent.connect())
        trainer = stack.enter_context(TRAINERS[code]())
        runner = TaskRunner(agent.db, trainer, blends=agent.models.blends, keys=agent.feature_keys, parts=home.parts)
        for hint in hub.stream(membership_pb2.WatchRequest(), membership_pb2.WatchResponse):
            if hint.HasField("task"):
                runner.run(hub, hint.task)


if __name__ == "__main__":
    main(Home(path=Path(sys.argv[1])), sys.argv[2])
