"""Named arrays as bytes: how a model and an update travel and are stored, outside any protobuf message.

Layout, little-endian: magic `ALTENS01`, u32 count; per array u8 name length, name (ASCII), u8 dtype code,
u8 dimensions, u64 each; then, per array in the same order, its values in C order, each start padded to 64
bytes from the file's start. Reading is strict and copies nothing: names, dtypes, shapes and total size must
be those of the specification, or `Corrupt` says what differs.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from alliance.errors import Corrupt, InvalidInput

MAGIC = b"ALTENS01"
ALIGNMENT = 64
MAX_ARRAYS = 1024
MAX_DIMENSIONS = 8
MAX_BYTES = 2 << 30
DTYPES: Mapping[str, int] = {"float32": 1, "float64": 2}
_CODES = {code: name for name, code in DTYPES.items()}
_NAME = re.compile(r"[a-z0-9_.-]{1,64}")

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySpec:
    """An array without its values; `dtype` is "float32" or "float64"."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


def check_specs(specs: Sequence[ArraySpec]) -> None:
    """Raises: InvalidInput naming the array."""
    if len(specs) > MAX_ARRAYS or len({spec.name for spec in specs}) != len(specs):
        raise InvalidInput(f"a model has at most {MAX_ARRAYS} arrays, each of its own name", field="arrays")
    for spec in specs:
        if not _NAME.fullmatch(spec.name) or spec.dtype not in DTYPES:
            raise InvalidInput(
                f"array {spec.name[:64]!r} of {spec.dtype[:20]!r}", field="arrays", remedy="use float32 or float64"
            )
        if len(spec.shape) > MAX_DIMENSIONS or any(not 0 <= side < 2**40 for side in spec.shape):
            raise InvalidInput(f"array {spec.name} has an impossible shape", field="arrays")
    if encoded_size(specs) > MAX_BYTES:
        raise InvalidInput(f"a model has at most {MAX_BYTES} bytes", field="arrays", remedy="use a smaller model")


def specs_of(arrays: Mapping[str, NDArray[Any]]) -> tuple[ArraySpec, ...]:
    return tuple(ArraySpec(name=n, dtype=str(a.dtype), shape=a.shape) for n, a in arrays.items())


def starts(specs: Sequence[ArraySpec]) -> list[int]:
    """Where the values of each array start."""
    return _layout(specs)[0]


def encoded_size(specs: Sequence[ArraySpec]) -> int:
    return _layout(specs)[1]


