"""CSV, TSV and their cousins (RFC 4180), with recovery.

A broken row costs itself only. The dangerous one is a quote that is opened and never closed: to a CSV parser the
rest of the file is then one field. Here such a record is given up at its first line, and reading goes on with the
second. The parser is the standard library's in strict mode; this module feeds it lines and can take them back.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from alliance.errors import InvalidInput
from member_agent.catalog.readers.records import Record, broken, checked, distinct

DELIMITERS = (",", ";", "\t", "|", "#")
MAX_FIELD = 131_072
"""Characters. It is also the standard library's default limit, so neither waits for the other."""
MAX_RECORD = 1 << 20
"""Characters of one record, quoted line ends included."""
_SAMPLE_ROWS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How cells are told apart. An empty `quote` means that quotes are ordinary characters."""

    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str = '"'


class _TooLong(Exception):
    pass


class _Lines(Iterator[str]):
    """The lines of a file, able to take back all but the first line of the record being read."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream
        self._returned: deque[str] = deque()
        self._record: list[str] = []
        self._length = 0

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else self._stream.readline(MAX_RECORD)
        if not line:
            raise StopIteration
        self._record.append(line)
        self._length += len(line)
        if self._length >= MAX_RECORD:
            raise _TooLong
        return line

    def start_record(self) -> None:
        self._record.clear()
        self._length = 0

    @property
    def first(self) -> str:
        return self._record[0] if self._record else ""

    def take_back(self) -> None:
        """Keeps only the record's first line as read; a line longer than a record is read to its end."""
        self._returned.extendleft(reversed(self._record[1:]))
        line = self.first
        while line and not line.endswith(("\n", "\r")) and not self._returned:
            line = self._stream.readline(MAX_RECORD)


class DelimitedReader:
    """Reads a delimited text file whose first row names the columns.

    Raises:
        InvalidInput: NO_HEADER when there is no such row.
    """

    def __init__(self, path: Path, dialect: Dialect) -> None:
        self._path = path
        self._dialect = dialect
        self._done = 0
        self.total = path.stat().st_size
        self.columns: tuple[str, ...] = ()
        self.columns = self._header()

    @property
    def done(self) -> int:
        return self._done

    def records(self) -> Iterator[Record]:
        rows = self._rows()
        next(rows)
        for number, row in rows:
            if isinstance(row, Record):
                yield row
            elif row:
                yield self._record(number, row)

    def _record(self, number: int, row: list[str]) -> Record:
        width = len(self.columns)
        if len(row) > width and not any(row[width:]):
            row = row[:width]  # a spreadsheet's empty columns on the right
        cells = dict(zip(self.columns, row, strict=False))
        if len(row) != width:
            reason = "TOO_MANY_FIELDS" if len(row) > width else "TOO_FEW_FIELDS"
            return broken(number, reason, f"{len(row)} fields where the header has {width}", cells)
        return checked(number, cells)

    def _header(self) -> tuple[str, ...]:
        for _, row in self._rows():
            if isinstance(row, Record) or not any(cell.strip() for cell in row):
                break
            columns = distinct(row)
            if checked(1, dict(zip(columns, columns, strict=True))).error is not None:
                break
            return columns
        raise InvalidInput(
            f"the first row of {self._path.name} does not name the columns",
            reason="NO_HEADER",
            row=1,
            remedy="put the column names into the first row",
        )

    def _rows(self) -> Iterator[tuple[int, list[str] | Record]]:
        with (
            self._path.open("rb") as file,
            io.TextIOWrapper(file, self._dialect.encoding, "surrogateescape", newline="") as stream,
        ):
            lines = _Lines(stream)
            parser, number = self._parser(lines), 0
            while True:
                lines.start_record()
                number += 1
                try:
                    row = next(parser)
                except StopIteration:
                    self._done = self.total
                    return
                except (csv.Error, _TooLong) as error:
                    lines.take_back()
                    parser = self._parser(lines)
                    yield number, self._given_up(number, lines.first, error)
                else:
                    yield number, row
                self._done = file.tell()

    def _parser(self, lines: _Lines) -> Iterator[list[str]]:
        if self._dialect.quote:
            return csv.reader(lines, delimiter=self._dialect.delimiter, quotechar=self._dialect.quote, strict=True)
        return csv.reader(lines, delimiter=self._dialect.delimiter, quoting=csv.QUOTE_NONE, strict=True)

    def _given_up(self, number: int, line: str, error: Exception) -> Record:
        values = line.rstrip("\r\n").split(self._dialect.delimiter)
        whole = takewhile(lambda value: not self._dialect.quote or self._dialect.quote not in value, values)
        cells = dict(zip(self.columns, whole, strict=False))
        endless = isinstance(error, _TooLong) or "field limit" in str(error)
        if endless and len(line) > MAX_FIELD:
            return broken(number, "FIELD_TOO_LONG", f"a field of more than {MAX_FIELD:,} characters", cells)
        unclosed = endless or "unexpected end" in str(error)
        message = "a quote is opened and not closed in reach" if unclosed else f"a quote in the middle: {error}"
        return broken(number, "BROKEN_QUOTE", message, cells)


def sniff(path: Path, encoding: str, quote: str = '"') -> str:
    """The delimiter that splits the header into columns and the first rows into as many.

    A file of one column has none; "," is as good as any then.
    """
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        try:
            reader = DelimitedReader(path, Dialect(encoding=encoding, delimiter=delimiter, quote=quote))
        except InvalidInput:
            continue
        widths = Counter(record.error is None for record, _ in zip(reader.records(), range(_SAMPLE_ROWS), strict=False))
        agreement = widths[True] / max(1, widths.total())
        score = (round(agreement, 1), len(reader.columns))
        if len(reader.columns) > 1 and score > best_score:
            best, best_score = delimiter, score
    return best
