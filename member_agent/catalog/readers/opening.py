"""From what the user named to a reader: which format it is, which bytes, and a reader for them.

Opening happens in two steps, because the column map sits between them: `recognise` looks at the origin and settles
format, encoding, delimiter and the digest that a resumed import must find again; `open_reader` reads with the map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

from alliance.errors import InvalidInput
from member_agent.catalog.model import ColumnMap, Format, Origin
from member_agent.catalog.readers.delimited import DelimitedReader, Dialect, sniff
from member_agent.catalog.readers.encoding import survey
from member_agent.catalog.readers.folder import FolderReader
from member_agent.catalog.readers.jsonl import JsonlReader
from member_agent.catalog.readers.records import Reader
from member_agent.catalog.readers.sql import SqlReader

_SUFFIXES = {
    ".csv": Format.CSV,
    ".txt": Format.CSV,
    ".tsv": Format.TSV,
    ".tab": Format.TSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A reader, the dialect it reads with, and the SHA-256 of what it reads.

    `resumable` is whether a second reading is sure to give the same rows in the same order.
    """

    reader: Reader
    dialect: ColumnMap
    digest: bytes
    resumable: bool


def open_origin(origin: Origin, saved: ColumnMap | None) -> Opened:
    """Opens what `origin` names, with the dialect it names, else the saved map's, else what is recognised.

    Raises:
        InvalidInput, NotFound: as the readers do, and FORMAT_UNKNOWN.
    """
    if origin.format is Format.IMAGES and origin.manifest is not None:
        origin = replace(origin, format=None)  # the manifest is what is read, and has a format of its own
    format_ = origin.format or (saved.format if saved else None) or _recognised(origin)
    dialect = ColumnMap(format=format_, columns={})
    if saved:
        dialect = replace(saved, format=format_, columns={})
    if origin.encoding is not None:
        dialect = replace(dialect, encoding=origin.encoding)
    if origin.quote is not None:
        dialect = replace(dialect, quote=origin.quote)
    if origin.delimiter is not None:
        dialect = replace(dialect, delimiter=_single(origin.delimiter))
    match format_:
        case Format.CSV | Format.TSV | Format.GOOGLE:
            return _open_table(origin.manifest or _path(origin), dialect)
        case Format.JSONL:
            path = origin.manifest or _path(origin)
            found = survey(path, dialect.encoding or None)
            reader = JsonlReader(path, found.encoding)
            return Opened(reader=reader, dialect=dialect, digest=found.digest, resumable=True)
        case Format.SQL:
            if origin.sql is None:
                raise InvalidInput("no query", reason="SQL_MISSING", field="--sql", remedy="give one with --sql")
            rows = SqlReader(origin.sql)
            return Opened(reader=rows, dialect=dialect, digest=rows.digest, resumable=False)
        case Format.IMAGES:
            folder = FolderReader(_path(origin))
            return Opened(reader=folder, dialect=dialect, digest=folder.digest, resumable=True)
        case _:
            assert_never(format_)


def _open_table(path: Path, dialect: ColumnMap) -> Opened:
    found = survey(path, dialect.encoding or None)
    delimiter = dialect.delimiter
    if not delimiter:
        delimiter = "\t" if dialect.format is not Format.CSV else sniff(path, found.encoding, dialect.quote)
    dialect = replace(dialect, delimiter=delimiter)
    reader = DelimitedReader(path, Dialect(encoding=found.encoding, delimiter=delimiter, quote=dialect.quote))
    return Opened(reader=reader, dialect=dialect, digest=found.digest, resumable=True)


def _recognised(origin: Origin) -> Format:
    if origin.sql is not None:
        return Format.SQL
    path = _path(origin)
    if path.is_dir() and origin.manifest is None:
        return Format.IMAGES
    table = origin.manifest or path
    known = _SUFFIXES.get(table.suffix.lower())
    if known is None:
        raise InvalidInput(
            f"cannot tell the format of {table.name} by its name",
            reason="FORMAT_UNKNOWN",
            field="--format",
            remedy=f"name it with --format ({', '.join(Format)})",
        )
    return known


def _path(origin: Origin) -> Path:
    if origin.path is None:
        raise InvalidInput("nothing to read", reason="PATH_MISSING", field="PATH", remedy="name a file or a folder")
    return origin.path


def _single(delimiter: str) -> str:
    character = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if len(character) != 1 or character in '"\r\n ':
        raise InvalidInput(
            f"{delimiter!r} cannot separate columns",
            reason="DELIMITER_MALFORMED",
            field="--delimiter",
            remedy="use one character, or tab",
        )
    return character
