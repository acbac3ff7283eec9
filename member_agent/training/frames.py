"""Messages between the agent and its training process: a JSON header and raw bytes, each with its length.

Layout: u32 length of the header, u64 length of the body, little-endian, then both. Nothing is ever unpickled, so
neither side can make the other run code.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

from alliance.errors import Corrupt

LENGTHS = struct.Struct("<IQ")
MAX_HEADER = 1 << 20
MAX_BODY = 2 << 30
"""As many as alliance.tensors allows, said again because that module imports numpy, before the worker has its caps."""


def head(header: dict[str, Any], body_size: int) -> bytes:
    """What goes before the body."""
    text = json.dumps(header).encode()
    return LENGTHS.pack(len(text), body_size) + text


def lengths(data: bytes) -> tuple[int, int]:
    """Of header and body. Raises: Corrupt."""
    header, body = LENGTHS.unpack(data)
    if header > MAX_HEADER or body > MAX_BODY:
        raise Corrupt("the training process sent something else than a frame", reason="FRAME_UNREADABLE")
    return header, body


def parse(text: bytes | bytearray) -> dict[str, Any]:
    """Raises: Corrupt."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Corrupt("the header of a frame is no JSON", reason="FRAME_UNREADABLE") from error
    if not isinstance(found, dict):
        raise Corrupt("the header of a frame is no object", reason="FRAME_UNREADABLE")
    return found


def read(stream: BinaryIO) -> tuple[dict[str, Any], bytearray] | None:
    """The next frame; None at the end. Raises: Corrupt."""
    start = stream.read(LENGTHS.size)
    if not start:
        return None
    if len(start) < LENGTHS.size:
        raise Corrupt("a frame ends early", reason="FRAME_UNREADABLE")
    header_size, body_size = lengths(start)
    header = parse(stream.read(header_size))
    body = bytearray(body_size)
    view, at = memoryview(body), 0
    while at < body_size:
        count = stream.readinto(view[at:])  # type: ignore[attr-defined]  # because typing.BinaryIO lacks readinto
        if not count:
            raise Corrupt("a frame ends early", reason="FRAME_UNREADABLE")
        at += count
    return header, body


def write(stream: BinaryIO, header: dict[str, Any], body: bytes | memoryview = b"") -> None:
    stream.write(head(header, len(body)))
    stream.write(body)
    stream.flush()
