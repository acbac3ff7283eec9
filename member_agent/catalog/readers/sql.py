"""Rows of any SQL query, through SQLAlchemy, streamed and never written back.

The URL often holds a password: it comes from a file or the environment, and no message of this module repeats it.
A query's rows have no order that can be relied on, so an interrupted import of one starts again; its rows that were
stored already then count as unchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, CursorResult, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from alliance.errors import InvalidInput, NotFound
from member_agent.catalog.model import SqlQuery
from member_agent.catalog.readers.records import Record, checked, distinct

_FETCH = 1000


class SqlReader:
    """Reads the result of one query.

    Raises:
        InvalidInput: SQL_URL_MALFORMED, SQL_DRIVER_MISSING or SQL_FAILED (with the database's own words).
        NotFound: the SQLite file of the URL is not there.
    """

    total = 0

    def __init__(self, sql: SqlQuery) -> None:
        self._sql = sql
        self._url = _parse(sql.url)
        self.done = 0
        with self._result() as result:
            self.columns = distinct(list(result.keys()))

    @property
    def digest(self) -> bytes:
        """Of the query and the database's address, without the password."""
        shown = self._url.render_as_string(hide_password=True)
        return hashlib.sha256(f"{shown}\0{self._sql.query}".encode()).digest()

    def records(self) -> Iterator[Record]:
        with self._result() as result:
            number = 0
            try:
                for number, row in enumerate(result, start=1):
                    self.done = number
                    yield checked(number, dict(zip(self.columns, map(_text, row), strict=True)))
            except SQLAlchemyError as error:
                raise _failed(error, f"broke off after {number:,} rows") from error

    @contextmanager
    def _result(self) -> Iterator[CursorResult[tuple[object, ...]]]:
        engine = _engine(self._url)
        try:
            with _connected(engine) as connection:
                try:
                    result = connection.exec_driver_sql(self._sql.query)
                except SQLAlchemyError as error:
                    raise _failed(error) from error
                if not result.returns_rows:
                    raise InvalidInput(
                        "the statement returns no rows",
                        reason="SQL_NOT_A_QUERY",
                        field="--sql",
                        remedy="write a SELECT",
                    )
                yield result
        finally:
            engine.dispose()


def _parse(text: str) -> URL:
    try:
        url = make_url(text.strip())
    except ArgumentError as error:
        raise InvalidInput(
            "the database URL cannot be read",
            reason="SQL_URL_MALFORMED",
            field="--sql-url-file",
            remedy="write it as dialect+driver://user:password@host/database",
        ) from error
    if url.get_backend_name() == "sqlite" and url.database:
        path = Path(url.database)
        if not path.is_file():
            raise NotFound(f"there is no database file {path}", reason="FILE_UNREADABLE")
        return url.set(database=path.resolve().as_uri(), query={"mode": "ro", "uri": "true"})
    return url


def _engine(url: URL) -> sa.Engine:
    try:
        return sa.create_engine(url)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise InvalidInput(
            f"no driver for {url.drivername!r} databases is installed",
            reason="SQL_DRIVER_MISSING",
            field="--sql-url-file",
            remedy="install the driver's Python package, or name another one: dialect+driver://...",
        ) from error


@contextmanager
def _connected(engine: sa.Engine) -> Iterator[Connection]:
    try:
        connection = engine.connect()
    except SQLAlchemyError as error:
        raise _failed(error) from error
    # no_parameters: a "%" in the query is the user's own, not a placeholder
    with connection.execution_options(stream_results=True, yield_per=_FETCH, no_parameters=True) as prepared:
        yield prepared


def _failed(error: SQLAlchemyError, how: str = "refused") -> InvalidInput:
    words = str(getattr(error, "orig", None) or error).strip().splitlines()
    return InvalidInput(
        f"the database {how}: {words[0] if words else type(error).__name__}",
        reason="SQL_FAILED",
        field="--sql",
        remedy="try the query in the database's own client",
    )


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return str(value)
