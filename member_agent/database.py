"""The agent's own SQLite files: WAL, synced commits, a schema version that refuses what is newer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, create_engine, event
from sqlalchemy.exc import OperationalError

from alliance.errors import FailedPrecondition, Unavailable
from alliance.prepared import command


class LocalDatabase:
    """One file with the tables of one metadata; several processes of the agent may share it.

    Args:
        synchronous: "FULL" survives a power cut; "NORMAL" a kill, for what can be had again.

    Raises: FailedPrecondition for a file of a newer agent.
    """

    def __init__(self, path: Path, metadata: MetaData, *, version: int, synchronous: str = "FULL") -> None:
        self._engine = create_engine(f"sqlite:///{path}")
        self._path = path
        self._synchronous = synchronous

        @event.listens_for(self._engine, "connect")
        def configure(connection: Any, _record: Any) -> None:
            # The driver's own transaction control would defer BEGIN to the first write.
            connection.isolation_level = None
            for pragma in ("busy_timeout=30000", "journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}").close()

        @event.listens_for(self._engine, "begin")
        def begin(connection: Connection) -> None:
            write = connection.get_execution_options().get("alliance_write", False)
            command(connection, "BEGIN IMMEDIATE" if write else "BEGIN")

        self._prepare(metadata, version)

    def _prepare(self, metadata: MetaData, version: int) -> None:
        with self.read() as tx:
            found = tx.exec_driver_sql("PRAGMA user_version").scalar_one()
        if found == version:
            return
        if found > version:
            raise FailedPrecondition(
                f"{self._path.name} was written by a newer agent", reason="SCHEMA_NEWER", remedy="upgrade this agent"
            )
        with self.write() as tx:
            metadata.create_all(tx)
            _widen(tx, metadata)
            tx.exec_driver_sql(f"PRAGMA user_version = {version}")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with _translated(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self, *, synced: bool = True) -> Iterator[Connection]:
        """Commits when the block ends, rolls back when it raises; not `synced` survives a kill and no power cut."""
        with _translated(), self._engine.connect().execution_options(alliance_write=True) as connection:
            if not synced:
                _synchronise(connection, "NORMAL")
            try:
                with connection.begin():
                    yield connection
            finally:
                if not synced:
                    _synchronise(connection, self._synchronous)

    def close(self) -> None:
        self._engine.dispose()


def _widen(tx: Connection, metadata: MetaData) -> None:
    """Adds the columns that a table of an older agent lacks; they may be empty, as its rows have nothing there."""
    for table in metadata.sorted_tables:
        there = {row.name for row in tx.exec_driver_sql(f'PRAGMA table_info("{table.name}")')}
        for column in table.columns:
            if column.name not in there:
                kind = column.type.compile(tx.dialect)
                tx.exec_driver_sql(f'ALTER TABLE "{table.name}" ADD COLUMN "{column.name}" {kind}')


def _synchronise(connection: Connection, mode: str) -> None:
    """Of the connection, outside any transaction, where SQLite listens."""
    raw = connection.connection.dbapi_connection
    assert raw is not None
    raw.execute(f"PRAGMA synchronous={mode}").close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, sqlite3.OperationalError) as error:
        raise Unavailable(
            f"the agent's database refuses: {getattr(error, 'orig', error)}",
            reason="DATABASE",
            remedy="check disk space and permissions",
        ) from error
