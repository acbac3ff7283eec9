"""Segments: whole entries of a bank's log, concatenated, immutable and content-addressed.

Layout: magic `ALSEG001`; then, per entry, a frame of two length-prefixed (32-bit big-endian) parts:
the serialised BankEntry and, for a batch, its sealed bytes (empty for a tombstone). A reader checks the
segment's SHA-256 before it parses, and each batch's digest and chain step after.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from google.protobuf.message import DecodeError

from alliance.errors import Corrupt
from alliance.v1 import fingerprint_pb2

MAGIC = b"ALSEG001"
# A batch's sealed bytes; a segment may hold many batches.
MAX_BATCH_BYTES = 64 << 20
MAX_BATCH_ROWS = 65_536


def frame(entry: fingerprint_pb2.BankEntry, sealed: bytes) -> bytes:
    header = entry.SerializeToString(deterministic=True)
    return struct.pack(">I", len(header)) + header + struct.pack(">I", len(sealed)) + sealed


def pack(entries: Iterable[tuple[fingerprint_pb2.BankEntry, bytes]]) -> bytes:
    """One segment of entries in ascending, dense order."""
    return MAGIC + b"".join(frame(entry, sealed) for entry, sealed in entries)


def unpack(data: bytes) -> Iterator[tuple[fingerprint_pb2.BankEntry, bytes]]:
    """Entries and sealed bytes, in order. Raises: Corrupt at the first malformed frame."""
    if data[: len(MAGIC)] != MAGIC:
        raise Corrupt("not a segment", reason="SEGMENT_MALFORMED")
    at = len(MAGIC)
    while at < len(data):
        header, at = _part(data, at)
        sealed, at = _part(data, at)
        try:
            yield fingerprint_pb2.BankEntry.FromString(header), sealed
        except DecodeError as error:
            raise Corrupt("a segment's entry cannot be read", reason="SEGMENT_MALFORMED") from error


def _part(data: bytes, at: int) -> tuple[bytes, int]:
    if at + 4 > len(data):
        raise Corrupt("a segment ends inside a frame", reason="SEGMENT_MALFORMED")
    (size,) = struct.unpack_from(">I", data, at)
    end = at + 4 + size
    if end > len(data):
        raise Corrupt("a segment ends inside a frame", reason="SEGMENT_MALFORMED")
    return data[at + 4 : end], end
