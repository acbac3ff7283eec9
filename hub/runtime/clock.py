"""Time as an argument: services are handed a `Clock`, stores keep microseconds since the epoch, UTC."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from google.protobuf.timestamp_pb2 import Timestamp

Clock = Callable[[], dt.datetime]


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def micros(moment: dt.datetime) -> int:
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def from_micros(value: int) -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=value)


def timestamp(value: int) -> Timestamp:
    """Microseconds to the wire form."""
    return Timestamp(seconds=value // 1_000_000, nanos=value % 1_000_000 * 1000)


def timestamp_micros(value: Timestamp) -> int:
    return value.seconds * 1_000_000 + value.nanos // 1000
