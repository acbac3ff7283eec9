"""Locks between processes of one agent: a file that the kernel frees when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from alliance.errors import FailedPrecondition, Unavailable


class FileLock:
    """Waits for its turn; use as a context manager.

    Args:
        wait: seconds to wait; 0 refuses at once.

    Raises: Unavailable after waiting, FailedPrecondition at once for `wait=0`.
    """

    def __init__(self, path: Path, *, wait: float = 300.0) -> None:
        self._path, self._wait = path, wait

    def __enter__(self) -> FileLock:
        self._file = self._path.open("a+")
        ends = time.monotonic() + self._wait
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= ends:
                    raise self._held() from error
                time.sleep(0.05)
        self._file.seek(0)
        self._file.truncate()
        self._file.write(str(os.getpid()))
        self._file.flush()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _held(self) -> FailedPrecondition | Unavailable:
        self._file.seek(0)
        holder = self._file.read().strip() or "another process"
        self._file.close()
        if self._wait:
            return Unavailable(
                f"process {holder} holds {self._path.name}", reason="LOCK_TIMEOUT", remedy="try again when it is done"
            )
        return FailedPrecondition(
            f"process {holder} holds {self._path.name}", reason="ALREADY_RUNNING", remedy="stop it first"
        )


def holder(path: Path) -> int | None:
    """The process that holds the lock now, if one does."""
    try:
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                text = file.read().strip()
                return int(text) if text.isdecimal() else None
    except OSError:
        pass
    return None
