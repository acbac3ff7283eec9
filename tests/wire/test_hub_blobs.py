"""Uploads survive what networks do to them, and the hub keeps exactly the bytes whose digest it was told."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alliance import canonical, channel
from alliance.errors import (
    AllianceError,
    Conflict,
    Corrupt,
    InvalidInput,
    LimitExceeded,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    Unavailable,
)
from alliance.segments import MAX_BATCH_BYTES
from alliance.v1 import blob_pb2 as pb
from tests.kit.alliance import Alliance, alliance
from tests.kit.clock import ShiftedClock
from tests.kit.member import CHUNK, RawMember

WAIT_S = 20.0


def header(data: bytes, *, size: int | None = None, offset: int = 0) -> pb.UploadHeader:
    return pb.UploadHeader(digest=canonical.sha256(data), size=len(data) if size is None else size, offset=offset)


def committed(member: RawMember, data: bytes) -> pb.GetUploadResponse:
    return member.call(pb.GetUploadRequest(digest=canonical.sha256(data)), pb.GetUploadResponse)


class OpenUpload:
    """An upload whose messages are sent one by one, while the test does other things."""

    def __init__(self, member: RawMember, head: pb.UploadHeader) -> None:
        self.error: AllianceError | None = None
        self.response: pb.UploadBlobResponse | None = None
        self._member, self._data_digest = member, head.digest
        self._messages: queue.SimpleQueue[pb.UploadBlobRequest | None] = queue.SimpleQueue()
        self._messages.put(pb.UploadBlobRequest(header=head))
        self._channel = member.open_channel()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def send(self, chunk: bytes, *, until: int) -> None:
        """Sends a chunk, and waits until the hub holds so many bytes."""
        self._messages.put(pb.UploadBlobRequest(chunk=chunk))
        deadline = time.monotonic() + WAIT_S
        request = pb.GetUploadRequest(digest=self._data_digest)
        while self._member.call(request, pb.GetUploadResponse).committed_size < until:
            assert time.monotonic() < deadline, "the chunk did not arrive"
            time.sleep(0.01)

    def push(self, chunk: bytes) -> None:
        """Sends a chunk that the hub may refuse."""
        self._messages.put(pb.UploadBlobRequest(chunk=chunk))

    def finish(self) -> None:
        """Ends the stream and waits for the hub's word."""
        self._messages.put(None)
        self._thread.join(WAIT_S)
        self._channel.close()

    def cut(self) -> None:
        """Loses the connection in the middle."""
        self._channel.close()
        self.finish()

    def _run(self) -> None:
        try:
            self.response = channel.stream_in(self._channel, self._each(), pb.UploadBlobRequest, pb.UploadBlobResponse)
        except AllianceError as error:
            self.error = error

    def _each(self) -> Iterator[pb.UploadBlobRequest]:
        while (message := self._messages.get()) is not None:
            yield message


