"""Training in a process of its own, with caps: what the agent holds of a detector.

The process starts at the first task and stays, with the rows read and Flower imported. If it dies, hangs, or runs
out of memory, that task fails with an error of ours and the next task gets a fresh process; the agent itself is
never at the mercy of a detector's code.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from alliance import errors
from alliance.errors import AllianceError, LimitExceeded, Unavailable
from member_agent.training import frames

_START_SECONDS: Final = 120.0
_CHUNK: Final = 1 << 20
_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "OPENBLAS_CORETYPE")
# Flower's name for the weight of a reply, and ours before a metric of the member's own model and of its blend with the
# shared one (flower.py), said again because this process does not import Flower.
_EXAMPLES: Final = "num-examples"
_ALONE: Final = "alone."
_BLENDED: Final = "blended."
# After these the process is of no use any more.
_FATAL: Final = frozenset({"OUT_OF_MEMORY", "TRAINING_TIMEOUT", "TRAINING_DIED", "FRAME_UNREADABLE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of the training process: bytes of private memory, processors (0: no cap), and niceness."""

    memory_bytes: int = 4 << 30
    cpus: int = 0
    nice: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to train or judge on, beside the model.

    Args:
        detector: the name of an installed detector, as a hub's specification says it.
        path: the member's rows, a delimited text file whose first row names the columns.
        columns: role -> the member's column.
        settings: what the round told; what is not set has the detector's default.
        number: the round's number; with `seed`, the member's own, it seeds the training.
        key: what a keyed detector's features are hashed under (`feature_keys`).
    """

    detector: str
    path: Path
    columns: Mapping[str, str]
    settings: Mapping[str, float]
    number: int
    seed: int = 0
    key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """`update` are the arrays as they travel (alliance.tensors), empty for a model without any."""

    update: bytes | memoryview
    examples: int
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """The shared model's, the member's own model's, and their blend's figures on `examples` held-back rows; and the
    blend itself as it is kept (alliance.tensors), empty where the shared model is all there is."""

    metrics: Mapping[str, float]
    local_metrics: Mapping[str, float]
    blended_metrics: Mapping[str, float] = field(default_factory=dict)
    blend: bytes | memoryview = b""
    examples: int


class Trainer:
    """Trains and evaluates in a process of its own; a context manager, for one thread at a time.

    Args:
        timeout_seconds: what one task may take on the clock, reading the rows included.
        own_code: detector -> "module:class", before the installed ones: code that the caller chose itself.
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        timeout_seconds: float = 3600.0,
        own_code: Mapping[str, str] | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._timeout = timeout_seconds
        self._own_code = dict(own_code or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Trainer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process, whatever it does."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        process.wait()

    def train(self, task: Task, model: bytes | memoryview) -> TrainResult:
        """Trains on the member's training rows.

        Args:
            model: the arrays as they travel (alliance.tensors), empty for a model without any.

        Raises:
            FailedPrecondition: NO_DATA, FEATURE_KEY_MISSING.
            NotFound: CODE_NOT_INSTALLED, or there is no such file of rows.
            InvalidInput: the column map, the settings or the file of rows.
            Corrupt: TENSORS_UNEXPECTED: the model is not the detector's.
            LimitExceeded: OUT_OF_MEMORY, TRAINING_TIMEOUT.
            Unavailable: TRAINING_FAILED: the code raised; TRAINING_DIED: its process ended.
        """
        header, body = self._do("train", task, model)
        metrics = dict(header["metrics"])
        return TrainResult(update=body, examples=int(metrics.pop(_EXAMPLES)), metrics=metrics)

    def evaluate(self, task: Task, model: bytes | memoryview) -> EvalResult:
        """Judges the model, the member's own and their blend on held-back rows. Arguments and errors as for `train`."""
        header, blend = self._do("evaluate", task, model)
        metrics = dict(header["metrics"])
        examples = int(metrics.pop(_EXAMPLES))
        local, blended = _taken(metrics, _ALONE), _taken(metrics, _BLENDED)
        return EvalResult(metrics=metrics, local_metrics=local, blended_metrics=blended, blend=blend, examples=examples)

    def _do(self, kind: str, task: Task, model: bytes | memoryview) -> tuple[dict[str, Any], bytes]:
        header = {
            "kind": kind,
            "detector": task.detector,
            "rows": str(task.path),
            "columns": dict(task.columns),
            "settings": dict(task.settings),
            "number": task.number,
            "seed": task.seed,
            "key": task.key.hex(),
        }
        return self.ask(header, model)

    def ask(self, header: dict[str, Any], body: bytes | memoryview) -> tuple[dict[str, Any], bytes]:
        """One frame to the process, one back; see `worker` and `scoring` for what it answers. Errors as for `train`."""
        ends = time.monotonic() + self._timeout
        try:
            self._start()
            return self._exchange(header, body, ends)
        except AllianceError as error:
            if error.reason in _FATAL:
                self.close()
            raise

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._process = subprocess.Popen(  # our own module, with nothing of anybody's in the arguments
            # -P: the folder the agent was started in is no place to take code from.
            [sys.executable, "-P", "-m", "member_agent.training.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name in _PASSED_ON},
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        os.set_blocking(self._process.stdout.fileno(), False)
        opening = {"limits": asdict(self._limits), "own_code": self._own_code}
        try:
            self._exchange(opening, b"", time.monotonic() + _START_SECONDS)
        except AllianceError:
            self.close()
            raise

    def _exchange(self, header: dict[str, Any], body: bytes | memoryview, ends: float) -> tuple[dict[str, Any], bytes]:
        """One frame out, one frame back. Raises: the error in the answer, or why there is none."""
        answer, made = _Pipes(self._process, ends).exchange(frames.head(header, len(body)), body)
        if "error" in answer:
            raise _error(answer)
        return answer, made


class _Pipes:
    """Writes and reads at once, until the deadline: a process that answers before it has read cannot block us."""

    def __init__(self, process: subprocess.Popen[bytes] | None, ends: float) -> None:
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._to, self._from = process.stdin.fileno(), process.stdout.fileno()
        self._ends = ends

    def exchange(self, head: bytes, body: bytes | memoryview) -> tuple[dict[str, Any], bytes]:
        out = [memoryview(head), memoryview(body)] if body else [memoryview(head)]
        # Of its kinds the one that is made and dropped without a call to the system.
        with selectors.PollSelector() as selector:
            selector.register(self._to, selectors.EVENT_WRITE)
            selector.register(self._from, selectors.EVENT_READ)
            self._selector = selector
            start = self._receive(frames.LENGTHS.size, out)
            header_size, body_size = frames.lengths(bytes(start))
            header = frames.parse(bytes(self._receive(header_size, out)))
            return header, bytes(self._receive(body_size, out))

    def _receive(self, size: int, out: list[memoryview]) -> bytearray:
        """The next `size` bytes, sending what is still to be sent meanwhile."""
        buffer = bytearray(size)
        view, at = memoryview(buffer), 0
        while at < size:
            if out:
                self._send(out)
            if count := self._read(view[at:]):
                at += count
                continue
            left = self._ends - time.monotonic()
            if not self._selector.select(max(0.0, left)) and left <= 0:
                raise LimitExceeded(
                    "the training task took too long",
                    reason="TRAINING_TIMEOUT",
                    remedy="give it more time, fewer rows or a smaller model",
                )
        return buffer

    def _send(self, out: list[memoryview]) -> None:
        try:
            while out:
                out[0] = out[0][os.write(self._to, out[0][:_CHUNK]) :]
                if not out[0]:
                    out.pop(0)
        except BlockingIOError:
            return
        except BrokenPipeError:
            out.clear()
        self._selector.unregister(self._to)

    def _read(self, view: memoryview) -> int:
        try:
            count = os.readv(self._from, [view])
        except BlockingIOError:
            return 0
        if count:
            return count
        code = self._process.wait()
        if code == -signal.SIGKILL:
            why = "was killed, perhaps by the system for want of memory"
        else:
            why = f"ended by signal {-code}" if code < 0 else f"ended with status {code}"
        raise Unavailable(
            f"the training process {why}", reason="TRAINING_DIED", remedy="see its messages in the agent's log"
        )


def _error(answer: Mapping[str, Any]) -> AllianceError:
    """The worker's error as ours; an unknown class becomes Unavailable."""
    kind = getattr(errors, str(answer["error"]), Unavailable)
    known: type[AllianceError] = kind if isinstance(kind, type) and issubclass(kind, AllianceError) else Unavailable
    return known(
        str(answer["message"]),
        reason=str(answer["reason"]),
        remedy=str(answer.get("remedy", "")),
        field=str(answer.get("field", "")),
    )


def _taken(metrics: dict[str, float], mark: str) -> dict[str, float]:
    """Those whose names begin with the mark, without it; they are no longer in `metrics`."""
    return {name.removeprefix(mark): metrics.pop(name) for name in list(metrics) if name.startswith(mark)}
