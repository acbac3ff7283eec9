"""The real clock, moved: what expires can be tested in no time, and the rest of the hub still runs on it."""

from __future__ import annotations

import datetime as dt


class ShiftedClock:
    """A `hub.runtime.clock.Clock`: real time plus what it was advanced by."""

    def __init__(self) -> None:
        self._shift = dt.timedelta()

    def __call__(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + self._shift

    def advance(self, **duration: float) -> None:
        """`advance(days=31)`; the keywords are those of `timedelta`."""
        self._shift += dt.timedelta(**duration)
