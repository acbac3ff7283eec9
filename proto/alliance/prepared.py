"""Statements that every call, answer or round runs: compiled once, and on SQLite run by its driver itself.

For each execution SQLAlchemy makes a cache key, a context, a cursor and a result: 20 us around the 4 us that SQLite
takes, a hundred times in a round. On PostgreSQL the way to the server outweighs that, and the statement goes the usual
way. What is prepared has columns and parameters of types that need no conversion.
"""

from __future__ import annotations

import json
import sqlite3
from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, cast

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Delete,
    Enum,
    Float,
    Insert,
    Integer,
    LargeBinary,
    Select,
    String,
    Update,
    any_,
    bindparam,
    func,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.type_api import TypeEngine
from sqlalchemy.types import NullType

Statement = Select[Any] | Insert | Update | Delete
# Of no type is what is compared with a foreign key whose table was not known yet.
_PLAIN = (Integer, String, LargeBinary, Float, NullType)
_DIALECT = sqlite.dialect(paramstyle="named")


@dataclass(frozen=True, slots=True)
class _Compiled:
    """`constants` are parameters that the statement brings along: a limit, a value that is set."""

    sql: str
    constants: Mapping[str, Any]


class Prepared:
    """Parameters go by name; rows have their columns as attributes.

    Args:
        among: parameters that are lists, with the columns of text or numbers of which they select: any number of
            values, and one statement for all, which IN would not be.

    Raises, on SQLite: TypeError, when first run, for a type that needs conversion, and for parameters that are missing
    or unknown; what the driver raises.
    """

    def __init__(self, statement: Statement, *, among: Mapping[str, ColumnElement[Any]] = MappingProxyType({})) -> None:
        self._statement, self._among = statement, among
        # By the names of the parameters: they are what an insert or an update sets.
        self._compiled: dict[tuple[str, ...], _Compiled] = {}

    def first(self, tx: Connection, /, **parameters: Any) -> Any | None:
        """The first row, if there is one."""
        if not _is_sqlite(tx):
            return tx.execute(self._elsewhere, parameters).first()
        row = self._run(tx, parameters).fetchone()
        return None if row is None else self._row(row)

    def all(self, tx: Connection, /, **parameters: Any) -> Sequence[Any]:
        if not _is_sqlite(tx):
            return tx.execute(self._elsewhere, parameters).all()
        return [self._row(row) for row in self._run(tx, parameters)]

    def change(self, tx: Connection, /, **parameters: Any) -> int:
        """Returns how many rows it inserted, updated or deleted."""
        if not _is_sqlite(tx):
            return tx.execute(self._elsewhere, parameters).rowcount
        return self._run(tx, parameters).rowcount

    def change_all(self, tx: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Once for each of these, which have the same names; there may be none."""
        if not rows:
            return
        if not _is_sqlite(tx):
            tx.execute(self._elsewhere, list(rows))
            return
        compiled = self._of(tuple(rows[0]))
        _driver(tx).executemany(compiled.sql, [{**compiled.constants, **row} for row in rows]).close()

    def _run(self, tx: Connection, parameters: dict[str, Any]) -> sqlite3.Cursor:
        compiled = self._of(tuple(parameters))
        for name in self._among:
            parameters[name] = json.dumps(list(parameters[name]))
        return _driver(tx).execute(compiled.sql, {**compiled.constants, **parameters})

    def _of(self, names: tuple[str, ...]) -> _Compiled:
        found = self._compiled.get(names)
        if found is None:
            found = self._compiled[names] = self._compile(names)
        return found

    def _compile(self, names: tuple[str, ...]) -> _Compiled:
        statement = self._statement
        for name, column in self._among.items():
            assert not isinstance(statement, Insert)
            values = func.json_each(bindparam(name, type_=String())).table_valued("value")
            statement = statement.where(column.in_(select(values.c.value)))
        compiled = statement.compile(dialect=_DIALECT, column_keys=list(names))
        # The driver takes NULL for what is missing, and what is too much.
        required = {name for name, bound in compiled.binds.items() if bound.required}
        if not required <= set(names) <= set(compiled.binds):
            raise TypeError(f"{', '.join(names) or 'no parameters'} given, {', '.join(compiled.binds)} expected")
        if compiled.insert_prefetch or compiled.update_prefetch:
            raise TypeError("a prepared statement sets no defaults of SQLAlchemy's")
        for name, bound in compiled.binds.items():
            _require_plain(name, bound.type)
        for column in statement.exported_columns:
            _require_plain(str(column.key), column.type)
        return _Compiled(str(compiled), {k: v for k, v in compiled.params.items() if k not in names})

    @cached_property
    def _elsewhere(self) -> Statement:
        statement = self._statement
        for name, column in self._among.items():
            assert not isinstance(statement, Insert)
            statement = statement.where(column == any_(bindparam(name, type_=ARRAY(column.type))))
        return statement

    @cached_property
    def _row(self) -> Any:
        """Makes a row of what the driver gives."""
        names = [str(column.key) for column in self._statement.exported_columns]
        row: Any = namedtuple("Row", names)  # type: ignore[misc]
        return row._make


def command(tx: Connection, sql: str) -> None:
    """Runs what has neither parameters nor rows: a savepoint costs a tenth of one of SQLAlchemy's."""
    if _is_sqlite(tx):
        _driver(tx).execute(sql).close()
    else:
        tx.exec_driver_sql(sql)


def _require_plain(name: str, kind: TypeEngine[Any]) -> None:
    if not isinstance(kind, _PLAIN) or isinstance(kind, Enum):
        raise TypeError(f"{name} is {kind!r}: it may need conversion, which a prepared statement does not do")


def _is_sqlite(tx: Connection) -> bool:
    return tx.dialect.name == "sqlite"


def _driver(tx: Connection) -> sqlite3.Connection:
    return cast(sqlite3.Connection, tx.connection.dbapi_connection)
