"""Fingerprints of picture files, each decoded in a guarded process: hostile files are expected.

A picture file is the one input a member takes from strangers byte by byte and hands to C libraries. So decoding runs in
worker processes (`decode_worker`) with limits of memory and time, and only hashes come back, as text that is checked.
A worker that is killed or hangs yields an error for its picture alone and is replaced. Results come in input order;
the number of pictures in hand is bounded, however long the input.

Workers are plain subprocesses talking JSON lines, not `multiprocessing`: nothing is unpickled, the caller's main
module is not imported again, and each gets an environment without the caller's secrets.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, TypeAlias

from alliance.errors import AllianceError, InvalidInput, Unavailable
from member_agent.fingerprinting.image import Variant
from member_agent.fingerprinting.pdq import HASH_BYTES

Mode: TypeAlias = Literal["publish", "probe"]
Result: TypeAlias = list[Variant] | AllianceError

DEFAULT_MEMORY_BYTES: Final = 1 << 30
DEFAULT_TIMEOUT_SECONDS: Final = 20.0
_START_SECONDS: Final = 60.0
_MAX_ANSWER: Final = 1 << 16
_AHEAD: Final = 8  # pictures a worker may be ahead of the first unfinished one
_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "OPENBLAS_CORETYPE")


@dataclass(slots=True)
class _Job:
    path: Path
    mode: Mode
    result: Result | None = None


class ImageDecoder:
    """Decodes and fingerprints picture files in worker processes; a context manager, for one thread at a time.

    Args:
        workers: how many processes; by default one for each processor this process may use.
        memory_limit_bytes: address space of one worker; decoding 40 million pixels takes up to 550 MiB.
        timeout_seconds: what one picture may take, as processor time and on the clock.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        memory_limit_bytes: int = DEFAULT_MEMORY_BYTES,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        self._size = workers or len(os.sched_getaffinity(0))
        self._arguments = (str(memory_limit_bytes), str(timeout_seconds))
        self._timeout = timeout_seconds
        self._workers: list[_Worker] = []

    def __enter__(self) -> ImageDecoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def fingerprint_files(self, paths: Iterable[Path], *, mode: Mode = "publish") -> Iterator[tuple[Path, Result]]:
        """Yields each path, in order, with its values or with the error that says why it has none.

        Errors are InvalidInput with reason IMAGE_MISSING, IMAGE_EMPTY, IMAGE_UNREADABLE, IMAGE_TRUNCATED,
        IMAGE_TOO_LARGE, IMAGE_TIMEOUT or IMAGE_LOW_QUALITY.

        Raises: Unavailable (DECODER_UNAVAILABLE) if workers do not start.
        """
        todo = (_Job(Path(path), mode) for path in paths)
        in_hand: deque[_Job] = deque()
        queued: deque[_Job] = deque()
        try:
            while True:
                fresh = list(islice(todo, self._size * _AHEAD - len(in_hand)))
                in_hand.extend(fresh)
                queued.extend(fresh)
                if not in_hand:
                    return
                self._assign(queued)
                if in_hand[0].result is None:
                    self._wait()
                while in_hand and (result := in_hand[0].result) is not None:
                    yield in_hand.popleft().path, result
        finally:
            for worker in [worker for worker in self._workers if worker.job is not None]:
                self._discard(worker)

    def _assign(self, queued: deque[_Job]) -> None:
        idle = [worker for worker in self._workers if worker.job is None]
        missing = min(len(queued) - len(idle), self._size - len(self._workers))
        started = [_Worker(self._arguments) for _ in range(missing)]
        self._workers += started
        for worker in started:
            worker.await_start()
        for worker in idle + started:
            if queued:
                try:
                    worker.take(queued[0], self._timeout)
                    queued.popleft()
                except OSError:  # it died while it had nothing to do; another one takes the picture
                    self._discard(worker)

    def _wait(self) -> None:
        """Collects what workers have to say, and ends those that are past their time."""
        busy = [worker for worker in self._workers if worker.job is not None]
        with selectors.DefaultSelector() as selector:
            for worker in busy:
                selector.register(worker.answers, selectors.EVENT_READ, worker)
            next_deadline = min((worker.deadline for worker in busy), default=0)
            ready = {key.data for key, _ in selector.select(max(0, next_deadline - time.monotonic()))}
        now = time.monotonic()
        for worker in busy:
            if worker in ready:
                if not worker.collect():
                    self._discard(worker)
            elif now >= worker.deadline:
                worker.finish(_timed_out())
                self._discard(worker)

    def _discard(self, worker: _Worker) -> None:
        worker.kill()
        self._workers.remove(worker)


