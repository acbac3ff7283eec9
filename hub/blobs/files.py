"""The bytes of blobs, on disk.

A part file belongs to one uploader and one digest, or to the hub itself; it becomes a blob by an atomic rename after
its digest was checked and its bytes were synced. A crash leaves a part that resumes, or that the digest check refuses.
What is written to is locked; what nobody has written to for long is forgotten (`expire_parts`). Several hub replicas
need a shared folder here.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from alliance.errors import Conflict, Corrupt, Unavailable
from alliance.names import Digest, MemberId
from hub.blobs.model import StoredBlob

CHUNK = 1 << 20
_UPLOAD = re.compile(r"(?P<slug>.+)-(?P<digest>[0-9a-f]{64})\Z")


class Part:
    """What there is of a blob so far, and its digest, computed as the bytes come."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash, self.size = file, hashlib.sha256(), 0
        file.seek(0)
        while kept := file.read(CHUNK):
            self._hash.update(kept)
            self.size += len(kept)

    def append(self, data: bytes | memoryview) -> None:
        """Raises: Unavailable."""
        with _disk_errors():
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
            # Starts to write it out, so that `sync` has little left to wait for.
            os.posix_fadvise(self._file.fileno(), self.size, len(data), os.POSIX_FADV_DONTNEED)
        self._hash.update(data)
        self.size += len(data)

    @property
    def digest(self) -> Digest:
        return Digest(self._hash.digest())

    def sync(self) -> None:
        """Raises: Unavailable."""
        with _disk_errors():
            os.fsync(self._file.fileno())


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
    def open_part(self, uploader: MemberId, digest: Digest) -> Iterator[Part]:
        """The part, locked against a second upload of the same bytes. Raises: Conflict, Unavailable."""
        path = self._part(uploader, digest)
        with _disk_errors(), path.open("a+b", buffering=0) as file:
            # The upload that held the lock until now may have made this very file a blob, or dropped it.
            if not _locked(file.fileno(), path):
                raise in_progress()
            yield Part(file)

    def parts_of(self, uploader: MemberId) -> dict[Digest, int]:
        """The unfinished uploads of a member, and how many bytes are here of each. Raises: Unavailable."""
        mine, found = uploader.partition("/")[2], dict[Digest, int]()
        with _disk_errors(), os.scandir(self._parts) as entries:
            for entry in entries:
                named = _UPLOAD.match(entry.name)
                if named is not None and named["slug"] == mine:
                    with suppress(FileNotFoundError):
                        found[Digest(bytes.fromhex(named["digest"]))] = entry.stat().st_size
        return found

    def expire_parts(self, *, before: float) -> int:
        """Drops what was last written to before this time (seconds since the epoch) and is not in use: unfinished
        uploads, and what a hub that was killed was making. Returns how many. Raises: Unavailable."""
        with _disk_errors(), os.scandir(self._parts) as entries:
            return sum(_dropped(Path(entry), before) for entry in entries)

    def complete(self, part: Part, uploader: MemberId, digest: Digest) -> None:
        """Checks the open part's digest and makes it a blob. Raises: Corrupt, and drops the part."""
        path = self._part(uploader, digest)
        if part.digest != digest:
            with _disk_errors():
                path.unlink()
            raise Corrupt(
                "the uploaded bytes do not have the digest announced",
                reason="DIGEST_MISMATCH",
                remedy="upload again from the start",
            )
        self._publish(part, path, digest)

    @contextmanager
    def make(self) -> Iterator[Making]:
        """A blob that the hub itself makes; what was not finished is dropped."""
        # Another replica may be making the same one.
        path = self._parts / f"hub-{secrets.token_hex(8)}"
        try:
            with _disk_errors(), path.open("w+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield Making(self, Part(file), path)
        finally:
            path.unlink(missing_ok=True)

    def put(self, data: bytes) -> Digest:
        """Stores bytes the hub itself made."""
        digest = Digest(hashlib.sha256(data).digest())
        if not self.path(digest).exists():
            with self.make() as making:
                making.append(data)
                making.finish()
        return digest

    @contextmanager
    def open(self, digest: Digest) -> Iterator[BinaryIO]:
        """The bytes, readable to their end even if the blob is removed meanwhile. Raises: Unavailable."""
        with _disk_errors(), self.path(digest).open("rb") as file:
            yield file

    def read_all(self, digest: Digest) -> bytes:
        with _disk_errors():
            return self.path(digest).read_bytes()

    def path(self, digest: Digest) -> Path:
        return self._blobs / digest.hex()[:2] / digest.hex()

    def rest(self, digest: Digest) -> None:
        """Gives back the memory in which the system keeps a blob that will hardly be read again."""
        with suppress(OSError), self.path(digest).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def remove(self, digest: Digest) -> None:
        """Whoever reads it now reads to its end."""
        with _disk_errors():
            self.path(digest).unlink(missing_ok=True)

    @contextmanager
    def pinned(self) -> Iterator[Pins]:
        """Blobs that stay readable here whatever is removed meanwhile."""
        with tempfile.TemporaryDirectory(dir=self._parts, prefix="hub-") as folder:
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX)
                yield Pins(self, Path(folder))
            finally:
                os.close(held)

    def _part(self, uploader: MemberId, digest: Digest) -> Path:
        return self._parts / f"{uploader.partition('/')[2]}-{digest.hex()}"

    def _publish(self, part: Part, path: Path, digest: Digest) -> None:
        part.sync()
        final = self.path(digest)
        with _disk_errors():
            final.parent.mkdir(exist_ok=True)
            path.rename(final)
            folder = os.open(final.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


class Making:
    """A blob that grows; `finish` makes it one."""

    def __init__(self, files: BlobFiles, part: Part, path: Path) -> None:
        self._files, self._part, self._path = files, part, path

    @property
    def size(self) -> int:
        return self._part.size

    def append(self, data: bytes | memoryview) -> None:
        """Raises: Unavailable."""
        self._part.append(data)

    def finish(self) -> StoredBlob:
        """Equal bytes that are a blob already are not written again. Raises: Unavailable."""
        digest = self._part.digest
        if not self._files.path(digest).exists():
            self._files._publish(self._part, self._path, digest)
        return StoredBlob(digest, self._part.size)


class Pins:
    """Second names of some blobs' files."""

    def __init__(self, files: BlobFiles, folder: Path) -> None:
        self._files, self._folder = files, folder

    def add(self, digest: Digest) -> None:
        """Raises: Unavailable where it is gone already."""
        with _disk_errors():
            (self._folder / digest.hex()).hardlink_to(self._files.path(digest))

    def path(self, digest: Digest) -> Path:
        """Where to read a blob, pinned or not."""
        pinned = self._folder / digest.hex()
        return pinned if pinned.exists() else self._files.path(digest)


def read_chunk(file: BinaryIO, offset: int) -> bytes:
    """At most one chunk from `offset`, which is inside the open blob. Raises: Unavailable, Corrupt."""
    with _disk_errors():
        chunk = os.pread(file.fileno(), CHUNK, offset)
    if not chunk:
        raise Corrupt("the stored blob is shorter than it was", reason="BLOB_CORRUPT", remedy="tell the operator")
    return chunk


def chunk_at_hand(file: BinaryIO, offset: int, room: bytearray) -> memoryview | None:
    """What of a chunk is in memory anyhow, read into `room` without waiting for the disk; None where nothing is."""
    try:
        size = os.preadv(file.fileno(), [room], offset, os.RWF_NOWAIT)
    except OSError:
        # It is on the disk; or the file system, or the system, cannot say.
        return None
    return memoryview(room)[:size] if size else None


def _dropped(path: Path, before: float) -> bool:
    """Whether it was old, in nobody's use, and is no more."""
    try:
        if path.stat().st_mtime >= before:
            return False
        folder = path.is_dir()
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY if folder else os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        if not _locked(held, path) or os.fstat(held).st_mtime >= before:
            return False
        if folder:
            shutil.rmtree(path)
        else:
            path.unlink()
        return True
    finally:
        os.close(held)


def _locked(file: int, path: Path) -> bool:
    """Locks an open file; False where somebody else has it locked, or it is not what the path names any more."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(path.stat(), os.fstat(file))
    except (BlockingIOError, FileNotFoundError):
        return False


def in_progress() -> Conflict:
    return Conflict("this blob is being uploaded by another call", reason="UPLOAD_IN_PROGRESS", remedy="retry later")


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"the hub's disk refuses: {error.strerror}", reason="STORAGE", remedy="tell the operator; retry later"
        ) from error