def resumed(member: RawMember, data: bytes) -> pb.UploadBlobResponse:
    """Resumes where the hub says, until the hub has noticed that the last upload is over."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return member.upload(data, offset=committed(member, data).committed_size)
        except (Conflict, InvalidInput):
            assert time.monotonic() < deadline, "the hub never let go of the broken upload"
            time.sleep(0.02)


# Resuming.


def test_a_broken_upload_goes_on_where_it_broke(three: Alliance) -> None:
    member, data = three.members[0], os.urandom(3 * CHUNK + 5)
    upload = OpenUpload(member, header(data))
    upload.send(data[:CHUNK], until=CHUNK)
    upload.send(data[CHUNK : CHUNK + 100], until=CHUNK)  # may still be in a buffer
    upload.cut()
    assert upload.response is None
    done = resumed(member, data)
    assert (done.committed_size, done.complete) == (len(data), True)
    assert committed(member, data) == pb.GetUploadResponse(committed_size=len(data), complete=True)
    path = three.hub.services.blobs.files.path(canonical.sha256(data))
    assert path.read_bytes() == data


def test_an_upload_may_come_in_parts(three: Alliance) -> None:
    member, data = three.members[0], os.urandom(1000)
    first = member.upload_parts(header(data), [data[:400]])
    assert (first.committed_size, first.complete) == (400, False)
    assert committed(member, data) == pb.GetUploadResponse(committed_size=400)
    assert member.upload(data, offset=400).complete


def test_what_is_there_already_is_complete_at_once(three: Alliance) -> None:
    member, data = three.members[0], b"once"
    member.upload(data)
    again = member.upload_parts(header(data), [])
    assert (again.committed_size, again.complete) == (4, True)


def test_a_resumed_download_is_the_same_bytes(three: Alliance) -> None:
    data = os.urandom(2 * CHUNK + 9)
    sealed = three.members[0].seal(three.bank, data)
    three.members[0].publish_sealed(sealed)
    reader, digest = three.members[1], sealed.header.digest
    for offset in (0, 1, CHUNK, 2 * CHUNK + 1, len(sealed.data)):
        assert reader.download(digest, offset=offset) == sealed.data[offset:]


# What is refused.


@pytest.mark.parametrize("size", [0, -1, MAX_BATCH_BYTES + 1, 2**62])
def test_a_size_has_limits(size: int, three: Alliance) -> None:
    with pytest.raises(LimitExceeded) as caught:
        three.members[0].upload_parts(header(b"x", size=size), [b"x"])
    assert caught.value.reason == "BLOB_TOO_LARGE"


@pytest.mark.parametrize(
    ("size", "offset", "chunks", "error", "reason"),
    [
        pytest.param(3, 0, [b"abcd"], InvalidInput, "UPLOAD_TOO_LONG", id="too long at once"),
        pytest.param(3, 0, [b"abc", b"d"], InvalidInput, "UPLOAD_TOO_LONG", id="too long in the end"),
        pytest.param(4, 2, [b"cd"], InvalidInput, "UPLOAD_OFFSET", id="offset ahead"),
        pytest.param(4, -1, [b"abcd"], InvalidInput, "UPLOAD_OFFSET", id="offset negative"),
        pytest.param(4, 0, [b"ab", b"", b"cd"], LimitExceeded, "CHUNK_SIZE", id="empty chunk"),
        pytest.param(4 << 20, 0, [bytes(CHUNK + 1)], LimitExceeded, "CHUNK_SIZE", id="chunk too large"),
        pytest.param(4, 0, [b"abcx"], Corrupt, "DIGEST_MISMATCH", id="other bytes"),
    ],
)
def test_a_stream_that_is_not_as_announced_is_refused(
    size: int, offset: int, chunks: list[bytes], error: type[AllianceError], reason: str, three: Alliance
) -> None:
    with pytest.raises(error) as caught:
        three.members[0].upload_parts(header(b"abcd", size=size, offset=offset), chunks)
    assert caught.value.reason == reason
    assert not committed(three.members[0], b"abcd").complete


def test_bytes_of_another_digest_are_dropped_and_the_right_ones_taken(three: Alliance) -> None:
    member = three.members[0]
    with pytest.raises(Corrupt):
        member.upload_parts(header(b"abcd"), [b"abcx"])
    assert committed(member, b"abcd").committed_size == 0
    assert member.upload(b"abcd").complete


def test_a_header_comes_first_and_once(three: Alliance) -> None:
    member, head = three.members[0], pb.UploadBlobRequest(header=header(b"abcd"))
    chunk = pb.UploadBlobRequest(chunk=b"abcd")
    for messages, reason in (
        ([], "UPLOAD_HEADER"),
        ([chunk], "UPLOAD_HEADER"),
        ([pb.UploadBlobRequest()], "UPLOAD_HEADER"),
        ([head, head], "CHUNK_SIZE"),
        ([pb.UploadBlobRequest(header=pb.UploadHeader(digest=b"short", size=4))], "INVALID_INPUT"),
    ):
        with pytest.raises((InvalidInput, LimitExceeded)) as caught:
            channel.stream_in(member.channel, messages, pb.UploadBlobRequest, pb.UploadBlobResponse)
        assert caught.value.reason == reason


# At once.


def test_two_uploads_of_the_same_bytes_do_not_mix(three: Alliance) -> None:
    member, data = three.members[0], os.urandom(2 * CHUNK)
    upload = OpenUpload(member, header(data))
    upload.send(data[:CHUNK], until=CHUNK)
    with pytest.raises(Conflict) as caught:
        member.upload(data)
    assert caught.value.reason == "UPLOAD_IN_PROGRESS"
    upload.send(data[CHUNK:], until=2 * CHUNK)
    upload.finish()
    assert upload.response == pb.UploadBlobResponse(committed_size=2 * CHUNK, complete=True)
    assert member.upload(data).complete


def test_nothing_is_added_to_a_finished_blob(three: Alliance) -> None:
    """A stream that announces more than there is must not get hold of the file that just became a blob."""
    member, data = three.members[0], os.urandom(100)
    member.upload_parts(header(data), [data[:99]])
    longer = OpenUpload(member, header(data, size=200, offset=99))
    longer.push(data[99:])
    with pytest.raises((Conflict, InvalidInput)):
        member.upload_parts(header(data, offset=100), [])
    longer.push(b"!" * 100)
    longer.finish()
    assert isinstance(longer.error, Corrupt)
    assert resumed(member, data).complete
    assert three.hub.services.blobs.files.path(canonical.sha256(data)).read_bytes() == data


def test_uploads_belong_to_their_member(three: Alliance) -> None:
    first, second = three.members[:2]
    data = os.urandom(100)
    first.upload_parts(header(data), [data[:50]])
    assert committed(second, data) == pb.GetUploadResponse()
    assert second.upload(data).complete
    assert committed(first, data) == pb.GetUploadResponse(committed_size=50)


# Who may read.


def test_outsiders_and_the_early_find_nothing(three: Alliance) -> None:
    outsider = three.hub.enrol("outsider")
    publisher, sealed = three.members[0], three.members[0].seal(three.bank, b"x")
    publisher.upload(sealed.data)
    for member in (publisher, three.members[1]):
        with pytest.raises(NotFound):  # nobody, before it is published
            member.download(sealed.header.digest)
    publisher.publish_sealed(sealed)
    assert three.members[1].download(sealed.header.digest) == sealed.data
    for digest in (sealed.header.digest, bytes(32)):
        with pytest.raises(NotFound) as caught:
            outsider.download(digest)
        assert str(caught.value) == "digest: no such blob"


@pytest.mark.parametrize("offset", [-1, 10**9, 2**62])
def test_a_download_starts_inside_the_blob(offset: int, three: Alliance) -> None:
    sealed = three.members[0].publish(three.bank)
    with pytest.raises(InvalidInput) as caught:
        three.members[1].download(sealed.header.digest, offset=offset)
    assert caught.value.reason == "DOWNLOAD_OFFSET"


def test_a_damaged_disk_is_said_and_not_streamed(three: Alliance) -> None:
    sealed = three.members[0].publish(three.bank, bytes(3 * CHUNK))
    path = three.hub.services.blobs.files.path(canonical.sha256(sealed.data))
    os.truncate(path, CHUNK)
    with pytest.raises(Corrupt) as caught:
        three.members[1].download(sealed.header.digest)
    assert caught.value.reason == "BLOB_CORRUPT"
    path.unlink()
    with pytest.raises(Unavailable) as missing:
        three.members[1].download(sealed.header.digest)
    assert missing.value.reason == "STORAGE"


# Standing bites in the middle of a stream.


def test_an_upload_is_cut_when_its_member_is_suspended(three: Alliance) -> None:
    member, data = three.members[0], os.urandom(3 * CHUNK)
    upload = OpenUpload(member, header(data))
    upload.send(data[:CHUNK], until=CHUNK)
    three.hub.suspend(member)
    upload.push(data[CHUNK : 2 * CHUNK])
    upload.finish()
    assert isinstance(upload.error, NotPermitted)
    assert upload.error.reason == "MEMBER_SUSPENDED"
    assert three.hub.services.blobs.files.part_size(member.name, canonical.sha256(data)) == CHUNK


def test_what_open_uploads_have_announced_counts_as_pending(tmp_path: Path) -> None:
    with alliance(members=1, folder=tmp_path, limits_pending_megabytes=4) as made:
        member, data = made.members[0], os.urandom(3 * CHUNK)
        upload = OpenUpload(member, header(data))
        upload.send(data[:CHUNK], until=CHUNK)
        with pytest.raises(LimitExceeded, match="4 MiB"):
            member.upload(os.urandom(2 * CHUNK))
        with pytest.raises(Conflict):
            member.upload(data, offset=CHUNK)
        assert member.upload(os.urandom(CHUNK)).complete
        upload.finish()


def test_an_upload_that_is_open_when_the_hub_stops_is_cut_and_keeps_what_came(three: Alliance) -> None:
    member, data = three.members[0], os.urandom(2 * CHUNK)
    upload = OpenUpload(member, header(data))
    upload.send(data[:CHUNK], until=CHUNK)
    three.hub.stop_serving()
    upload.finish()
    assert isinstance(upload.error, Unavailable)
    assert upload.error.reason == "HUB_STOPPING"
    assert three.hub.services.blobs.files.part_size(member.name, canonical.sha256(data)) == CHUNK


def test_an_upload_is_cut_when_its_certificate_expires(three: Alliance, clock: ShiftedClock) -> None:
    member, data = three.members[0], os.urandom(2 * CHUNK)
    upload = OpenUpload(member, header(data))
    upload.send(data[:CHUNK], until=CHUNK)
    clock.advance(days=31)
    upload.push(data[CHUNK:])
    upload.finish()
    assert isinstance(upload.error, NotAuthenticated)
    assert upload.error.reason == "CERTIFICATE_EXPIRED"


def test_a_download_is_cut_when_its_member_is_suspended(three: Alliance) -> None:
    """The hub reads ahead as far as flow control lets it; 40 MiB are more than that."""
    sealed = three.members[0].publish(three.bank, bytes(40 * CHUNK))
    reader = three.members[1]
    stream = channel.stream_out(
        reader.channel, pb.DownloadBlobRequest(digest=sealed.header.digest), pb.DownloadBlobResponse
    )
    assert next(stream).size == len(sealed.data)
    three.hub.suspend(reader)
    with pytest.raises(NotPermitted) as caught:
        for _ in stream:
            pass
    assert caught.value.reason == "MEMBER_SUSPENDED"


@pytest.mark.postgres
def test_equal_bytes_of_two_members_at_once_are_one_blob(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """On PostgreSQL both find that it is not there yet; neither is turned away."""
    url = request.getfixturevalue("postgres_databases").create()
    with alliance(members=4, folder=tmp_path, url=url) as a, ThreadPoolExecutor(4) as pool:
        for n in range(5):
            data = b"the same %d" % n
            done = list(pool.map(lambda member, data=data: member.upload(data), a.members))
            assert [one.complete for one in done] == [True] * 4
