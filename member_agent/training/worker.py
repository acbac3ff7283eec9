"""The training process: `python -m member_agent.training.worker`, started and fed by `Trainer`, never by hand.

Its caps are set before anything heavy is imported and cannot be raised again. Tasks come on standard input and go
to Flower's `ClientApp`, or to `scoring`, one by one; answers go out on what was standard output, while whatever a
detector prints goes to standard error. A task that fails is answered with its error and the process goes on; where
memory ran out it says so and ends, for nobody knows what is left of it.
"""

from __future__ import annotations

import os
import resource
import select
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from alliance.errors import AllianceError, FailedPrecondition, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from alliance.tensors import Arrays
    from member_agent.training.detector import Detector
    from member_agent.training.learner import Learner

OUT_OF_MEMORY = "OUT_OF_MEMORY"
TRAINING_FAILED = "TRAINING_FAILED"
_KEPT = 4


def cap(limits: dict[str, int]) -> None:
    """Private memory in bytes, processors, niceness; 0 is no cap. Both limits are lowered, so no code raises them."""
    if limits["memory_bytes"]:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = limits["memory_bytes"] if hard == resource.RLIM_INFINITY else min(hard, limits["memory_bytes"])
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, wanted))
    if limits["cpus"]:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: limits["cpus"]])
    os.nice(limits["nice"])
    threads = str(len(os.sched_getaffinity(0)))
    os.environ.update(OPENBLAS_NUM_THREADS=threads, OMP_NUM_THREADS=threads)


def main() -> int:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    tasks = sys.stdin.buffer
    from member_agent.training import frames

    opening = frames.read(tasks)
    if opening is None:
        return 0
    cap(opening[0]["limits"])
    threading.Thread(target=_end_with_agent, daemon=True).start()
    frames.write(answers, {})
    return _serve(opening[0]["own_code"], tasks, answers)


def _end_with_agent() -> None:
    """An agent that is killed leaves no training behind: its end of the pipe of tasks hangs up, also during a task."""
    hang_up = select.poll()
    hang_up.register(sys.stdin.fileno(), 0)
    hang_up.poll()
    os._exit(1)


class Learners:
    """The latest few detectors with their rows, read anew where a file changed since."""

    def __init__(self, code_of: Callable[[str], Detector]) -> None:
        self._code_of = code_of
        self._kept: dict[tuple[object, ...], Learner] = {}

    def of(self, header: dict[str, Any]) -> Learner:
        """Raises: NotFound."""
        name, key, rows = header["detector"], header["key"], Path(header["rows"])
        if not rows.is_file():
            raise NotFound(f"there is no file {rows}", reason="FILE_UNREADABLE", remedy="say where the rows are")
        stat = rows.stat()
        mapped = tuple(sorted(header["columns"].items()))
        place = (name, key, rows, mapped, header["seed"], stat.st_mtime_ns, stat.st_size)
        if place not in self._kept:
            self._kept[place] = self._make(name, key, rows, header["columns"], header["seed"])
            if len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
        return self._kept[place]

    def _make(self, name: str, key: str, rows: Path, columns: dict[str, str], seed: int) -> Learner:
        from member_agent.training import dataset, detector, learner

        code = detector.keyed(self._code_of(name), bytes.fromhex(key))

        def read(settings: detector.Settings) -> dataset.Dataset:
            return code.read(dataset.records(rows), columns, settings)

        return learner.Learner(code, read, seed=seed)


def _serve(own_code: dict[str, str], tasks: BinaryIO, answers: BinaryIO) -> int:
    from member_agent.training import detector, frames, scoring

    def code_of(name: str) -> Detector:
        return detector.load_path(own_code[name]) if name in own_code else detector.load(name)

    learners, models = Learners(code_of), scoring.Models(code_of)
    while (task := frames.read(tasks)) is not None:
        header, body = task
        try:
            scored = header["kind"] in scoring.KINDS
            answer, made = models.answer(header, body) if scored else _learn(learners, header, body)
        # A detector is somebody else's code: whatever it raises is this task's failure, not the process's.
        except Exception as error:
            frames.write(answers, _error(error))
            if isinstance(error, MemoryError):
                return 1
        else:
            frames.write(answers, answer, made)
    return 0


def _learn(learners: Learners, header: dict[str, Any], body: bytearray) -> tuple[dict[str, Any], bytes]:
    """Trains, and answers with the update, or evaluates, with the member's blend.

    Flower comes with the first such task: it takes a second that scoring does without.
    """
    from member_agent.training import flower

    learner = learners.of(header)
    arrays = _model(learner.detector, header, body)
    message = flower.instruction(header["kind"], arrays, header["settings"], header["number"])
    reply = flower.client_app(learner)(message, flower.context())
    metrics = dict(reply.content.metric_records[flower.METRICS])
    if header["kind"] == flower.TRAIN:
        return {"metrics": metrics}, _update(learner.detector, header, reply)
    return {"metrics": metrics}, _blend(learner, header, arrays)


def _model(code: Detector, header: dict[str, Any], body: bytearray) -> Arrays:
    from alliance import tensors
    from member_agent.training.detector import settle

    specs = code.specs(settle(code, header["settings"]))
    return tensors.decode(memoryview(body), specs) if specs else {}


def _update(code: Detector, header: dict[str, Any], reply: Any) -> bytes:
    """The update's bytes, of exactly the specified arrays. Raises: FailedPrecondition."""
    from member_agent.training import flower

    record = reply.content.array_records[flower.ARRAYS]
    return _encoded(code, header, {name: value.numpy() for name, value in record.items()})


def _blend(learner: Learner, header: dict[str, Any], shared: Arrays) -> bytes:
    """The blend's bytes; none where the detector gives the shared model itself. Raises: FailedPrecondition."""
    from member_agent.training.detector import SERVER_ROUND

    made = learner.blended(shared, {**header["settings"], SERVER_ROUND: header["number"]})
    return b"" if made is shared else _encoded(learner.detector, header, made)


def _encoded(code: Detector, header: dict[str, Any], made: Arrays) -> bytes:
    from alliance import tensors
    from member_agent.training.detector import settle

    specs = code.specs(settle(code, header["settings"]))
    if len(made) != len(specs) or tensors.specs_of({spec.name: made[spec.name] for spec in specs}) != specs:
        raise FailedPrecondition(
            f"{code.name} made other arrays than it specifies", reason=TRAINING_FAILED, remedy="tell its author"
        )
    return tensors.encode(made) if specs else b""


def _error(error: BaseException) -> dict[str, Any]:
    if isinstance(error, MemoryError):
        return {"error": "LimitExceeded", "reason": OUT_OF_MEMORY, "message": "training ran out of its memory"}
    if isinstance(error, AllianceError):
        return {
            "error": type(error).__name__,
            "reason": error.reason,
            "message": error.message,
            "remedy": error.remedy,
            "field": error.field,
        }
    # The text may quote a row, and stays on this machine: an agent tells the hub the kind of failure alone.
    return {"error": "Unavailable", "reason": TRAINING_FAILED, "message": f"{type(error).__name__}: {error}"[:500]}


if __name__ == "__main__":
    sys.exit(main())
