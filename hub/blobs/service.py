"""Who may upload and download which bytes; the bytes themselves are `files.BlobFiles`."""

from __future__ import annotations

from sqlalchemy import Connection

from alliance.errors import FailedPrecondition, LimitExceeded, NotFound
from alliance.names import Digest, GroupId, MemberId
from alliance.segments import MAX_BATCH_BYTES
from hub.blobs import store
from hub.blobs.files import BlobFiles
from hub.blobs.store import StoredBlob
from hub.membership.service import MembershipService
from hub.runtime.clock import Clock, micros


class BlobService:
    def __init__(self, files: BlobFiles, *, membership: MembershipService, clock: Clock) -> None:
        self.files = files
        self._membership = membership
        self._clock = clock

    def check_size(self, size: int) -> None:
        """Raises: LimitExceeded."""
        if not 0 < size <= MAX_BATCH_BYTES:
            raise LimitExceeded(
                f"a blob has 1 to {MAX_BATCH_BYTES} bytes",
                reason="BLOB_TOO_LARGE",
                field="size",
                remedy="publish in smaller batches",
            )

    def uploaded(self, tx: Connection, uploader: MemberId, digest: Digest) -> StoredBlob | None:
        """The caller's own complete blob, if it is one."""
        found = store.find(tx, digest)
        return found if found is not None and store.is_uploader(tx, digest, uploader) else None

    def register(self, tx: Connection, uploader: MemberId, digest: Digest, size: int) -> None:
        """Records a complete blob of this uploader; a second registration changes nothing."""
        if store.find(tx, digest) is None:
            store.add(tx, StoredBlob(digest, size), now=micros(self._clock()))
        store.add_uploader(tx, digest, uploader)

    def require_uploaded(self, tx: Connection, uploader: MemberId, digest: Digest, size: int) -> None:
        """Raises: FailedPrecondition unless the caller uploaded exactly this."""
        found = self.uploaded(tx, uploader, digest)
        if found is None or found.size != size:
            raise FailedPrecondition(
                "the batch's sealed bytes are not at the hub", reason="BLOB_MISSING", remedy="upload them first"
            )

    def publish(self, tx: Connection, digest: Digest, group: GroupId) -> None:
        """Lets the members of a group download it."""
        store.grant(tx, digest, group)

    def put(self, tx: Connection, data: bytes, group: GroupId) -> Digest:
        """Stores and publishes bytes the hub made: a segment, a model."""
        digest = self.keep(tx, data)
        store.grant(tx, digest, group)
        return digest

    def keep(self, tx: Connection, data: bytes) -> Digest:
        """Stores bytes the hub made for itself; nobody may download them."""
        digest = self.files.put(data)
        if store.find(tx, digest) is None:
            store.add(tx, StoredBlob(digest, len(data)), now=micros(self._clock()))
        return digest

    def size(self, tx: Connection, digest: Digest) -> int:
        """Bytes of a blob, 0 for one that is not here."""
        found = store.find(tx, digest)
        return found.size if found is not None else 0

    def readable(self, tx: Connection, reader: MemberId, digest: Digest) -> StoredBlob:
        """Raises: NotFound, also for a blob the reader may not know of."""
        found = store.find(tx, digest)
        groups = store.readers(tx, digest)
        if found is None or not any(self._membership.is_in_group(tx, group, reader) for group in groups):
            raise NotFound("no such blob", reason="BLOB_NOT_FOUND", field="digest")
        return found
