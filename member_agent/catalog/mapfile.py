"""Column maps as files: `maps/SOURCE.toml` in the agent's home, made to be read and edited by people."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from alliance.errors import InvalidInput, NotFound
from member_agent.catalog.model import ColumnMap, Field, Format, SourceName

_TEXTS = ("encoding", "delimiter", "quote", "decimal")


def map_path(home: Path, source: SourceName) -> Path:
    return home / "maps" / f"{source}.toml"


def find_map(home: Path, source: SourceName) -> ColumnMap | None:
    """The map saved for a source, or None. Raises: InvalidInput for one that cannot be read."""
    path = map_path(home, source)
    return load_map(path) if path.exists() else None


def load_map(path: Path) -> ColumnMap:
    """Reads a map.

    Raises:
        NotFound: no such file.
        InvalidInput: MAP_MALFORMED, naming the key.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}", reason="FILE_UNREADABLE", field="--map") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _malformed(path, "", str(error)) from error
    columns = values.pop("columns", None)
    if not isinstance(columns, dict):
        raise _malformed(path, "columns", "there is no [columns] table")
    for name, column in columns.items():
        if name not in set(Field) or not isinstance(column, str):
            raise _malformed(path, f"columns.{name}", f'write FIELD = "COLUMN", FIELD of {", ".join(Field)}')
    for name, value in values.items():
        if name not in ("format", *_TEXTS) or not isinstance(value, str):
            raise _malformed(path, name, "not a text setting of a map")
    if values.get("format") not in set(Format):
        raise _malformed(path, "format", f"one of {', '.join(Format)} is needed")
    return ColumnMap(
        format=Format(values.pop("format")),
        columns={Field(name): column for name, column in columns.items()},
        **values,
    )


def save_map(home: Path, source: SourceName, columns: ColumnMap) -> Path:
    """Writes a map, all or nothing, and returns where."""
    path = map_path(home, source)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [
        f"# How the source {source} is read. Edit it freely; the next import of this source uses it.",
        f"format = {_quoted(columns.format)}",
        *(f"{name} = {_quoted(getattr(columns, name))}" for name in _TEXTS),
        "",
        "[columns]",
        *(f"{field} = {_quoted(column)}" for field, column in columns.columns.items()),
    ]
    draft = path.with_suffix(".toml.new")
    draft.write_text("\n".join(lines) + "\n", "utf-8")
    draft.replace(path)
    return path


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _malformed(path: Path, field: str, what: str) -> InvalidInput:
    return InvalidInput(
        f"{path.name} is not a column map: {what}",
        reason="MAP_MALFORMED",
        field=field,
        remedy="correct it, or delete it and let the columns be guessed again",
    )
