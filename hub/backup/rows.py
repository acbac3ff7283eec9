"""Tables as lines of JSON and back, the same for SQLite and PostgreSQL: one can be restored into the other.

The first line of a table names its columns, every other is a row; bytes are `{"b": base64}`. Loading works on the
tables as the database has them at the backup's own revision, so that migrations run afterwards as they always do.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, MetaData, Table, func, insert, select

from alliance.errors import Corrupt

# Alembic's own table; the manifest has the revision.
VERSION_TABLE = "alembic_version"
_BATCH = 1000


def tables(tx: Connection) -> list[Table]:
    """Every table of the hub as this database has it, referenced ones first."""
    found = MetaData()
    found.reflect(tx)
    return [table for table in found.sorted_tables if table.name != VERSION_TABLE]


def dump(tx: Connection, table: Table, out: IO[bytes]) -> int:
    """Writes all rows, and returns how many."""
    columns = [column.name for column in table.columns]
    out.write(json.dumps(columns).encode() + b"\n")
    query = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=_BATCH)
    count = 0
    for row in tx.execute(query):
        out.write(json.dumps([_plain(value) for value in row]).encode() + b"\n")
        count += 1
    return count


def load(tx: Connection, table: Table, file: Path, *, count: int) -> None:
    """Replaces the table's rows by those of the file. Raises: Corrupt."""
    try:
        with file.open(encoding="utf-8") as lines:
            columns = json.loads(next(lines))
            if set(columns) != {column.name for column in table.columns}:
                raise ValueError("it has other columns than the database at that revision")
            loaded = 0
            for batch in _batches(lines):
                tx.execute(
                    insert(table),
                    [dict(zip(columns, map(_value, json.loads(line)), strict=True)) for line in batch],
                )
                loaded += len(batch)
            if loaded != count:
                raise ValueError(f"it has {loaded} rows, the manifest says {count}")
    except (ValueError, StopIteration) as error:
        raise Corrupt(
            f"database/{table.name}.jsonl cannot be loaded: {error}", reason="BACKUP_ALTERED", remedy="use another copy"
        ) from error


def drop_all(tx: Connection) -> None:
    """Takes back what a restore that failed has made."""
    found = MetaData()
    found.reflect(tx)
    found.drop_all(tx)


def go_on_counting(tx: Connection, found: list[Table]) -> None:
    """PostgreSQL counts apart from the rows: the next number is after the last restored one."""
    if tx.dialect.name != "postgresql":
        return
    for table in found:
        column = table.autoincrement_column
        if column is not None:
            counter = func.pg_get_serial_sequence(f'"{table.name}"', column.name)
            last = func.max(column)
            tx.execute(select(func.setval(counter, last)).having(last.is_not(None)))


def _batches(lines: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for line in lines:
        batch.append(line)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _plain(value: Any) -> Any:
    return {"b": b64encode(bytes(value)).decode()} if isinstance(value, bytes | memoryview) else value


def _value(value: Any) -> Any:
    return b64decode(value["b"], validate=True) if isinstance(value, dict) else value
