"""The database: one engine, explicit read and write transactions, one process on SQLite.

SQLite (WAL, `synchronous=FULL`, foreign keys) is the embedded default; PostgreSQL through psycopg 3 runs the
same stores. A write transaction on SQLite takes the write lock at BEGIN, so it never fails half way for
having read first; writers of this process queue (`writers`) instead of polling SQLite's lock.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import BigInteger, Connection, Engine, Integer, MetaData, create_engine, event, make_url
from sqlalchemy.exc import IntegrityError, OperationalError

from alliance.errors import AllianceError, Conflict, FailedPrecondition, InvalidInput, Unavailable
from alliance.prepared import command
from hub.runtime.writers import WriteQueue

log = structlog.get_logger()
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_AFTER = "after_commit"
# Microseconds since the epoch, sequence numbers, sizes.
Int64 = BigInteger()
# SQLite auto-increments only INTEGER.
AutoId = BigInteger().with_variant(Integer(), "sqlite")


class RaceLost(Conflict):
    """A constraint decided between two transactions, and the other one was first."""


class Database:
    """Opens transactions; never hands out the engine."""

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if not self.is_sqlite and self.url.get_backend_name() != "postgresql":
            raise InvalidInput(
                f"unsupported database {self.url.get_backend_name()!r}",
                field="database.url",
                remedy="use sqlite:///FILE or postgresql+psycopg://...",
            )
        self._engine = _sqlite_engine(url, pool_size) if self.is_sqlite else _postgres_engine(url, pool_size)
        self._writers = WriteQueue(self._writing) if self.is_sqlite else None
        self._written = itertools.count(1)
        self._state = 0
        # SQLite reads of one moment anyway; PostgreSQL would show every statement what committed before it.
        self._one_moment = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction for reading; all it reads is of one moment."""
        with (
            _translated(),
            self._engine.connect().execution_options(**self._one_moment) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def write(self, *, shared: bool = False) -> Iterator[Connection]:
        """A transaction that commits when the block ends and rolls back when it raises; then what it asked for is
        done (`after_commit`).

        Args:
            shared: on SQLite, may be committed together with others, before and after it; for short work.
        """
        hooks: list[Callable[[], None]] = []
        try:
            with _translated(), self._write(shared=shared) as connection:
                connection.info[_AFTER] = hooks
                yield connection
        finally:
            # Before anybody hears of the commit; that a rollback counts too does no harm.
            self._state = next(self._written)
        for hook in hooks:
            _done(hook)

    @contextmanager
    def _write(self, *, shared: bool) -> Iterator[Connection]:
        if self._writers is not None:
            with self._writers.write(shared=shared) as connection:
                yield connection
            return
        with self._writing() as connection, connection.begin():
            yield connection

    def _writing(self) -> Connection:
        return self._engine.connect().execution_options(alliance_write=True)

    @property
    def state(self) -> int | None:
        """Another number after every commit; None where other processes commit too, so that nobody here can tell."""
        return self._state if self.is_sqlite else None

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """For migrations only."""
        yield self._engine

    def close(self) -> None:
        self._engine.dispose()


def is_write(tx: Connection) -> bool:
    """Whether `Database.write` opened this transaction."""
    return bool(tx.get_execution_options().get("alliance_write", False))


def after_commit(tx: Connection, hook: Callable[[], None]) -> None:
    """Calls `hook` in this thread once the transaction of `Database.write` is committed, and else never.

    What it raises is logged: nothing is undone by it, and whoever waits for the transaction is told that it committed.
    """
    tx.info[_AFTER].append(hook)


class Undone(Exception):
    """What a savepoint took back; the transaction goes on without it. The cause says what went wrong."""


@contextmanager
def savepoint(tx: Connection) -> Iterator[None]:
    """A part of a transaction that may fail alone, what it asked for after the commit included.

    Raises: Undone. What the database raises, where it has lost the whole transaction.
    """
    hooks: list[Callable[[], None]] = tx.info[_AFTER]
    asked = len(hooks)
    command(tx, "SAVEPOINT part")
    try:
        yield
    except Exception as error:
        command(tx, "ROLLBACK TO SAVEPOINT part")
        command(tx, "RELEASE SAVEPOINT part")
        del hooks[asked:]
        raise Undone from error
    command(tx, "RELEASE SAVEPOINT part")


def _done(hook: Callable[[], None]) -> None:
    try:
        hook()
    except AllianceError as error:
        log.error("after_commit_refused", reason=error.reason, message=error.message)
    except Exception as error:
        log.error("after_commit_failed", exc_info=error)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (IntegrityError, sqlite3.IntegrityError) as error:
        # Services check first; a constraint decides only between transactions that race.
        raise RaceLost("another change came first", reason="RACE_LOST", remedy="look again, then retry") from error
    except (OperationalError, sqlite3.OperationalError) as error:
        raise Unavailable("the database does not answer", reason="DATABASE_UNAVAILABLE") from error


def _sqlite_engine(url: str, pool_size: int) -> Engine:
    engine = create_engine(url, pool_size=pool_size, max_overflow=4, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # The driver's own transaction control would defer BEGIN to the first write.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        command(connection, "BEGIN IMMEDIATE" if is_write(connection) else "BEGIN")

    return engine


def _postgres_engine(url: str, pool_size: int) -> Engine:
    return create_engine(url, pool_size=pool_size, max_overflow=4, pool_pre_ping=True)


class ProcessLock:
    """Holds a lock file for as long as the process lives: SQLite means one hub process."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise FailedPrecondition(
                f"{path.name} is held by process {holder}",
                reason="ALREADY_RUNNING",
                remedy="stop it first, or use PostgreSQL for several hub processes",
            ) from error
        self._file.seek(0)
        self._file.truncate()
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        self._file.close()