def encode(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of these arrays, in their order. Raises: InvalidInput."""
    specs = specs_of(arrays)
    check_specs(specs)
    places, total = _layout(specs)
    out = np.zeros(total, dtype=np.uint8)
    first = head(specs)
    out[: len(first)] = np.frombuffer(first, dtype=np.uint8)
    for start, spec, array in zip(places, specs, arrays.values(), strict=True):
        little = np.ascontiguousarray(array).astype(np.dtype(spec.dtype).newbyteorder("<"), copy=False)
        out[start : start + spec.size] = little.reshape(-1).view(np.uint8)
    return out.tobytes()


def decode(data: bytes | memoryview, specs: Sequence[ArraySpec]) -> Arrays:
    """Read-only views into `data`. Raises: Corrupt, naming what differs from `specs`."""
    places, total = _layout(specs)
    expected = head(specs)
    if bytes(data[: len(expected)]) != expected:
        raise Corrupt(_difference(data, specs), reason="TENSORS_UNEXPECTED", remedy="use the detector's own arrays")
    if len(data) != total:
        raise Corrupt(
            f"the arrays have {len(data)} bytes, {total} are specified",
            reason="TENSORS_UNEXPECTED",
            remedy="use the detector's own arrays",
        )
    found: Arrays = {}
    for start, spec in zip(places, specs, strict=True):
        dtype = np.dtype(spec.dtype).newbyteorder("<")
        values = np.frombuffer(data, dtype=dtype, count=spec.size // dtype.itemsize, offset=start)
        found[spec.name] = values.reshape(spec.shape)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Consecutive values of one array, as a flat one of its name; their first is at `offset` of the bytes."""

    spec: ArraySpec
    offset: int


def pieces(specs: Sequence[ArraySpec], most: int) -> Iterator[tuple[Piece, ...]]:
    """All values in the order of their bytes, in groups of at most `most`; none has two pieces of one array."""
    group, room = list[Piece](), most
    for start, spec in zip(starts(specs), specs, strict=True):
        step = np.dtype(spec.dtype).itemsize
        at, count = 0, spec.size // step
        while at < count:
            taken = min(room, count - at)
            flat = ArraySpec(name=spec.name, dtype=spec.dtype, shape=(taken,))
            group.append(Piece(spec=flat, offset=start + at * step))
            at, room = at + taken, room - taken
            if not room:
                yield tuple(group)
                group, room = [], most
    if group:
        yield tuple(group)


def read_piece(file: BinaryIO, piece: Piece) -> NDArray[Any]:
    """A piece of an open file, in memory of its own. Raises: Corrupt where the file ends early."""
    values = np.empty(piece.spec.shape, dtype=np.dtype(piece.spec.dtype).newbyteorder("<"))
    if os.preadv(file.fileno(), [values.view(np.uint8).data], piece.offset) != piece.spec.size:
        raise Corrupt(f"array {piece.spec.name} ends early", reason="TENSORS_UNEXPECTED")
    return values


def check_head(file: BinaryIO, specs: Sequence[ArraySpec]) -> None:
    """The file holds exactly these arrays. Raises: Corrupt, naming what differs."""
    expected = head(specs)
    found = os.pread(file.fileno(), len(expected), 0)
    if found != expected:
        raise Corrupt(_difference(found, specs), reason="TENSORS_UNEXPECTED", remedy="use the detector's own arrays")


def read_specs(data: bytes, *, most: int = MAX_ARRAYS) -> tuple[ArraySpec, ...]:
    """The specifications at the start of bytes that this program encoded itself. Raises: Corrupt."""
    try:
        return tuple(_read_specs(data, most))
    except (struct.error, UnicodeDecodeError, KeyError, ValueError) as error:
        raise Corrupt("the arrays cannot be read", reason="TENSORS_UNEXPECTED") from error


def _layout(specs: Sequence[ArraySpec]) -> tuple[list[int], int]:
    """Where each array starts, and the whole size."""
    at, found = len(head(specs)), []
    for spec in specs:
        at += -at % ALIGNMENT
        found.append(at)
        at += spec.size
    return found, at


def head(specs: Sequence[ArraySpec]) -> bytes:
    """What precedes the values; up to the first, and between them, are zeros."""
    out = bytearray(MAGIC + struct.pack("<I", len(specs)))
    for spec in specs:
        name = spec.name.encode()
        out += struct.pack("<B", len(name)) + name
        out += struct.pack(f"<BB{len(spec.shape)}Q", DTYPES[spec.dtype], len(spec.shape), *spec.shape)
    return bytes(out)


def _difference(data: bytes | memoryview, specs: Sequence[ArraySpec]) -> str:
    """Says which array is not the one specified."""
    try:
        found = list(_read_specs(data))
    except (struct.error, UnicodeDecodeError, KeyError, ValueError):
        return "the arrays cannot be read"
    for expected, got in zip(specs, found, strict=False):
        if expected != got:
            return f"array {_shown(got)}, specified is {_shown(expected)}"
    return f"{len(found)} arrays, {len(specs)} are specified"


def _shown(spec: ArraySpec) -> str:
    return f"{spec.name} {spec.dtype}{list(spec.shape)}"


def _read_specs(data: bytes | memoryview, most: int = MAX_ARRAYS) -> Iterator[ArraySpec]:
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise ValueError("no magic")
    (count,) = struct.unpack_from("<I", data, len(MAGIC))
    at = len(MAGIC) + 4
    for _ in range(min(count, most + 1)):
        (length,) = struct.unpack_from("<B", data, at)
        name = bytes(data[at + 1 : at + 1 + length]).decode()
        code, dimensions = struct.unpack_from("<BB", data, at + 1 + length)
        shape = struct.unpack_from(f"<{min(dimensions, MAX_DIMENSIONS)}Q", data, at + 3 + length)
        at += 3 + length + 8 * dimensions
        yield ArraySpec(name=name, dtype=_CODES[code], shape=shape)
