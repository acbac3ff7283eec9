"""Blobs on disk: what is one never changes, and a crash at any step leaves a part that resumes or is refused."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import pytest

from alliance import canonical
from alliance.errors import Conflict, Corrupt
from alliance.names import Digest, MemberId
from hub.blobs.files import BlobFiles

ACME = MemberId("members/acme")
DATA = b"sealed bytes"
DIGEST = canonical.sha256(DATA)


@pytest.fixture
def files(tmp_path: Path) -> BlobFiles:
    return BlobFiles(tmp_path)


def append(files: BlobFiles, data: bytes) -> None:
    with files.open_part(ACME, DIGEST) as part:
        part.write(data)


def test_a_part_grows_until_it_is_a_blob(files: BlobFiles) -> None:
    append(files, DATA[:5])
    assert files.part_size(ACME, DIGEST) == 5
    with files.open_part(ACME, DIGEST) as part:
        assert part.tell() == 5
        part.write(DATA[5:])
        files.complete(part, ACME, DIGEST)
    assert files.read(DIGEST, 3) == DATA[3:]
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
    with files.open_part(ACME, DIGEST) as first:
        first.write(DATA)

        def late(file: Any, operation: int) -> None:
            files.complete(first, ACME, DIGEST)
            first.close()
            flock(file, operation)

        monkeypatch.setattr(fcntl, "flock", late)
        with pytest.raises(Conflict), files.open_part(ACME, DIGEST) as second:
            second.write(b"!")
    assert files.read_all(DIGEST) == DATA


def test_a_part_of_other_bytes_is_dropped(files: BlobFiles) -> None:
    with files.open_part(ACME, DIGEST) as part:
        part.write(b"other bytes")
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
        files.read(Digest(DIGEST), len(DATA))
