"""Named arrays as bytes: how a model and an update travel and are stored, outside any protobuf message.

Layout, little-endian: magic `ALTENS01`, u32 count; per array u8 name length, name (ASCII), u8 dtype code,
u8 dimensions, u64 each; then, per array in the same order, its values in C order, each start padded to 64
bytes from the file's start. Reading is strict and copies nothing: names, dtypes, shapes and total size must
be those of the specification, or `Corrupt` says what differs.
"""

from __future__ import annotations

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


def encoded_size(specs: Sequence[ArraySpec]) -> int:
    return _layout(specs)[1]


def encode(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of these arrays, in their order. Raises: InvalidInput."""
    specs = specs_of(arrays)
    check_specs(specs)
    starts, total = _layout(specs)
    out = np.zeros(total, dtype=np.uint8)
    head = _head(specs)
    out[: len(head)] = np.frombuffer(head, dtype=np.uint8)
    for start, spec, array in zip(starts, specs, arrays.values(), strict=True):
        little = np.ascontiguousarray(array).astype(np.dtype(spec.dtype).newbyteorder("<"), copy=False)
        out[start : start + spec.size] = little.reshape(-1).view(np.uint8)
    return out.tobytes()


def decode(data: bytes | memoryview, specs: Sequence[ArraySpec]) -> Arrays:
    """Read-only views into `data`. Raises: Corrupt, naming what differs from `specs`."""
    starts, total = _layout(specs)
    head = _head(specs)
    if bytes(data[: len(head)]) != head:
        raise Corrupt(_difference(data, specs), reason="TENSORS_UNEXPECTED", remedy="use the detector's own arrays")
    if len(data) != total:
        raise Corrupt(
            f"the arrays have {len(data)} bytes, {total} are specified",
            reason="TENSORS_UNEXPECTED",
            remedy="use the detector's own arrays",
        )
    found: Arrays = {}
    for start, spec in zip(starts, specs, strict=True):
        dtype = np.dtype(spec.dtype).newbyteorder("<")
        values = np.frombuffer(data, dtype=dtype, count=spec.size // dtype.itemsize, offset=start)
        found[spec.name] = values.reshape(spec.shape)
    return found


def places(specs: Sequence[ArraySpec]) -> dict[str, tuple[ArraySpec, int]]:
    """Each array's specification and the offset of its values, for reading one array of a file."""
    starts, _ = _layout(specs)
    return {spec.name: (spec, start) for spec, start in zip(specs, starts, strict=True)}


def read_array(file: BinaryIO, spec: ArraySpec, offset: int) -> NDArray[Any]:
    """One array of an open file, in memory of its own. Raises: Corrupt where the file ends early."""
    values = np.empty(spec.shape, dtype=np.dtype(spec.dtype).newbyteorder("<"))
    file.seek(offset)
    if values.size and file.readinto(values.reshape(-1).view(np.uint8).data) != spec.size:  # type: ignore[attr-defined]  # because typing.BinaryIO lacks readinto
        raise Corrupt(f"array {spec.name} ends early", reason="TENSORS_UNEXPECTED")
    return values


def check_head(file: BinaryIO, specs: Sequence[ArraySpec]) -> None:
    """The file holds exactly these arrays. Raises: Corrupt, naming what differs."""
    head = _head(specs)
    found = file.read(len(head))
    if found != head:
        raise Corrupt(_difference(found, specs), reason="TENSORS_UNEXPECTED", remedy="use the detector's own arrays")


def read_specs(data: bytes) -> tuple[ArraySpec, ...]:
    """The specifications of bytes this program encoded itself. Raises: Corrupt."""
    try:
        return tuple(_read_specs(data))
    except (struct.error, UnicodeDecodeError, KeyError, ValueError) as error:
        raise Corrupt("the arrays cannot be read", reason="TENSORS_UNEXPECTED") from error


def _layout(specs: Sequence[ArraySpec]) -> tuple[list[int], int]:
    """Where each array starts, and the whole size."""
    at, starts = len(_head(specs)), []
    for spec in specs:
        at += -at % ALIGNMENT
        starts.append(at)
        at += spec.size
    return starts, at


def _head(specs: Sequence[ArraySpec]) -> bytes:
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


def _read_specs(data: bytes | memoryview) -> Iterator[ArraySpec]:
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise ValueError("no magic")
    (count,) = struct.unpack_from("<I", data, len(MAGIC))
    at = len(MAGIC) + 4
    for _ in range(min(count, MAX_ARRAYS + 1)):
        (length,) = struct.unpack_from("<B", data, at)
        name = bytes(data[at + 1 : at + 1 + length]).decode()
        code, dimensions = struct.unpack_from("<BB", data, at + 1 + length)
        shape = struct.unpack_from(f"<{min(dimensions, MAX_DIMENSIONS)}Q", data, at + 3 + length)
        at += 3 + length + 8 * dimensions
        yield ArraySpec(name=name, dtype=_CODES[code], shape=shape)
