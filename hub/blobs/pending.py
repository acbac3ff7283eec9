"""How much a member may have at the hub that serves nothing yet: unfinished uploads, and those it has not published.

Counted are the files that are there, and the sizes that open uploads have announced; of these, every hub process knows
its own.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from alliance.errors import LimitExceeded
from alliance.names import Digest, MemberId
from hub.blobs.files import in_progress

# A file takes room of its own, however small it is.
LEAST = 1 << 20


class Pending:
    """`most` bytes per member; 0 is no limit. From any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[MemberId, dict[Digest, int]] = defaultdict(dict)
        self._lock = threading.Lock()

    @contextmanager
    def reserved(self, uploader: MemberId, digest: Digest, size: int, *, held: Mapping[Digest, int]) -> Iterator[None]:
        """Room for an upload of `size` bytes beside those `held` by the member.

        Raises: LimitExceeded; Conflict where the same is being uploaded here.
        """
        with self._lock:
            mine = self._open[uploader]
            if digest in mine:
                raise in_progress()
            wanted = {**held, **mine, digest: size}
            if self._most and sum(max(one, LEAST) for one in wanted.values()) > self._most:
                raise LimitExceeded(
                    f"{uploader} would have more than {self._most >> 20} MiB at the hub that it has not published",
                    reason="UPLOADS_PENDING",
                    remedy="publish what is uploaded, or wait until the hub forgets it; see limits.pending_megabytes",
                )
            mine[digest] = size
        try:
            yield
        finally:
            with self._lock:
                del mine[digest]
                if not mine:
                    del self._open[uploader]
