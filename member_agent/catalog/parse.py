"""From the cells of a row to what it says of a product or a listing.

Pure. A value that cannot be understood is left out with a warning; a row is rejected only when there is nothing to know
it by: no id where the source has ids, neither title nor picture.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from alliance.canonical import encode
from alliance.errors import InvalidInput
from member_agent.catalog.identifiers import canonical_mpn, gtin14
from member_agent.catalog.model import ColumnMap, Facts, Field, RowError, Severity
from member_agent.catalog.prices import parse_price
from member_agent.catalog.readers.records import Record

MAX_TEXT = 2000
"""Characters of a title or another short text; ten times Google Merchant's limit for titles."""
DERIVED_KEY = "row:"
"""What the key of a row without an id of its own starts with."""
_IMAGE_SEPARATOR = re.compile(r"[\n|]")
_LINK_SEPARATOR = re.compile(r"[\n|]|,(?=\s*https?://)")
_TEXTS = (Field.TITLE, Field.BRAND, Field.MODEL, Field.CATEGORY, Field.CONDITION, Field.URL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedRow:
    """A row understood as far as it goes.

    `key` is empty when not even that could be read; it is `misread` when the row is broken before the key, so that it
    may be another column's value. `facts` is None for a rejected row; `errors` then holds why, else only warnings.
    `images` and `links` are as written, in order, without repeats.
    """

    number: int
    key: str
    facts: Facts | None
    misread: bool = False
    images: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    errors: tuple[RowError, ...] = ()

    def with_images(self, found: int, warnings: Sequence[RowError]) -> ParsedRow:
        """The row after its pictures were looked for: rejected if it is left with neither title nor picture."""
        if not warnings or self.facts is None:
            return self
        if self.facts.title or found:
            return replace(self, errors=(*self.errors, *warnings))
        rejections = tuple(replace(one, severity=Severity.REJECTED) for one in warnings)
        return replace(self, facts=None, errors=rejections)


class RowParser:
    """Parses the rows of one source by its column map; where that names neither title nor picture, no row needs one."""

    def __init__(self, columns: ColumnMap) -> None:
        self._columns = dict(columns.columns)
        self._titled = Field.TITLE in self._columns or Field.IMAGE in self._columns
        self._decimal = columns.decimal

    def parse(self, record: Record) -> ParsedRow:
        cells = {field: clean(record.cells.get(column, "")) for field, column in self._columns.items()}
        images = _split(_IMAGE_SEPARATOR, record.cells.get(self._columns.get(Field.IMAGE, ""), ""))
        if record.error is not None:
            key = self._key(cells, images) if self._has_own_key(cells, images) else ""
            misread = next(iter(record.cells), None) != self._columns.get(Field.ID, self._columns.get(Field.IMAGE))
            return ParsedRow(number=record.number, key=key, facts=None, misread=misread, errors=(record.error,))
        rejection = self._rejection(record.number, cells, images)
        key = self._key(cells, images)
        if rejection is not None:
            return ParsedRow(number=record.number, key=key, facts=None, errors=(rejection,))
        facts, warnings = self._facts(record.number, cells)
        links = [
            link
            for field in (Field.IMAGE_LINK, Field.MORE_IMAGE_LINKS)
            for link in _split(_LINK_SEPARATOR, record.cells.get(self._columns.get(field, ""), ""))
        ]
        return ParsedRow(
            number=record.number,
            key=key,
            facts=facts,
            images=images,
            links=tuple(dict.fromkeys(links)),
            errors=tuple(warnings),
        )

    def text(self, record: Record, field: Field) -> str:
        """One cleaned cell, for fields that are no product facts."""
        return clean(record.cells.get(self._columns.get(field, ""), ""))

    def _has_own_key(self, cells: Mapping[Field, str], images: tuple[str, ...]) -> bool:
        return bool(cells.get(Field.ID)) if Field.ID in self._columns else bool(images)

    def _key(self, cells: Mapping[Field, str], images: tuple[str, ...]) -> str:
        """The row's own id; without an id column its picture's path, else a digest of its text."""
        if Field.ID in self._columns:
            return cells[Field.ID]
        if images:
            return images[0]
        parts = [f"{field}={cells.get(field, '')}" for field in (*_TEXTS, Field.GTIN, Field.MPN)]
        return DERIVED_KEY + hashlib.sha256(encode("catalog/row-key", *parts)).hexdigest()[:32]

    def _rejection(self, number: int, cells: Mapping[Field, str], images: tuple[str, ...]) -> RowError | None:
        if Field.ID in self._columns and not cells[Field.ID]:
            return _rejected(number, Field.ID, "ID_MISSING", f"no value in column {self._columns[Field.ID]!r}")
        if self._titled and not cells.get(Field.TITLE) and not images:
            column = self._columns.get(Field.TITLE) or self._columns[Field.IMAGE]
            return _rejected(number, Field.TITLE, "TITLE_MISSING", f"no value in column {column!r}")
        for field in (Field.ID, Field.TITLE):
            if len(cells.get(field, "")) > MAX_TEXT:
                return _rejected(number, field, "TEXT_TOO_LONG", _too_long(cells[field]))
        return None

    def _facts(self, number: int, cells: Mapping[Field, str]) -> tuple[Facts, list[RowError]]:
        warnings: list[RowError] = []
        gtin, price, currency = "", None, cells.get(Field.CURRENCY, "").upper()
        texts = {field: cells.get(field, "") for field in _TEXTS}
        for field, text in texts.items():
            if len(text) > MAX_TEXT:
                warnings.append(_warning(number, field, "TEXT_TOO_LONG", _too_long(text)))
                texts[field] = ""
        if written := cells.get(Field.GTIN):
            try:
                gtin = gtin14(written)
            except InvalidInput as error:
                warnings.append(_warning(number, Field.GTIN, error.reason, str(error).removeprefix("gtin: ")))
        if written := cells.get(Field.PRICE):
            try:
                price, sign = parse_price(written, decimal=self._decimal)
                currency = currency or sign
            except InvalidInput as error:
                warnings.append(_warning(number, Field.PRICE, error.reason, error.message))
        facts = Facts(
            **{field.value: text for field, text in texts.items()},
            gtin=gtin,
            mpn=canonical_mpn(cells.get(Field.MPN, "")),
            price=price,
            currency=currency,
        )
        return facts, warnings


def clean(text: str) -> str:
    """Text as one line: NFC, no control characters, single spaces."""
    if text.isascii() and text.isprintable():
        return " ".join(text.split()) if "  " in text or text[:1] == " " or text[-1:] == " " else text
    composed = unicodedata.normalize("NFC", text)
    spaced = "".join(" " if unicodedata.category(one) in ("Cc", "Zl", "Zp") else one for one in composed)
    return " ".join(spaced.split())


def _too_long(text: str) -> str:
    return f"{len(text):,} characters, {MAX_TEXT:,} are allowed"


def _split(separator: re.Pattern[str], text: str) -> tuple[str, ...]:
    if not text:
        return ()
    return tuple(dict.fromkeys(part for raw in separator.split(text) if (part := raw.strip())))


def _rejected(number: int, field: Field, reason: str, message: str) -> RowError:
    return RowError(row=number, field=field.value, reason=reason, message=message)


def _warning(number: int, field: Field, reason: str, message: str) -> RowError:
    return RowError(row=number, field=field.value, reason=reason, message=message, severity=Severity.WARNING)
