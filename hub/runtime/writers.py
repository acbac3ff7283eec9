"""SQLite's writers: one at a time, in order of arrival; short ones that queue share a transaction and its one sync.

A commit waits for the disk, and answers that come together would each wait in turn. So a writer that may share, and
finds another such next in line, leaves its transaction open to it and waits; the last commits for all. Each joined
writer works behind a savepoint, so that one's failure undoes its own work only, and nobody goes on, done or refused,
before what was written is on the disk. If the commit fails, it fails for all of them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection

from alliance.errors import Unavailable
from alliance.prepared import command

# Under a storm of writers the first waits for so many at most.
MOST = 16


class _Waiting:
    def __init__(self, *, shared: bool) -> None:
        self.shared = shared
        self.turn = threading.Event()


class _Batch:
    """One transaction, and what came of it once it is `done`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.writers = 0
        self.done = threading.Event()
        self.error: BaseException | None = None
        self._transaction = connection.begin()

    @property
    def alive(self) -> bool:
        """SQLite rolls back by itself where the disk is full or broken."""
        raw = self.connection.connection.dbapi_connection
        return raw is not None and bool(raw.in_transaction)

    def end(self, error: BaseException | None) -> None:
        """Commits, or rolls back for `error`; all that wait go on. Raises: what the commit raises."""
        try:
            if error is None:
                self._transaction.commit()
            else:
                self._transaction.rollback()
        except BaseException as failure:
            error = failure
            # SQLite may keep a transaction open whose commit failed: nobody gets this connection again.
            self.connection.invalidate()
            raise
        finally:
            self.error = error
            try:
                self.connection.close()
            finally:
                self.done.set()

    def await_end(self) -> None:
        """Raises: Unavailable where it was not committed."""
        self.done.wait()
        if self.error is not None:
            raise Unavailable("the database did not keep this change", reason="DATABASE_UNAVAILABLE") from self.error


class WriteQueue:
    """`connect` gives a connection whose transactions are writing ones."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._mutex = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._busy = False
        # What the turn's holder finds open; only the holder looks at it.
        self._open: _Batch | None = None

    @contextmanager
    def write(self, *, shared: bool) -> Iterator[Connection]:
        """Raises: Unavailable where the commit it shares failed."""
        self._arrive(_Waiting(shared=shared))
        try:
            batch, self._open = self._open or _Batch(self._connect()), None
        except BaseException:
            self._pass()
            raise
        batch.writers += 1
        joined = batch.writers > 1
        try:
            if joined:
                command(batch.connection, "SAVEPOINT writer")
            yield batch.connection
            if joined:
                command(batch.connection, "RELEASE SAVEPOINT writer")
        except BaseException as error:
            self._undo(batch, error, joined=joined, shared=shared)
            raise
        self._finish(batch, shared=shared)
        batch.await_end()

    def _undo(self, batch: _Batch, error: BaseException, *, joined: bool, shared: bool) -> None:
        """Takes back one writer's work; where that is all there was, or cannot be done, the whole transaction."""
        if joined and batch.alive:
            command(batch.connection, "ROLLBACK TO SAVEPOINT writer")
            command(batch.connection, "RELEASE SAVEPOINT writer")
            with suppress(Exception):
                self._finish(batch, shared=shared)
            # It may have failed for what those before it wrote, which nobody else sees until it is committed.
            batch.await_end()
            return
        try:
            batch.end(error)
        finally:
            self._pass()

    def _finish(self, batch: _Batch, *, shared: bool) -> None:
        """Leaves the transaction to the next in line, or commits it."""
        with self._mutex:
            heir = self._waiting[0] if self._waiting else None
        if heir is not None and shared and heir.shared and batch.writers < MOST:
            self._open = batch
            self._pass()
            return
        try:
            batch.end(None)
        finally:
            self._pass()

    def _arrive(self, me: _Waiting) -> None:
        with self._mutex:
            if not self._busy:
                self._busy = True
                return
            self._waiting.append(me)
        me.turn.wait()

    def _pass(self) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().turn.set()
            else:
                self._busy = False
