"""Raw members in federated rounds: they watch, answer tasks with arrays of their choice, and count nothing else."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alliance import canonical, channel, tensors
from alliance.errors import AllianceError
from alliance.tensors import Arrays
from alliance.v1 import federation_pb2 as pb
from alliance.v1 import membership_pb2
from tests.kit.hub import RunningHub
from tests.kit.member import RawMember
from tests.kit.waiting import eventually

ENDED = (pb.ROUND_STATE_RELEASED, pb.ROUND_STATE_FAILED, pb.ROUND_STATE_CANCELLED)
Train = Callable[[Arrays], tuple[Mapping[str, NDArray[Any]], int]]


def spec(**changes: Any) -> pb.DetectorSpec:
    """A small detector: arrays w (2, 3) float32 and b (2,) float32, one metric."""
    made = pb.DetectorSpec(
        code="test",
        arrays=[
            pb.ArraySpec(name="w", dtype="float32", shape=[2, 3]),
            pb.ArraySpec(name="b", dtype="float32", shape=[2]),
        ],
        metrics=["accuracy"],
        aggregation="STRATEGY_FED_AVG",
        max_examples=1000,
    )
    made.MergeFrom(pb.DetectorSpec(**changes))
    return made


def create_detector(hub: RunningHub, group: str, wanted: pb.DetectorSpec, *members: RawMember) -> str:
    """Proposed and approved by the admin, joined by the members."""
    name = f"detectors/d-{uuid.uuid4().hex[:8]}"
    hub.admin.call(pb.ProposeDetectorRequest(name=name, group=group, spec=wanted), pb.ProposeDetectorResponse)
    hub.admin.call(pb.ApproveDetectorRequest(name=name), pb.ApproveDetectorResponse)
    for member in members:
        member.call(pb.JoinDetectorRequest(name=name), pb.JoinDetectorResponse)
    return name


class Trainee:
    """A member whose watch is open in a thread; `train` makes its update, None lets its slot wait."""

    def __init__(self, member: RawMember, detector: pb.DetectorSpec, train: Train | None) -> None:
        self.member = member
        self._specs = tuple(
            tensors.ArraySpec(name=a.name, dtype=a.dtype, shape=tuple(a.shape)) for a in detector.arrays
        )
        self._metrics = list(detector.metrics)
        self.train = train
        self.answers: list[pb.SubmitResultResponse] = []
        self.tasks: list[pb.Task] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            stream = channel.stream_out(
                self.member.channel, membership_pb2.WatchRequest(), membership_pb2.WatchResponse
            )
            for hint in stream:
                if hint.HasField("task"):
                    self.tasks.append(hint.task)
                    if self.train is not None:
                        self.answers.append(self.answer(hint.task))
        except AllianceError:
            return  # the hub stopped, or the member was cut off: tests look at what the hub says

    def answer(self, task: pb.Task) -> pb.SubmitResultResponse:
        assert self.train is not None
        if task.kind == pb.TASK_KIND_EVALUATE:
            metrics = [pb.TaskMetric(name=name, value=0.8) for name in self._metrics]
            local = [pb.TaskMetric(name=name, value=0.7) for name in self._metrics]
            return self.submit(task, metrics=metrics, local_metrics=local)
        model = tensors.decode(self.member.download(task.model_digest), self._specs) if self._specs else {}
        arrays, examples = self.train(model)
        if not arrays:
            return self.submit(task, examples=examples)
        return self.submit_bytes(task, tensors.encode(arrays), examples)

    def submit_bytes(self, task: pb.Task, data: bytes, examples: int) -> pb.SubmitResultResponse:
        self.member.upload(data)
        return self.submit(task, update_digest=canonical.sha256(data), update_size=len(data), examples=examples)

    def submit(self, task: pb.Task, **fields: Any) -> pb.SubmitResultResponse:
        request = pb.SubmitResultRequest(request_id=str(uuid.uuid4()), round=task.round, kind=task.kind, **fields)
        return self.member.call(request, pb.SubmitResultResponse)


def plus(amount: float, examples: int = 10) -> Train:
    """Adds a constant to every array."""
    return lambda model: ({k: np.asarray(v + np.float32(amount)) for k, v in model.items()}, examples)


def trigger(hub: RunningHub, detector: str, *, quorum: int = 3, seconds: int = 20, rounds: int = 1) -> pb.Round:
    request = pb.TriggerRoundRequest(detector=detector, rounds=rounds, quorum=quorum, deadline_seconds=seconds)
    return hub.admin.call(request, pb.TriggerRoundResponse).round


def shown(hub: RunningHub, name: str) -> pb.Round:
    return hub.admin.call(pb.GetRoundRequest(name=name), pb.GetRoundResponse).round


def ended(hub: RunningHub, name: str) -> pb.Round:
    """The round once it ended."""

    def found() -> pb.Round | None:
        seen = shown(hub, name)
        return seen if seen.state in ENDED else None

    return eventually(found, f"the end of {name}")


def model(hub: RunningHub, member: RawMember, detector: str, wanted: pb.DetectorSpec) -> Arrays:
    """The released arrays, as a member fetches them."""
    answer = member.call(pb.GetModelRequest(detector=detector), pb.GetModelResponse)
    specs = tuple(tensors.ArraySpec(name=a.name, dtype=a.dtype, shape=tuple(a.shape)) for a in wanted.arrays)
    return tensors.decode(member.download(answer.digest), specs)
