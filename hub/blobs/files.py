"""The bytes of blobs, on disk.

A part file belongs to one uploader and one digest; it becomes a blob by an atomic rename after its digest
was checked and its bytes were synced. A crash leaves a part that resumes, or that the digest check refuses.
Several hub replicas need a shared folder here.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from alliance.errors import Conflict, Corrupt, Unavailable
from alliance.names import Digest, MemberId

CHUNK = 1 << 20


class BlobFiles:
    """The bytes. All methods block; call them in the worker pool."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "complete"
        self._parts = folder / "parts"
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._parts.mkdir(parents=True, exist_ok=True)

    def part_size(self, uploader: MemberId, digest: Digest) -> int:
        part = self._part(uploader, digest)
        return part.stat().st_size if part.exists() else 0

    @contextmanager
    def open_part(self, uploader: MemberId, digest: Digest) -> Iterator[BinaryIO]:
        """The part, locked against a second upload of the same bytes. Raises: Conflict, Unavailable."""
        path = self._part(uploader, digest)
        with _disk_errors(), path.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise _in_progress() from error
            # The upload that held the lock until now may have made this very file a blob, or dropped it.
            if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
                raise _in_progress()
            yield file

    def complete(self, part: BinaryIO, uploader: MemberId, digest: Digest) -> None:
        """Checks the open part's digest and makes it a blob. Raises: Corrupt, and drops the part."""
        path = self._part(uploader, digest)
        with _disk_errors():
            part.flush()
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").digest()
            if found != digest:
                path.unlink()
                raise Corrupt(
                    "the uploaded bytes do not have the digest announced",
                    reason="DIGEST_MISMATCH",
                    remedy="upload again from the start",
                )
            os.fsync(part.fileno())
            self._publish(path, digest)

    def put(self, data: bytes) -> Digest:
        """Stores bytes the hub itself made."""
        digest = Digest(hashlib.sha256(data).digest())
        if not self.path(digest).exists():
            # Another replica may be making the same segment.
            part = self._parts / f"hub-{digest.hex()}-{secrets.token_hex(4)}"
            with _disk_errors(), part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                self._publish(part, digest)
        return digest

    def read(self, digest: Digest, offset: int) -> bytes:
        """At most one chunk from `offset`, which is inside the blob. Raises: Unavailable, Corrupt."""
        with _disk_errors(), self.path(digest).open("rb") as file:
            file.seek(offset)
            chunk = file.read(CHUNK)
        if not chunk:
            raise Corrupt("the stored blob is shorter than it was", reason="BLOB_CORRUPT", remedy="tell the operator")
        return chunk

    def read_all(self, digest: Digest) -> bytes:
        with _disk_errors():
            return self.path(digest).read_bytes()

    def path(self, digest: Digest) -> Path:
        return self._blobs / digest.hex()[:2] / digest.hex()

    def _part(self, uploader: MemberId, digest: Digest) -> Path:
        return self._parts / f"{uploader.partition('/')[2]}-{digest.hex()}"

    def _publish(self, part: Path, digest: Digest) -> None:
        final = self.path(digest)
        final.parent.mkdir(exist_ok=True)
        part.rename(final)
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _in_progress() -> Conflict:
    return Conflict("this blob is being uploaded by another call", reason="UPLOAD_IN_PROGRESS", remedy="retry later")


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"the hub's disk refuses: {error.strerror}", reason="STORAGE", remedy="tell the operator; retry later"
        ) from error
