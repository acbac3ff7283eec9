"""The rows of a batch as packed columns: what every agent of every member must read alike.

Layout, little-endian: magic `ALROWS01`, u32 row count n, u16 brand count b, u16 value width w (0: values
vary); then columns: marks u8[n], confidence u8[n], tlp u8[n], quality u8[n], kind u8[n], expiry u32[n] (days
since 1970, 0: never), variant_of i32[n] (row of the base value, -1: itself), brand u16[n] (index, 0xFFFF:
none); b brands as u8 length and UTF-8; then values u8[n*w], or u32[n+1] offsets and the bytes. Strict: trailing
or missing bytes, out-of-range codes and indices raise `Corrupt`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alliance.audience import Tlp
from alliance.errors import Corrupt, InvalidInput
from alliance.segments import MAX_BATCH_ROWS

MAGIC = b"ALROWS01"
NO_BRAND = 0xFFFF
MAX_VALUE = 4096
_BRAND = re.compile(r"[a-z0-9&.+' -]{1,40}")
_HEAD = struct.Struct("<8sIHH")
_COLUMNS: tuple[tuple[str, str], ...] = (
    ("marks", "u1"),
    ("confidence", "u1"),
    ("tlp", "u1"),
    ("quality", "u1"),
    ("kind", "u1"),
    ("expiry", "<u4"),
    ("variant_of", "<i4"),
    ("brand", "<u2"),
)


class Marks(IntEnum):
    """What a fingerprint marks."""

    GENUINE = 1
    COUNTERFEIT = 2
    NEVER_MADE = 3
    AUTHORISED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fingerprint before it is packed; `expiry` in days since 1970, `variant_of` a row of the same batch."""

    value: bytes
    marks: Marks = Marks.GENUINE
    brand: str = ""
    confidence: int = 100
    tlp: Tlp = Tlp.AMBER
    quality: int = 100
    kind: int = 0
    expiry: int = 0
    variant_of: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Unpacked columns of one batch; `values` is (n, w) uint8, or a tuple of n bytes where they vary (`width` 0)."""

    marks: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    tlp: NDArray[np.uint8]
    quality: NDArray[np.uint8]
    kind: NDArray[np.uint8]
    expiry: NDArray[np.uint32]
    variant_of: NDArray[np.int32]
    brand: NDArray[np.uint16]
    brands: tuple[str, ...]
    values: NDArray[np.uint8] | tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.marks)

    @property
    def width(self) -> int:
        return 0 if isinstance(self.values, tuple) else int(self.values.shape[1])

    def brand_of(self, row: int) -> str:
        index = int(self.brand[row])
        return "" if index == NO_BRAND else self.brands[index]


def brand_label(text: str) -> str:
    """A brand as it may be shared: a short lower-case label, never free text; "" where none can be made."""
    label = re.sub(r"[^a-z0-9&.+' -]+", "", " ".join(text.casefold().split()))[:40].strip()
    return label if _BRAND.fullmatch(label) else ""


def pack(rows: Sequence[Row], *, width: int) -> bytes:
    """Packs 1 to 65,536 rows; `width` is the scheme's value size, 0 where it varies. Raises: InvalidInput."""
    if not 1 <= len(rows) <= MAX_BATCH_ROWS:
        raise InvalidInput(f"a batch has 1 to {MAX_BATCH_ROWS} rows", field="rows", remedy="split the batch")
    brands = sorted({row.brand for row in rows if row.brand})
    for brand in brands:
        if not _BRAND.fullmatch(brand):
            raise InvalidInput(f"{brand[:50]!r} is not a brand label", field="brand", remedy="use brand_label")
    index = {brand: at for at, brand in enumerate(brands)} | {"": NO_BRAND}
    columns: dict[str, list[int]] = {
        "marks": [row.marks for row in rows],
        "confidence": [row.confidence for row in rows],
        "tlp": [row.tlp for row in rows],
        "quality": [row.quality for row in rows],
        "kind": [row.kind for row in rows],
        "expiry": [row.expiry for row in rows],
        "variant_of": [row.variant_of for row in rows],
        "brand": [index[row.brand] for row in rows],
    }
    out = [_HEAD.pack(MAGIC, len(rows), len(brands), width)]
    out += [np.asarray(columns[name], dtype=kind).tobytes() for name, kind in _COLUMNS]
    out += [bytes((len(brand.encode()),)) + brand.encode() for brand in brands]
    if width:
        if any(len(row.value) != width for row in rows):
            raise InvalidInput(f"a value has {width} bytes", field="value", remedy="use the bank's scheme")
    else:
        offsets = np.cumsum([0] + [len(row.value) for row in rows], dtype="<u4")
        out.append(offsets.tobytes())
    out.append(b"".join(row.value for row in rows))
    return b"".join(out)


def unpack(data: bytes) -> Rows:
    """The inverse of `pack`. Raises: Corrupt."""
    reader = _Reader(data)
    magic, count, brand_count, width = _HEAD.unpack(reader.take(_HEAD.size))
    if magic != MAGIC or not 1 <= count <= MAX_BATCH_ROWS:
        raise _malformed("not a batch of rows")
    columns = {name: reader.array(kind, count) for name, kind in _COLUMNS}
    brands = tuple(reader.text() for _ in range(brand_count))
    values: NDArray[np.uint8] | tuple[bytes, ...]
    if width:
        values = reader.array("u1", count * width).reshape(count, width)
    else:
        offsets = reader.array("<u4", count + 1).astype(np.int64)
        sizes = np.diff(offsets)
        if offsets[0] != 0 or (sizes < 0).any() or (sizes > MAX_VALUE).any():
            raise _malformed("value offsets out of order")
        blob = reader.take(int(offsets[-1]))
        values = tuple(blob[offsets[i] : offsets[i + 1]] for i in range(count))
    reader.end()
    _check(columns, count, brand_count)
    return Rows(values=values, brands=brands, **columns)


def _check(columns: dict[str, NDArray[Any]], count: int, brand_count: int) -> None:
    bounds = (
        ("marks", 1, max(Marks)),
        ("tlp", 1, max(Tlp)),
        ("confidence", 0, 100),
        ("quality", 0, 100),
        ("variant_of", -1, count - 1),
    )
    for name, least, most in bounds:
        column = columns[name]
        if bool((column < least).any()) or bool((column > most).any()):
            raise _malformed(f"{name} out of range")
    brand = columns["brand"]
    if bool(((brand >= brand_count) & (brand != NO_BRAND)).any()):
        raise _malformed("brand out of range")


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        if size < 0 or self._at + size > len(self._data):
            raise _malformed("it ends early")
        piece = self._data[self._at : self._at + size]
        self._at += size
        return piece

    def array(self, kind: str, count: int) -> NDArray[Any]:
        return np.frombuffer(self.take(np.dtype(kind).itemsize * count), dtype=kind)

    def text(self) -> str:
        try:
            text = self.take(self.take(1)[0]).decode()
        except UnicodeDecodeError as error:
            raise _malformed("a brand is not UTF-8") from error
        if not _BRAND.fullmatch(text):
            raise _malformed("a brand is not a label")
        return text

    def end(self) -> None:
        if self._at != len(self._data):
            raise _malformed("it has trailing bytes")


def _malformed(what: str) -> Corrupt:
    return Corrupt(f"the rows of a batch cannot be read: {what}", reason="ROWS_MALFORMED", remedy="tell its publisher")
