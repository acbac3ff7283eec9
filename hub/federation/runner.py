"""The dull runner: takes open rounds as far as they go, aggregates under a lease, sleeps until woken.

One thread. A committed mutation (an answer, a trigger) wakes it for the rounds that may go on by it; every second it
looks at all of them, since deadlines pass, members come and leave, and schedules are due. A hub that was killed goes
on from what was stored.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from functools import partial

import structlog

from alliance.errors import AllianceError
from alliance.names import MemberId
from hub.blobs.files import BlobFiles
from hub.federation.aggregation import aggregate
from hub.federation.model import RoundId
from hub.federation.service import Outcome, RoundService, Work
from hub.runtime.db import Database

log = structlog.get_logger()
# Schedules, deadlines and presence are looked at this often even when nothing happens.
TICK = 1.0


class Runner:
    """`asked` hears of members that may have a new task; it is called from the runner's thread."""

    def __init__(
        self, rounds: RoundService, files: BlobFiles, db: Database, *, asked: Callable[[Collection[MemberId]], None]
    ) -> None:
        self._rounds, self._files, self._db, self._asked = rounds, files, db, asked
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
        tick = time.monotonic()
        while not self._stopping:
            self._wake.clear()
            everything = time.monotonic() >= tick
            if everything:
                tick = time.monotonic() + TICK
            self._tried(partial(self.turn, everything=everything))
            self._wake.wait(max(0.0, tick - time.monotonic()))

    def turn(self, *, everything: bool = True) -> None:
        """What there is to do now: in all open rounds, or only in those that an answer or a trigger may have moved.

        What fails in one round, or in starting one, holds up no other round.
        """
        if everything:
            self._tried(self._start_due)
        for round_id in self._open(everything=everything):
            if self._stopping:
                return
            self._tried(partial(self._advance, round_id))

    def _tried(self, work: Callable[[], None]) -> None:
        """What failed is tried again by a later turn."""
        try:
            work()
        except AllianceError as error:
            log.error("rounds_not_advanced", reason=error.reason, message=error.message)
        except Exception as error:
            log.error("round_runner_failed", exc_info=error)

    def _start_due(self) -> None:
        with self._db.write() as tx:
            self._rounds.start_due(tx)

    def _open(self, *, everything: bool) -> list[RoundId]:
        with self._db.read() as tx:
            return self._rounds.open_rounds(tx) if everything else self._rounds.ripe_rounds(tx)

    def _advance(self, round_id: RoundId) -> None:
        """Until the round, or the series it is of, waits for members."""
        with self._db.write() as tx:
            advanced = self._rounds.advance(tx, round_id)
        self._asked(advanced.asked)
        if (work := advanced.work) is not None:
            outcome = self._outcome(work)
            with self._db.write() as tx:
                self._rounds.conclude(tx, work, outcome)
            self._asked([slot.member for slot in work.round.participants])

    def _outcome(self, work: Work) -> Outcome:
        """A failure of ours ends the round; tried again it would fail again, and the lease would hide it."""
        try:
            return aggregate(work, self._files)
        except Exception as error:
            log.error("round_runner_failed", exc_info=error)
            return Outcome(failure="not aggregated: the hub failed, its log says why")
