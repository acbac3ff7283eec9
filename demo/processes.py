"""Children of the demo: the hub's and the agents' own command lines, run as real processes.

Every child runs in a process group of its own, so that a Ctrl-C in the terminal reaches the demo alone and the demo
stops its children in order; only processes started here are ever signalled. What a child says goes to its log file
(for a command, its JSON on standard output is the answer and not logged: join codes are secrets). A child that fails
becomes an `AllianceError` with the last lines it wrote and the place of its log.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from alliance.errors import AllianceError, Corrupt

T = TypeVar("T")

WORKERS = max(2, os.cpu_count() or 2)
COMMAND_SECONDS = 280.0
STOP_SECONDS = 10.0
_LAST_LINES = 8
# Settings and proxies of the user's shell are not the demo's.
_NOT_INHERITED = ("alliance_", "http_proxy", "https_proxy", "all_proxy", "grpc_proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A child that stays up."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raises: AllianceError if it has ended."""
        if (code := self.process.poll()) is not None:
            raise _failed(self.name, f"ended with status {code}", self.log)


class Children:
    """Starts, runs and stops the demo's processes; safe to use from several threads.

    Daemons are best started by `together`: a Ctrl-C interrupts the main thread only, so none is started and forgotten.

    Args:
        folder: where they work; in it `logs`, one file for each name.
    """

    def __init__(self, folder: Path) -> None:
        self.logs = folder / "logs"
        self._folder = folder
        self._lock = threading.Lock()
        self._daemons: list[Daemon] = []
        self._running: list[subprocess.Popen[bytes]] = []
        self._stopping = False
        self.logs.mkdir()

    def start(self, name: str, module: str, *arguments: str) -> Daemon:
        """Starts `python -m module arguments` as a daemon. Raises: AllianceError."""
        log = self._log(name)
        with log.open("ab") as out:
            process = self._spawn(module, arguments, stdout=out.fileno(), stderr=out.fileno())
        daemon = Daemon(name=name, process=process, log=log)
        self._daemons.append(daemon)
        return daemon

    def check(self) -> None:
        """Raises: AllianceError if a daemon has ended."""
        for daemon in self._daemons:
            daemon.check()

    def ask(self, name: str, module: str, *arguments: str, seconds: float = COMMAND_SECONDS) -> Any:
        """Runs a command that prints one JSON document, and returns the document.

        Raises:
            AllianceError: it failed or took longer than `seconds`.
            Corrupt: what it printed is no JSON.
        """
        log = self._log(name)
        with log.open("ab") as err:
            _note_command(err, module, arguments)
            process = self._spawn(module, arguments, stdout=subprocess.PIPE, stderr=err.fileno())
        command = " ".join(_words(arguments))
        try:
            out, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.communicate()
            raise _failed(f"{name}: {command}", f"took longer than {seconds:.0f} s", log) from None
        finally:
            self._forget(process)
        if process.returncode:
            raise _failed(f"{name}: {command}", f"ended with status {process.returncode}", log)
        try:
            return json.loads(out)
        except ValueError as error:
            raise Corrupt(f"{name}: {command} printed no JSON", remedy=f"see {log}") from error

    def follow(self, name: str, module: str, *arguments: str, told: Callable[[str], None]) -> None:
        """Runs a command, and tells each line that it prints and the log keeps; returns when it has ended well.

        Raises:
            AllianceError: it failed or took longer than `COMMAND_SECONDS`.
        """
        log = self._log(name)
        with log.open("ab") as out:
            _note_command(out, module, arguments)
            process = self._spawn(module, arguments, stdout=subprocess.PIPE, stderr=out.fileno())
            timer = threading.Timer(COMMAND_SECONDS, _signal, (process, signal.SIGKILL))
            timer.start()
            try:
                for line in process.stdout or ():
                    out.write(line)
                    out.flush()
                    told(line.decode("utf-8", "replace").strip())
                process.communicate()
            finally:
                timer.cancel()
                self._forget(process)
        if process.returncode:
            raise _failed(f"{name}: {' '.join(_words(arguments))}", f"ended with status {process.returncode}", log)

    def together(self, jobs: Iterable[Callable[[], T]]) -> list[T]:
        """Runs jobs on as many threads as there are cores; their results, in order.

        The first failure (or Ctrl-C) stops every child, so that no thread is left waiting for one.
        """
        with ThreadPoolExecutor(WORKERS) as pool:
            futures = [pool.submit(job) for job in jobs]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.stop()
                raise

    def stop(self) -> None:
        """Asks every child to end, the youngest first, and kills those that do not; starts none after."""
        with self._lock:
            self._stopping = True
            running = list(self._running)
        for process in reversed(running):
            _signal(process, signal.SIGTERM)
        for process in running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
                process.wait()

    def _spawn(self, module: str, arguments: Sequence[str], *, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopping:
                raise AllianceError("the demo is stopping", reason="STOPPING")
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=self._folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                process_group=0,
            )
            self._running.append(process)
            return process

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            if process in self._running and process.poll() is not None:
                self._running.remove(process)

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.lower().startswith(_NOT_INHERITED)}


def _note_command(log: IO[bytes], module: str, arguments: Sequence[str]) -> None:
    log.write(f"$ {module} {' '.join(arguments)}\n".encode())
    log.flush()


def _words(arguments: Sequence[str]) -> list[str]:
    """The command among the arguments, as a person would name it: up to two words, no options or values."""
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        del rest[:2]
    return [word for word in rest[:2] if not word.startswith("-") and "/" not in word]


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the child and whatever it started: its group bears its id, which stays its own until it is waited for."""
    if process.poll() is None:
        os.killpg(process.pid, number)


def _failed(what: str, how: str, log: Path) -> AllianceError:
    said = log.read_text("utf-8", "replace").rpartition("\n$ ")[2]
    last = "".join(f"\n  | {line}" for line in said.splitlines()[-_LAST_LINES:])
    return AllianceError(f"{what} {how}{last}\n", reason="CHILD_FAILED", remedy=f"see {log}")