class _Worker:
    """One process: idle, or busy with one job until its deadline."""

    def __init__(self, arguments: tuple[str, ...]) -> None:
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        # One picture keeps one processor busy; the size of a pool is the caller's to choose.
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", "member_agent.fingerprinting.decode_worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin
        self.answers = self._process.stdout
        self._partial = b""
        self.job: _Job | None = None
        self.deadline = 0.0

    def await_start(self) -> None:
        """Raises: Unavailable (DECODER_UNAVAILABLE)."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.answers, selectors.EVENT_READ)
            started = bool(selector.select(_START_SECONDS)) and os.read(self.answers.fileno(), _MAX_ANSWER)
        if not started:
            raise Unavailable(
                "picture decoder does not start",
                reason="DECODER_UNAVAILABLE",
                remedy='run "python -m member_agent.fingerprinting.decode_worker 1073741824 20" to see why',
            )

    def take(self, job: _Job, timeout: float) -> None:
        """Raises: OSError if the process is gone."""
        request = {"path": str(job.path.absolute()), "mode": job.mode}
        self._requests.write(json.dumps(request).encode() + b"\n")
        self.job, self.deadline = job, time.monotonic() + timeout

    def collect(self) -> bool:
        """Reads what there is; the job is finished by a whole answer, or by the end of the process: then False."""
        chunk = os.read(self.answers.fileno(), _MAX_ANSWER)
        self._partial += chunk
        if not chunk or len(self._partial) > _MAX_ANSWER:
            self.kill()
            self.finish(_died(self._process.returncode))
            return False
        if self._partial.endswith(b"\n"):
            self.finish(_parse(self._partial))
            self._partial = b""
        return True

    def finish(self, result: Result) -> None:
        assert self.job is not None
        self.job.result = result
        self.job = None

    def kill(self) -> None:
        """Ends the process, if it has not ended, and forgets it."""
        self._process.kill()
        self._process.wait()
        self._requests.close()
        self.answers.close()


def _parse(line: bytes) -> Result:
    """A worker's answer, trusted no more than the picture it comes from."""
    try:
        answer = json.loads(line)
        if "error" in answer:
            error = answer["error"]
            return InvalidInput(
                str(error["message"]), reason=str(error["reason"]), remedy=str(error["remedy"]), field="image"
            )
        variants = [
            Variant(kind=str(kind), hash=bytes.fromhex(value), quality=int(quality))
            for kind, value, quality in answer["values"]
        ]
        if not variants or any(len(variant.hash) != HASH_BYTES for variant in variants):
            raise ValueError("hash of another size")
        return variants
    except (ValueError, TypeError, KeyError) as error:
        return _unreadable(f"its decoder answered nonsense ({type(error).__name__})")


def _died(status: int) -> InvalidInput:
    if status == -signal.SIGXCPU:
        return _timed_out()
    return _unreadable(f"its decoder ended with status {status}")


def _timed_out() -> InvalidInput:
    return InvalidInput(
        "picture cannot be used: decoding it took too long",
        reason="IMAGE_TIMEOUT",
        remedy="use a smaller copy",
        field="image",
    )


def _unreadable(message: str) -> InvalidInput:
    return InvalidInput(
        f"picture cannot be used: {message}",
        reason="IMAGE_UNREADABLE",
        remedy="save it anew with another program",
        field="image",
    )
