"""Large bytes to and from the hub: resumed where they broke off, checked by digest."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import time
from collections.abc import Callable
from pathlib import Path

from alliance.errors import Corrupt, LimitExceeded
from alliance.names import Digest
from alliance.v1 import blob_pb2 as pb
from member_agent.egress import PermittedBlob
from member_agent.hub_client import HubClient

# Seconds: what a killed agent has to fetch again at most.
SAVED_EVERY = 1.0
# Bytes: as many as a model may have, more than any segment.
MOST = 2 << 30


def upload(hub: HubClient, blob: PermittedBlob, *, progress: Callable[[int], None] = lambda bytes_: None) -> None:
    """Makes the hub hold it; asks first how much it has. Raises: AllianceError."""
    state = hub.call(pb.GetUploadRequest(digest=blob.digest), pb.GetUploadResponse)
    if not state.complete:
        hub.upload(blob, offset=state.committed_size, progress=progress)


def download(hub: HubClient, digest: Digest, parts: Path) -> bytes:
    """The blob, from where an earlier download broke off; what is kept is under `parts` until complete.

    Raises: Corrupt for bytes of another digest (the part is dropped), AllianceError.
    """
    return bytes(_receive(hub, digest, parts, _memory))


class Latest:
    """The latest large blob that was asked for, kept: the model a round ends with is the one the next starts from."""

    def __init__(self, parts: Path) -> None:
        self._parts = parts
        self._digest = b""
        self._data = memoryview(b"")

    def get(self, hub: HubClient, digest: Digest) -> memoryview:
        """Downloaded as by `download`, unless it is the one that is here; good until the next call."""
        if digest != self._digest:
            self._digest = b""
            self._data = _receive(hub, digest, self._parts, self._room)
            self._digest = digest
        return self._data.toreadonly()

    def _room(self, size: int) -> memoryview:
        """The memory that is there, if it is as large: fresh memory costs as much time as the bytes' digest."""
        return self._data if len(self._data) == size else _memory(size)


def _memory(size: int) -> memoryview:
    """None of it is taken before bytes are there, whatever size the hub says; large pages, where the system has any.

    Raises: LimitExceeded.
    """
    try:
        made = mmap.mmap(-1, max(size, 1))
    except OSError as error:
        raise LimitExceeded(
            f"the hub has {size} bytes to send, more memory than the agent may have",
            reason="MEMORY_LIMIT",
            field="limits.memory_mb",
            remedy="raise it in agent.toml",
        ) from error
    with contextlib.suppress(OSError, AttributeError):
        made.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(made)[:size]


def _receive(hub: HubClient, digest: Digest, parts: Path, room: Callable[[int], memoryview]) -> memoryview:
    """All bytes, in the memory that `room` gives for so many."""
    path = parts / digest.hex()
    kept = path.read_bytes() if path.exists() else b""
    whole = False
    with contextlib.closing(hub.download(pb.DownloadBlobRequest(digest=digest, offset=len(kept)))) as answers:
        first = next(answers, None)
        size = 0 if first is None or isinstance(first, memoryview) else first.size
        if not len(kept) <= size <= MOST:
            raise _dropped(path)
        part = _Part(path, kept, room(size))
        try:
            for answer in answers:
                chunk = answer if isinstance(answer, memoryview) else answer.chunk
                # More than was said, or nothing at all, could go on for ever.
                if not 0 < len(chunk) <= part.room:
                    break
                part.append(chunk)
            else:
                whole = part.digest() == digest
        except BaseException:
            part.save()
            raise
    if not whole:
        raise _dropped(path)
    path.unlink(missing_ok=True)
    return part.data


class _Part:
    """What came of a blob so far: in memory, and once it takes longer than `SAVED_EVERY` on disk."""

    def __init__(self, path: Path, kept: bytes, data: memoryview) -> None:
        self._path, self.data = path, data
        self._hash, self._at = hashlib.sha256(), 0
        self._saved, self._time = len(kept), time.monotonic()
        self.append(kept)

    @property
    def room(self) -> int:
        """Bytes that are still to come."""
        return len(self.data) - self._at

    def append(self, chunk: bytes | memoryview) -> None:
        self._hash.update(chunk)
        self.data[self._at : self._at + len(chunk)] = chunk
        self._at += len(chunk)
        if time.monotonic() - self._time > SAVED_EVERY:
            self.save()

    def digest(self) -> bytes:
        return self._hash.digest()

    def save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(self.data[self._saved : self._at])
        self._saved, self._time = self._at, time.monotonic()


def _dropped(part: Path) -> Corrupt:
    """Forgets what came."""
    part.unlink(missing_ok=True)
    return Corrupt(
        "the hub sent bytes of another digest",
        reason="DIGEST_MISMATCH",
        remedy="sync again; if it stays, tell the operator",
    )
