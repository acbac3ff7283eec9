"""The quick way between chunk messages and bytes is protobuf's own, to the byte."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from alliance import chunks
from alliance.v1 import blob_pb2 as pb

KINDS = (pb.UploadBlobRequest, pb.DownloadBlobResponse)
SIZES = (1, 127, 128, 16_383, 16_384, 1 << 20, (1 << 21) + 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_a_chunk_is_written_and_read_as_protobuf_does(kind: type[Message], size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    message = kind(chunk=data[:size])
    raw = message.SerializeToString()
    assert chunks.serialise(kind, memoryview(data)[:size]) == raw
    assert chunks.to_bytes(message) == raw
    found = chunks.view(kind, raw)
    assert found is not None
    assert bytes(found) == data[:size]


@pytest.mark.parametrize(
    "message",
    [
        pb.UploadBlobRequest(),
        pb.UploadBlobRequest(chunk=b""),
        pb.UploadBlobRequest(header=pb.UploadHeader(size=5)),
        pb.DownloadBlobResponse(size=7),
        pb.DownloadBlobResponse(size=7, chunk=b"more"),
        pb.GetUploadRequest(digest=b"d" * 32),
    ],
)
def test_any_other_message_is_left_to_protobuf(message: Message) -> None:
    raw = message.SerializeToString(deterministic=True)
    assert chunks.to_bytes(message) == raw
    assert chunks.view(type(message), raw) is None


@given(st.binary(max_size=40), st.sampled_from(KINDS))
def test_whatever_comes_means_what_protobuf_says(raw: bytes, kind: type[Message]) -> None:
    for data in (raw, bytes([raw[0] % 24, *raw[1:]]) if raw else raw):
        found = chunks.view(kind, data)
        if found is not None:
            (only,) = kind.FromString(data).ListFields()
            assert (only[0].name, only[1]) == ("chunk", bytes(found))
