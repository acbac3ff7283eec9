"""What is no hub at all answers an agent: packed bombs, endless answers, garbage. Refused at once, in little memory.

The agent's client goes on with the next call. A hub that keeps to gRPC and lies is in `test_active_hub` and others.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from alliance import channel
from alliance.canonical import sha256
from alliance.errors import AllianceError, Corrupt
from alliance.status import DETAILS_METADATA
from alliance.v1 import audit_pb2 as pb
from alliance.v1 import blob_pb2
from member_agent import transfer
from member_agent.hub_client import HubClient
from member_agent.ledger import Ledger
from tests.kit.hostile_hub import Answer, HostileHub, hostile_hub

MIB = 1 << 20
# Asks so often for a checkpoint or a blob, and says how often that failed and how many MiB more it took at most.
_ASKING = """
import resource, sys
from pathlib import Path
from alliance import channel
from alliance.errors import AllianceError
from alliance.v1 import audit_pb2 as pb
from member_agent import transfer
from member_agent.hub_client import HubClient
from member_agent.ledger import Ledger

address, roots, ledger, what, times = sys.argv[1:]
opened = channel.open_channel(address, roots=Path(roots).read_bytes())
taken = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
with HubClient(opened, Ledger(Path(ledger))) as hub:
    assert hub.ready(10)
    before, ended = taken(), []
    for _ in range(int(times)):
        try:
            if what == "blob":
                transfer.download(hub, bytes(32), Path(ledger).with_name("parts"))
            else:
                hub.call(pb.GetCheckpointRequest(), pb.GetCheckpointResponse)
        except AllianceError as error:
            ended.append(error.reason)
    print(len(ended), taken() - before)
"""


@pytest.fixture
def hostile() -> Iterator[HostileHub]:
    with hostile_hub() as running:
        yield running


@pytest.fixture
def client(hostile: HostileHub, tmp_path: Path) -> Iterator[HubClient]:
    ledger = Ledger(tmp_path / "ledger.db")
    with HubClient(channel.open_channel(hostile.address, roots=hostile.roots), ledger) as hub:
        yield hub
    ledger.close()


def checkpoint(hub: HubClient) -> str:
    return hub.call(pb.GetCheckpointRequest(), pb.GetCheckpointResponse, timeout=20).checkpoint


def well(context: Any) -> Iterable[bytes]:
    yield pb.GetCheckpointResponse(checkpoint="well").SerializeToString()


def packed(context: Any) -> Iterable[bytes]:
    """96 MiB in 96 KiB."""
    context.set_compression(grpc.Compression.Gzip)
    yield bytes(96 * MIB)


def large(context: Any) -> Iterable[bytes]:
    yield bytes(256 * MIB)


def metadata_first(context: Any) -> Iterable[bytes]:
    context.send_initial_metadata((("x", "a" * 4 * MIB),))
    yield b""


def metadata_last(context: Any) -> Iterable[bytes]:
    context.set_trailing_metadata((("x", "a" * 4 * MIB),))
    yield b""


def told_at_length(context: Any) -> Iterable[bytes]:
    context.set_code(grpc.StatusCode.NOT_FOUND)
    context.set_details("a" * 4 * MIB)
    return ()


def details_that_are_none(context: Any) -> Iterable[bytes]:
    context.set_code(grpc.StatusCode.NOT_FOUND)
    context.set_trailing_metadata(((DETAILS_METADATA, b"\xff" * 40),))
    return ()


def garbage(context: Any) -> Iterable[bytes]:
    yield b"\xff" * 100


def nothing(context: Any) -> Iterable[bytes]:
    return ()


ANSWERS: list[Answer] = [
    *(packed, large, metadata_first, metadata_last),
    *(told_at_length, details_that_are_none, garbage, nothing),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.__name__)
def test_is_one_of_our_errors_and_the_next_call_is_well(answer: Answer, hostile: HostileHub, client: HubClient) -> None:
    for _ in range(2):
        hostile.will(answer)
        with pytest.raises(AllianceError):
            checkpoint(client)
        hostile.will(well)
        assert checkpoint(client) == "well"


def of_two_gibibytes(context: Any) -> Iterable[bytes]:
    """Says so of a blob, and sends a byte."""
    yield blob_pb2.DownloadBlobResponse(size=transfer.MOST).SerializeToString()
    yield blob_pb2.DownloadBlobResponse(chunk=b"a").SerializeToString()


@pytest.mark.parametrize(
    ("answer", "what", "times", "most"),
    # The first packed answer is not like the others: gRPC refuses some before it unpacks them.
    [(packed, "checkpoint", 12, 64), (large, "checkpoint", 3, 192), (of_two_gibibytes, "blob", 3, 64)],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_is_never_unpacked_nor_held_whole(
    answer: Answer, what: str, times: int, most: int, hostile: HostileHub, tmp_path: Path
) -> None:
    """In a process of its own, whose memory nothing else takes; `most` in MiB."""
    roots = tmp_path / "ca.pem"
    roots.write_bytes(hostile.roots)
    hostile.will(answer)
    asked = subprocess.run(
        [sys.executable, "-c", _ASKING, hostile.address, roots, tmp_path / "asking.db", what, str(times)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    refused, taken = map(int, asked.stdout.split())
    assert refused == times
    assert taken < most


def said(size: int, chunks: Iterable[bytes]) -> Answer:
    """A download: its size, then chunks."""

    def answer(context: Any) -> Iterable[bytes]:
        yield blob_pb2.DownloadBlobResponse(size=size).SerializeToString()
        for chunk in chunks:
            yield blob_pb2.DownloadBlobResponse(chunk=chunk).SerializeToString()

    return answer


def endless(chunk: bytes) -> Iterator[bytes]:
    while True:
        yield chunk


@pytest.mark.parametrize(
    ("size", "chunk"),
    [(1 << 62, b"a"), (3, b"abcd"), (10, b"abcd"), (0, b"a"), (8, b"")],
    ids=["of more than any", "larger at once", "larger in the end", "of nothing", "of empty chunks"],
)
def test_a_download_that_never_ends(
    size: int, chunk: bytes, hostile: HostileHub, client: HubClient, tmp_path: Path
) -> None:
    hostile.will(said(size, endless(chunk)))
    with pytest.raises(Corrupt) as refused:
        transfer.download(client, sha256(b"whatever"), tmp_path / "parts")
    assert refused.value.reason == "DIGEST_MISMATCH"
    assert not list((tmp_path / "parts").glob("*"))
    blob = b"abcdefgh"
    hostile.will(said(len(blob), [blob[:4], blob[4:]]))
    assert transfer.download(client, sha256(blob), tmp_path / "parts") == blob
