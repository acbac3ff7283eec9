"""One writer of the catalogue at a time. The lock is the kernel's: a process that is killed gives it up."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alliance.errors import Conflict


@contextmanager
def writing(home: Path) -> Iterator[None]:
    """Holds `catalog.lock`. Raises: Conflict (CATALOG_BUSY) while another process does."""
    handle = os.open(home / "catalog.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise Conflict(
                f"another import is running (process {holder})",
                reason="CATALOG_BUSY",
                remedy="wait until it ends",
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)
