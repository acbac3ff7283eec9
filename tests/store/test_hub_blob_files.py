"""Blobs on disk: what is one never changes, and a crash at any step leaves a part that resumes or is refused."""

from __future__ import annotations

import fcntl
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from alliance import canonical
from alliance.errors import Conflict, Corrupt, Unavailable
from alliance.names import Digest, MemberId
from hub.blobs.files import BlobFiles, read_chunk
from hub.blobs.model import StoredBlob

ACME = MemberId("members/acme")
DATA = b"sealed bytes"
DIGEST = canonical.sha256(DATA)


@pytest.fixture
def files(tmp_path: Path) -> BlobFiles:
    return BlobFiles(tmp_path)


def append(files: BlobFiles, data: bytes) -> None:
    with files.open_part(ACME, DIGEST) as part:
        part.append(data)


def read(files: BlobFiles, offset: int) -> bytes:
    with files.open(Digest(DIGEST)) as file:
        return read_chunk(file, offset)


def test_a_part_grows_until_it_is_a_blob(files: BlobFiles) -> None:
    append(files, DATA[:5])
    assert files.part_size(ACME, DIGEST) == 5
    with files.open_part(ACME, DIGEST) as part:
        assert part.size == 5
        part.append(DATA[5:])
        files.complete(part, ACME, DIGEST)
    assert read(files, 3) == DATA[3:]
    assert files.part_size(ACME, DIGEST) == 0


def test_a_part_is_locked_while_it_is_written(files: BlobFiles) -> None:
    with files.open_part(ACME, DIGEST), pytest.raises(Conflict) as caught, files.open_part(ACME, DIGEST):
        pass
    assert caught.value.reason == "UPLOAD_IN_PROGRESS"


def test_who_opened_a_part_that_then_became_a_blob_gets_nothing_to_write(
    files: BlobFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one moment between opening a file and locking it, in which the first upload finishes."""
    flock = fcntl.flock
    with ExitStack() as stack:
        first = stack.enter_context(files.open_part(ACME, DIGEST))
        first.append(DATA)

        def late(file: Any, operation: int) -> None:
            files.complete(first, ACME, DIGEST)
            stack.close()
            flock(file, operation)

        monkeypatch.setattr(fcntl, "flock", late)
        with pytest.raises(Conflict), files.open_part(ACME, DIGEST) as second:
            second.append(b"!")
    assert files.read_all(DIGEST) == DATA


def test_a_part_of_other_bytes_is_dropped(files: BlobFiles) -> None:
    with files.open_part(ACME, DIGEST) as part:
        part.append(b"other bytes")
        with pytest.raises(Corrupt):
            files.complete(part, ACME, DIGEST)
    assert files.part_size(ACME, DIGEST) == 0
    assert not files.path(DIGEST).exists()


def test_the_hubs_own_bytes_are_stored_once(files: BlobFiles, tmp_path: Path) -> None:
    assert files.put(DATA) == files.put(DATA) == DIGEST
    assert files.read_all(DIGEST) == DATA
    assert list((tmp_path / "parts").iterdir()) == []


def test_reading_behind_the_end_is_damage(files: BlobFiles) -> None:
    files.put(DATA)
    with pytest.raises(Corrupt):
        read(files, len(DATA))


def test_what_the_hub_makes_is_a_blob_when_it_is_finished_and_else_nothing(files: BlobFiles, tmp_path: Path) -> None:
    with files.make() as making:
        making.append(DATA[:3])
        making.append(memoryview(DATA)[3:])
        assert making.finish() == StoredBlob(DIGEST, len(DATA))
    with files.make() as making:
        making.append(b"half of it")
    assert files.read_all(DIGEST) == DATA
    assert list((tmp_path / "parts").iterdir()) == []


def test_a_reader_of_a_blob_that_is_removed_reads_to_its_end(files: BlobFiles) -> None:
    files.put(DATA)
    with files.open(Digest(DIGEST)) as file:
        files.remove(Digest(DIGEST))
        files.remove(Digest(DIGEST))
        assert read_chunk(file, 0) == DATA
    with pytest.raises(Unavailable), files.open(Digest(DIGEST)):
        pass


def test_a_blob_that_rests_is_read_as_before(files: BlobFiles) -> None:
    files.put(DATA)
    files.rest(Digest(DIGEST))
    assert read(files, 0) == DATA
    files.rest(Digest(bytes(32)))


def test_a_pinned_blob_outlives_its_removal(files: BlobFiles, tmp_path: Path) -> None:
    digest = files.put(DATA)
    with files.pinned() as pins:
        pins.add(digest)
        files.remove(digest)
        assert pins.path(digest).read_bytes() == DATA
        with pytest.raises(Unavailable):
            pins.add(Digest(bytes(32)))
    assert list((tmp_path / "parts").iterdir()) == []


def test_parts_that_nobody_wrote_to_for_long_are_dropped_unless_somebody_has_them(files: BlobFiles) -> None:
    idle, busy, fresh = (Digest(canonical.sha256(name)) for name in (b"idle", b"busy", b"fresh"))
    for digest in (idle, busy):
        with files.open_part(ACME, digest) as part:
            part.append(b"12345")
    with files.open_part(ACME, busy), files.make() as making, files.pinned() as pins:
        making.append(DATA)
        pins.add(files.put(b"pinned"))
        later = time.time() + 1
        assert files.expire_parts(before=later - 100) == 0
        assert files.parts_of(ACME) == {idle: 5, busy: 5}
        assert files.expire_parts(before=later) == 1
        assert files.parts_of(ACME) == {busy: 5}
        with files.open_part(ACME, fresh) as part:
            part.append(b"1")
        assert making.finish().digest == DIGEST
        assert pins.path(files.put(b"pinned")).read_bytes() == b"pinned"
    assert files.parts_of(ACME) == {busy: 5, fresh: 1}
    assert files.parts_of(MemberId("members/acme-2")) == {}


def test_what_a_killed_hub_was_making_is_dropped_in_time(files: BlobFiles, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    (parts / "hub-0011223344556677").write_bytes(b"half a model")
    (parts / "hub-pins").mkdir()
    (parts / "hub-pins" / "pinned").write_bytes(b"a second name")
    assert files.expire_parts(before=time.time() - 100) == 0
    assert files.expire_parts(before=time.time() + 1) == 2
    assert list(parts.iterdir()) == []
