"""Messages that are nothing but a chunk of a blob, to bytes and back, without protobuf's own copies.

Its serialiser grows a buffer by doubling: 1.5 ms for 1 MiB, more than TLS and SHA-256 take together. The bytes are the
same either way (tests/unit/test_alliance_chunks.py); a message that says anything else is left to protobuf.
"""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import Message

from alliance.v1 import blob_pb2 as pb

# The field's number and wire type 2, length-delimited: one byte, for small numbers.
_TAGS: Mapping[type[Message], int] = {
    kind: kind.DESCRIPTOR.fields_by_name["chunk"].number << 3 | 2
    for kind in (pb.UploadBlobRequest, pb.DownloadBlobResponse)
}


def serialise(kind: type[Message], chunk: bytes | memoryview) -> bytes:
    """The bytes of a message of this kind with this chunk, of 1 byte at least."""
    head, size = bytearray([_TAGS[kind]]), len(chunk)
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return b"".join((head, chunk))


def to_bytes(message: Message) -> bytes:
    """Any message's bytes, deterministic."""
    if type(message) in _TAGS:
        found = message.ListFields()
        if [field.name for field, _ in found] == ["chunk"]:
            return serialise(type(message), found[0][1])
    return message.SerializeToString(deterministic=True)


def view(kind: type[Message], raw: bytes) -> memoryview | None:
    """The chunk of a message of this kind that is nothing else; None of any other, which protobuf is to parse."""
    size = shift = 0
    if kind in _TAGS and raw[:1] == bytes([_TAGS[kind]]):
        for at, byte in enumerate(raw[1:6], start=2):
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return memoryview(raw)[at:] if size and at + size == len(raw) else None
    return None
