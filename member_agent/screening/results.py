"""Result files: CSV, JSONL or Parquet by suffix, written beside their place and moved there when whole."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from itertools import islice
from pathlib import Path
from typing import Any

from alliance.errors import InvalidInput
from member_agent.screening.model import Result

COLUMNS = tuple(field.name for field in fields(Result))
SUFFIXES = (".csv", ".jsonl", ".parquet")
_PARQUET_ROWS = 50_000


def check(path: Path) -> None:
    """Raises: InvalidInput for a suffix that names no format, or a folder that is not there."""
    if path.suffix not in SUFFIXES:
        raise InvalidInput(
            f"{path.name} names no format", field="--out", remedy=f"end it in one of {', '.join(SUFFIXES)}"
        )
    if not path.parent.is_dir():
        raise InvalidInput(f"{path.parent} is not a folder", field="--out", remedy="create it first")


def write(path: Path, results: Iterable[Result]) -> None:
    """Writes a row each. Raises: InvalidInput."""
    check(path)
    partial = path.with_name(path.name + ".partial")
    try:
        {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[path.suffix](partial, results)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def _csv(path: Path, results: Iterable[Result]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for one in results:
            values = asdict(one)
            writer.writerow([_joined(values[column]) for column in COLUMNS])


def _joined(value: Any) -> Any:
    return "; ".join(map(str, value)) if isinstance(value, tuple) else value


def _jsonl(path: Path, results: Iterable[Result]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(one)) + "\n" for one in results)


def _parquet(path: Path, results: Iterable[Result]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.string()
    kinds = {
        "row": pa.int64(),
        "score": pa.int32(),
        "reasons": pa.list_(text),
        "match_score": pa.int32(),
        "models": pa.list_(text),
        "model_scores": pa.list_(pa.int32()),
    }
    schema = pa.schema([(column, kinds.get(column, text)) for column in COLUMNS])
    with pq.ParquetWriter(path, schema) as writer:
        for rows in _chunks(results):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _chunks(results: Iterable[Result]) -> Iterator[list[dict[str, Any]]]:
    source = iter(results)
    while chunk := [asdict(one) for one in islice(source, _PARQUET_ROWS)]:
        yield chunk
