"""The dull runner: steps open rounds until each waits, aggregates under a lease, sleeps until woken.

One thread. It is woken by every committed mutation (an answer, a trigger) and at the latest when a phase's
deadline or a schedule is due; a hub that was killed goes on from what was stored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import structlog

from alliance.errors import AllianceError
from hub.blobs.files import BlobFiles
from hub.federation.aggregation import aggregate
from hub.federation.model import RoundId
from hub.federation.service import Outcome, RoundService, Work
from hub.runtime.db import Database

log = structlog.get_logger()
# Schedules and presence are looked at this often even when nothing happens.
TICK = 1.0


class Runner:
    """`changed` tells watchers that tasks may have changed; it is called from the runner's thread."""

    def __init__(self, rounds: RoundService, files: BlobFiles, db: Database, *, changed: Callable[[], None]) -> None:
        self._rounds, self._files, self._db, self._changed = rounds, files, db, changed
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="round-runner", daemon=True)

    def start(self) -> None:
        if self._db.is_sqlite:
            with self._db.write() as tx:
                self._rounds.recover(tx)
        self._thread.start()

    def wake(self) -> None:
        """Look now; may be called from any thread."""
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            self._tried(self.turn)
            self._wake.wait(TICK)

    def turn(self) -> None:
        """Everything there is to do now; what fails in one round, or in starting one, holds up no other round."""
        self._tried(self._start_due)
        while not self._stopping:
            moved = [self._tried(partial(self._advance, round_id)) for round_id in self._open()]
            if not any(moved):
                return

    def _tried(self, work: Callable[[], bool | None]) -> bool:
        """What the work returns; False where it failed, which the next turn tries again."""
        try:
            return bool(work())
        except AllianceError as error:
            log.error("rounds_not_advanced", reason=error.reason, message=error.message)
        except Exception as error:
            log.error("round_runner_failed", exc_info=error)
        return False

    def _start_due(self) -> None:
        with self._db.write() as tx:
            self._rounds.start_due(tx)

    def _open(self) -> list[RoundId]:
        with self._db.read() as tx:
            return self._rounds.open_rounds(tx)

    def _advance(self, round_id: RoundId) -> bool:
        """One step; whether another may follow at once."""
        with self._db.write() as tx:
            advanced = self._rounds.advance(tx, round_id)
        if advanced.work is not None:
            outcome = self._outcome(advanced.work)
            with self._db.write() as tx:
                self._rounds.conclude(tx, advanced.work, outcome)
        moved = advanced.changed or advanced.work is not None
        if moved:
            self._changed()
        return moved

    def _outcome(self, work: Work) -> Outcome:
        """A failure of ours ends the round; tried again it would fail again, and the lease would hide it."""
        try:
            return aggregate(work, self._files)
        except Exception as error:
            log.error("round_runner_failed", exc_info=error)
            return Outcome(failure="not aggregated: the hub failed, its log says why")
