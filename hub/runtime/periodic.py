"""The dull runner: calls pure-enough work again and again in one thread until told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from alliance.errors import AllianceError

log = structlog.get_logger()


class Periodic:
    """Runs `work` every `seconds`, once more at `stop`. An error is logged and the next turn tries again."""

    def __init__(self, name: str, work: Callable[[], None], *, seconds: float) -> None:
        self._name, self._work, self._seconds = name, work, seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(self._seconds)
            try:
                self._work()
            except AllianceError as error:
                log.error("periodic_refused", runner=self._name, reason=error.reason, message=error.message)
            except Exception as error:
                log.error("periodic_failed", runner=self._name, exc_info=error)
