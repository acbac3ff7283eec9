"""Who may upload and download which bytes; the bytes themselves are `files.BlobFiles`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection

from alliance.errors import FailedPrecondition, LimitExceeded, NotFound
from alliance.names import Digest, GroupId, MemberId
from alliance.segments import MAX_BATCH_BYTES
from hub.blobs import store
from hub.blobs.files import BlobFiles
from hub.blobs.model import StoredBlob
from hub.blobs.pending import Pending
from hub.membership.service import MembershipService
from hub.runtime.clock import Clock, micros
from hub.runtime.db import after_commit


def is_known(tx: Connection, digest: Digest) -> bool:
    return store.find(tx, digest) is not None


def removable(tx: Connection) -> list[Digest]:
    """What may be discarded while others read the database as of this moment."""
    return store.without_readers(tx)


class BlobService:
    """`pending` is the most a member may have uploaded that serves nothing yet, in bytes, and how long it is kept."""

    def __init__(
        self, files: BlobFiles, *, membership: MembershipService, clock: Clock, pending: tuple[int, dt.timedelta]
    ) -> None:
        self.files = files
        self.pending, self._kept = Pending(pending[0]), pending[1]
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
        if found is None or not store.is_uploader(tx, digest, uploader):
            return None
        # An upload of what was just discarded may have lost its file to the removal; then it is sent again.
        return found if self.files.path(digest).exists() else None

    def held(self, tx: Connection, uploader: MemberId) -> dict[Digest, int]:
        """Sizes of what a member has here that serves nothing yet. Raises: Unavailable."""
        return self.files.parts_of(uploader) | dict(store.pending(tx, uploader))

    def expire(self, tx: Connection, *, in_use: Callable[[Connection, Digest], bool]) -> None:
        """Forgets uploads that were never published. `in_use`: whether other than readers need the bytes."""
        for digest, uploader in store.abandoned(tx, before=micros(self._clock() - self._kept)):
            self.discard(tx, uploader, digest, in_use=partial(in_use, tx, digest))

    def expire_parts(self) -> None:
        """Forgets uploads that were never finished. Raises: Unavailable."""
        self.files.expire_parts(before=(self._clock() - self._kept).timestamp())

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

    def discard(self, tx: Connection, uploader: MemberId, digest: Digest, *, in_use: Callable[[], bool]) -> None:
        """Forgets an upload that has served its purpose, and drops its bytes.

        Args:
            in_use: whether it is needed yet; asked when nobody can claim it any more (`require_uploaded`).
        """
        store.hold_uploader(tx, digest, uploader)
        if in_use():
            return
        store.remove_uploader(tx, digest, uploader)
        self.drop(tx, digest)

    def drop(self, tx: Connection, digest: Digest) -> None:
        """Removes a blob that the hub has no more use for, if nobody has uploaded it and nobody may read it."""
        if store.remove_unused(tx, digest):
            after_commit(tx, partial(self.files.remove, digest))

    def publish(self, tx: Connection, digest: Digest, group: GroupId) -> None:
        """Lets the members of a group download it."""
        store.grant(tx, digest, group)

    def put(self, tx: Connection, data: bytes, group: GroupId) -> Digest:
        """Stores and publishes bytes the hub made: a segment, a model."""
        blob = StoredBlob(self.files.put(data), len(data))
        self.adopt(tx, blob)
        store.grant(tx, blob.digest, group)
        return blob.digest

    def adopt(self, tx: Connection, blob: StoredBlob) -> None:
        """Records what the hub made (`BlobFiles.make`); nobody may download it yet."""
        if store.find(tx, blob.digest) is None:
            store.add(tx, blob, now=micros(self._clock()))

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
