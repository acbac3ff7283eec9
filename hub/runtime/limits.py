"""How much one caller may ask of the hub, so that none takes it away from the others: token buckets by caller.

Calls beyond the rate are refused with the time to wait (RESOURCE_EXHAUSTED, RetryInfo), some by a rate of their RPC's
own besides (`access.Rule.rate`); so are streams beyond the number that may be open at once. Bytes are not refused but
slowed down: the stream waits, and flow control makes its other end wait. A member's agents share its bucket; on the
enrolment listener, where nobody is known, callers are counted by network address. Every hub process counts for itself.
A rate of 0 is no limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from alliance.errors import LimitExceeded

# What a bucket holds, in seconds of its rate: a burst after a quiet time is no abuse.
BURST_SECONDS = 10.0
# Beyond so many, buckets that are full again are forgotten.
MAX_BUCKETS = 10_000
STREAM_RETRY_SECONDS = 5.0
# Streams that are being slowed down owe a little all the time; calls need not wait for that.
TOLERATED_DEBT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Per caller; `enrolment_calls` per network address. Each per second, but `streams`, which are open at once."""

    calls: float
    enrolment_calls: float
    streams: int
    bytes: float


class Buckets:
    """One bucket per name; each fills at `rate` and starts full. From any thread."""

    def __init__(self, rate: float, *, now: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._now = rate, now
        self._full = rate * BURST_SECONDS
        # Tokens as of a moment; below zero is a debt.
        self._held: dict[str, tuple[float, float]] = {}
        self._swept = 0
        self._lock = threading.Lock()

    def wait(self, name: str, amount: float) -> float:
        """Seconds until `amount` is there; takes nothing."""
        if not self._rate:
            return 0.0
        with self._lock:
            return self._missing(name, amount)

    def take(self, name: str, amount: float) -> float:
        """Takes it, into debt if need be; gives the seconds until the debt is paid."""
        if not self._rate:
            return 0.0
        with self._lock:
            now = self._now()
            left = self._tokens(name, now) - amount
            self._held[name] = (left, now)
            # Where many are in use at once, each sweep waits until there are twice as many as the last one left.
            if len(self._held) > max(MAX_BUCKETS, 2 * self._swept):
                self._held = {n: held for n, held in self._held.items() if self._tokens(n, now) < self._full}
                self._swept = len(self._held)
            return max(0.0, -left / self._rate)

    def _missing(self, name: str, amount: float) -> float:
        return max(0.0, (amount - self._tokens(name, self._now())) / self._rate)

    def _tokens(self, name: str, now: float) -> float:
        tokens, at = self._held.get(name, (self._full, now))
        return min(self._full, tokens + (now - at) * self._rate)


class Limits:
    """All limits of one hub process; `of_methods` are the rates that RPCs have of their own."""

    def __init__(
        self, rates: Rates, of_methods: Mapping[str, float], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._of_methods = {method: Buckets(rate, now=now) for method, rate in of_methods.items() if rate}
        self._calls = Buckets(rates.calls, now=now)
        self._enrolment = Buckets(rates.enrolment_calls, now=now)
        self._bytes = Buckets(rates.bytes, now=now)
        self._most_streams = rates.streams
        self._streams: Counter[str] = Counter()
        self._lock = threading.Lock()

    def require_call(self, name: str) -> None:
        """Before the caller is known to be who it says: asks, and takes nothing. Raises: LimitExceeded."""
        _require(max(self._calls.wait(name, 1.0), self._bytes.wait(name, 0.0) - TOLERATED_DEBT_SECONDS))

    def call(self, name: str, method: str) -> None:
        """One call of a caller that was let in. Raises: LimitExceeded, by the method's own rate."""
        self._calls.take(name, 1.0)
        own = self._of_methods.get(method)
        if own is not None:
            _require(own.wait(name, 1.0))
            own.take(name, 1.0)

    def moved(self, name: str, size: int) -> None:
        """Bytes of a call that is over: what is too much makes the next calls wait."""
        self._bytes.take(name, size)

    def enrolment_call(self, address: str) -> None:
        """One call from gRPC's "ipv4:192.0.2.1:50000". Raises: LimitExceeded."""
        network = _network(address)
        _require(self._enrolment.wait(network, 1.0))
        self._enrolment.take(network, 1.0)

    @contextlib.contextmanager
    def stream(self, name: str) -> Iterator[None]:
        """An open stream. Raises: LimitExceeded where there are too many of this caller."""
        with self._lock:
            if self._most_streams and self._streams[name] >= self._most_streams:
                raise LimitExceeded(
                    f"{name} has {self._most_streams} streams open",
                    reason="TOO_MANY_STREAMS",
                    remedy="end some, or retry later",
                    retry_seconds=STREAM_RETRY_SECONDS,
                )
            self._streams[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._streams[name] -= 1
                if not self._streams[name]:
                    del self._streams[name]

    async def slow_down(self, name: str, size: int) -> None:
        """Makes a stream wait that just moved so many bytes."""
        seconds = self._bytes.take(name, size)
        if seconds:
            await asyncio.sleep(seconds)


def _require(seconds: float) -> None:
    if seconds > 0:
        raise LimitExceeded(
            "too many calls at once",
            reason="RATE_LIMITED",
            remedy=f"retry after {seconds:.2f} s",
            retry_seconds=seconds,
        )


def _network(address: str) -> str:
    """Whose address it is: an IPv4 address, or the 64 bits of an IPv6 address that one line has."""
    host = address.partition(":")[2].rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return str(found if found.version == 4 else ipaddress.ip_network((found, 64), strict=False))
