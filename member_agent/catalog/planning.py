"""Before a row is stored: what will be read, how, and with which columns.

A plan is made without writing anything, so it can be shown and refused. It says where its column map came from: one
that was guessed has to be confirmed by whoever runs the import.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from pathlib import Path

from alliance.canonical import encode
from alliance.errors import InvalidInput, NotFound
from member_agent.catalog.mapfile import find_map, load_map
from member_agent.catalog.mapping import guess, settle
from member_agent.catalog.model import ColumnMap, Field, Format, Origin, SourceName, source_name
from member_agent.catalog.readers.folder import FILE_COLUMN, FOLDER_COLUMN
from member_agent.catalog.readers.opening import Opened, open_origin

_SAMPLE_ROWS = 200


class MapOrigin(StrEnum):
    GUESSED = "guessed"
    SAVED = "saved"
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """An opened source with a complete column map, and a value of each mapped column."""

    opened: Opened
    columns: ColumnMap
    samples: Mapping[Field, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlan:
    """An import ready to run. `resumes_after` is the last row committed by an interrupted run of the same, else 0."""

    source: SourceName
    opened: Opened
    columns: ColumnMap
    map_origin: MapOrigin
    samples: Mapping[Field, str]
    unmapped: tuple[str, ...]
    image_root: Path
    resumes_after: int = 0

    @property
    def needs_confirmation(self) -> bool:
        return self.map_origin is MapOrigin.GUESSED and self.columns.format is not Format.IMAGES

    @property
    def map_digest(self) -> bytes:
        """Of everything that decides what the same bytes are read as."""
        columns = self.columns
        pairs = sorted(f"{field}={column}" for field, column in columns.columns.items())
        dialect = (columns.format, columns.encoding, columns.delimiter, columns.quote, columns.decimal)
        return hashlib.sha256(encode("catalog/map", *dialect, str(self.image_root), *pairs)).digest()


def understand(
    origin: Origin, saved: ColumnMap | None, said: Mapping[Field, str], *, titled: bool = True
) -> Understood:
    """Opens a source and settles its columns.

    Raises:
        InvalidInput, NotFound: as `open_origin` and `settle` do, and NO_ROWS for a source that has none.
    """
    opened = open_origin(origin, saved)
    reader = opened.reader
    rows = [record.cells for record in islice(reader.records(), _SAMPLE_ROWS) if record.error is None]
    if not rows and not any(True for _ in reader.records()):
        raise InvalidInput(
            "the source has columns and no rows",
            reason="NO_ROWS",
            remedy="export it again; to withdraw everything, withdraw what was published",
        )
    if opened.dialect.format is Format.IMAGES:
        proposed = {Field.IMAGE: FILE_COLUMN, Field.CATEGORY: FOLDER_COLUMN}
    elif saved is not None:
        proposed = dict(saved.columns)
    else:
        proposed = {one.field: one.column for one in guess(reader.columns, rows)}
    chosen = settle(reader.columns, proposed, said, titled=titled)
    samples = {field: next((row[column] for row in rows if row.get(column)), "") for field, column in chosen.items()}
    columns = replace(opened.dialect, columns=chosen)
    return Understood(opened=opened, columns=columns, samples=samples)


def plan_import(
    home: Path,
    origin: Origin,
    *,
    source: SourceName | None = None,
    said: Mapping[Field, str] | None = None,
    map_file: Path | None = None,
) -> ImportPlan:
    """Plans an import; the map is `map_file`, else the one saved for the source, else guessed. `said` goes before all.

    Raises:
        InvalidInput, NotFound: see `understand`; SOURCE_UNNAMED when a query's source has no name.
    """
    if origin.path is None and origin.sql is None:
        raise InvalidInput("nothing to read", reason="PATH_MISSING", field="PATH", remedy="name a file or a folder")
    name = source or _named(origin)
    saved = load_map(map_file) if map_file else find_map(home, name)
    known = understand(origin, saved, said or {})
    used = set(known.columns.columns.values())
    return ImportPlan(
        source=name,
        opened=known.opened,
        columns=known.columns,
        map_origin=MapOrigin.FILE if map_file else MapOrigin.SAVED if saved else MapOrigin.GUESSED,
        samples=known.samples,
        unmapped=tuple(column for column in known.opened.reader.columns if column not in used),
        image_root=image_root(origin),
    )


def image_root(origin: Origin) -> Path:
    """The folder image paths start from, with links resolved. Raises: NotFound."""
    if origin.images is not None and not origin.images.is_dir():
        raise NotFound(f"there is no folder {origin.images}", reason="FILE_UNREADABLE", field="--images")
    path = origin.images or origin.path or Path.cwd()
    return (path if path.is_dir() else path.parent).resolve()


def _named(origin: Origin) -> SourceName:
    stem = origin.path.resolve().stem if origin.path else ""
    slug = re.sub(r"[^a-z0-9_-]+", "-", stem.lower()).strip("-_")[:63].strip("-_")
    if not slug:
        raise InvalidInput(
            "the source needs a name", reason="SOURCE_UNNAMED", field="--source", remedy="give one with --source NAME"
        )
    return source_name(slug)
