"""`alliance-hub` as a person runs it: one process per command, and a hub that serves in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

COMMAND = (sys.executable, "-m", "hub")
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def reason(self) -> str:
        """The reason of the one error line; empty where there is none."""
        found = re.search(r"^error: .* \[([A-Z_]+)\]$", self.err, re.MULTILINE)
        return found[1] if found else ""


def run(*arguments: str, home: Path | None = None, stdin: str = "", **variables: str) -> Done:
    """Runs one command to its end; `variables` are added to the environment."""
    place = ["--home", str(home)] if home else []
    done = subprocess.run(
        [*COMMAND, *place, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=environment() | variables,
        check=False,
    )
    return Done(code=done.returncode, out=done.stdout, err=done.stderr)


def environment() -> dict[str, str]:
    """Ours without what steers the hub, so that a developer's own hub is never meant."""
    return {key: value for key, value in os.environ.items() if not key.startswith("ALLIANCE_")}


class Serving:
    """`serve` over an initialised home, from `__enter__` to `__exit__`.

    Attributes:
        address: where it serves members and operators.
        enrolment_address: where members enrol.
    """

    def __init__(self, home: Path, **variables: str) -> None:
        self.home = home
        self.log = home.with_name(f"{home.name}.log")
        self._variables = variables
        self._process: subprocess.Popen[str] | None = None
        self.address = self.enrolment_address = ""

    def __enter__(self) -> Self:
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [*COMMAND, "--home", str(self.home), "serve"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment() | self._variables,
            )
        assert self._process.stdout is not None
        found = re.match(r"hub (\S+), enrolment (\S+)", self._process.stdout.readline())
        if found is None:
            self.end(signal.SIGKILL)
            raise AssertionError(f"the hub did not start: {self.log.read_text()[-2000:]}")
        self.address, self.enrolment_address = found.groups()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.end(signal.SIGKILL)

    def end(self, number: signal.Signals) -> int:
        """Signals the hub and waits for its exit code."""
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(number)
        code = process.wait(TIMEOUT_S)
        assert process.stdout is not None
        process.stdout.close()
        return code
