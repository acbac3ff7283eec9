"""`alliance-hub serve` in a process of its own, over the home of a hub made in this one, to be killed and restarted.

Promise: it listens where the home's settings say, so that agents find it again; its log is a file; nothing of it
is left when the `with` block ends.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from hub.config import Home

START_TIMEOUT_S = 30.0


class HubProcess:
    """Use as a context manager; `kill` and `start` as often as needed."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(path=folder / "hub")
        self.log = folder / "hub.log"
        settings, _ = self.home.load()
        self._host, _, port = settings.server_address.rpartition(":")
        self._port = int(port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "hub", "--home", str(self.home.path), "serve"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        ends = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > ends:
                raise AssertionError(f"the hub did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: no goodbye to anyone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_TIMEOUT_S)

    def _answers(self) -> bool:
        try:
            socket.create_connection((self._host, self._port), timeout=1.0).close()
        except OSError:
            return False
        return True


def free_address() -> str:
    """A loopback address that nobody listens on now, for a hub that must come back where it was."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"127.0.0.1:{found.getsockname()[1]}"
