"""The dull runner: does what the last answer of a phase could not do itself, and what no answer brings about.

One thread. It aggregates under a lease what it is given, and while it does another renews the leases; it is woken for a
round that was triggered or waits for agents that connect; and every second it looks at all open rounds, since
deadlines pass, members leave, and schedules are due. A hub that was killed goes on from what was stored.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import structlog

from alliance.errors import AllianceError
from hub.blobs.files import BlobFiles
from hub.federation.aggregation import aggregate
from hub.federation.model import RoundId
from hub.federation.service import RoundService
from hub.federation.work import LEASE, Outcome, Work
from hub.runtime.db import Database
from hub.runtime.periodic import Periodic

log = structlog.get_logger()
# Schedules, deadlines and presence are looked at this often even when nothing happens.
TICK = 1.0
# A lease outlives two renewals that failed.
RENEWAL_SECONDS = LEASE / 1e6 / 4


class Runner:
    def __init__(
        self, rounds: RoundService, files: BlobFiles, db: Database, *, renewal_seconds: float = RENEWAL_SECONDS
    ) -> None:
        self._rounds, self._files, self._db = rounds, files, db
        self._given: deque[Work] = deque()
        # What is being aggregated; with what was given, that is what this runner has leases of.
        self._current: Work | None = None
        self._leases = Periodic("lease-keeper", self._renew, seconds=renewal_seconds)
        self._wake = threading.Event()
        self._ripe = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="round-runner", daemon=True)

    def start(self) -> None:
        if self._db.is_sqlite:
            with self._db.write() as tx:
                self._rounds.recover(tx)
        self._leases.start()
        self._thread.start()

    def wake(self, work: Work | None = None) -> None:
        """Look now, at `work` that comes with its lease in any case; may be called from any thread."""
        if work is None:
            self._ripe = True
        else:
            self._given.append(work)
        self._wake.set()

    def stop(self) -> None:
        """What was given is done first: its lease would keep other hubs from it."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._leases.stop()

    def _run(self) -> None:
        tick = time.monotonic()
        while not self._stopping or self._given:
            self._wake.clear()
            everything = time.monotonic() >= tick
            if everything:
                tick = time.monotonic() + TICK
            self._tried(partial(self.turn, everything=everything))
            self._wake.wait(max(0.0, tick - time.monotonic()))

    def turn(self, *, everything: bool = True) -> None:
        """What was given; then what there is to do in all open rounds, or if asked to in those that wait for no answer.

        What fails in one round, or in starting one, holds up no other round.
        """
        while self._given:
            self._tried(partial(self._conclude, self._given.popleft()))
        if everything:
            self._tried(self._start_due)
        elif not self._ripe:
            return
        self._ripe = False
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
        with self._db.write() as tx:
            work = self._rounds.advance(tx, round_id)
        if work is not None:
            self._conclude(work)

    def _conclude(self, work: Work) -> None:
        self._current = work
        try:
            outcome = self._outcome(work)
            with self._db.write() as tx:
                self._rounds.conclude(tx, work, outcome)
        finally:
            self._current = None

    def _renew(self) -> None:
        """In a thread of its own: an aggregation may take longer than a lease."""
        held = [work for work in (self._current, *self._given.copy()) if work is not None]
        if held:
            with self._db.write() as tx:
                self._rounds.renew(tx, held)

    def _outcome(self, work: Work) -> Outcome:
        """A failure of ours ends the round; tried again it would fail again, and the lease would hide it."""
        try:
            return aggregate(work, self._files)
        except Exception as error:
            log.error("round_runner_failed", exc_info=error)
            return Outcome(failure="not aggregated: the hub failed, its log says why")
