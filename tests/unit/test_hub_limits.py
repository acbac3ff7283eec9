"""Token buckets: a burst passes, then the rate; waiting helps as long as is said; nobody pays for another."""

from __future__ import annotations

import asyncio
import math

import pytest

from alliance.errors import LimitExceeded
from hub.runtime import limits as module
from hub.runtime.limits import BURST_SECONDS, TOLERATED_DEBT_SECONDS, Buckets, Limits, Rates


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def made(time: Time, **rates: float) -> Limits:
    chosen = {"calls": 0.0, "enrolment_calls": 0.0, "bytes": 0.0} | rates
    streams = int(chosen.pop("streams", 0))
    return Limits(Rates(streams=streams, **chosen), {"rare": 0.1}, now=time)


def calls_until_refused(limits: Limits, name: str) -> tuple[int, LimitExceeded]:
    for count in range(10_000):
        try:
            limits.require_call(name)
        except LimitExceeded as error:
            return count, error
        limits.call(name, "")
    raise AssertionError("never refused")


def test_a_burst_passes_and_then_the_rate(time: Time) -> None:
    limits = made(time, calls=5.0)
    count, error = calls_until_refused(limits, "members/acme")
    assert (count, error.reason) == (5 * BURST_SECONDS, "RATE_LIMITED")
    assert math.isclose(error.retry_seconds, 0.2)
    time.now += error.retry_seconds + 1e-9
    assert calls_until_refused(limits, "members/acme")[0] == 1
    time.now += 2.0
    assert calls_until_refused(limits, "members/acme")[0] in (9, 10)
    time.now += 1e6
    assert calls_until_refused(limits, "members/acme")[0] == 5 * BURST_SECONDS


def test_nobody_pays_for_another_nor_for_what_was_not_let_in(time: Time) -> None:
    limits = made(time, calls=1.0)
    calls_until_refused(limits, "members/greedy")
    for _ in range(1000):
        limits.require_call("members/acme")  # a revoked agent that knocks in its name
    assert calls_until_refused(limits, "members/acme")[0] == BURST_SECONDS


def test_a_method_may_have_a_rate_of_its_own(time: Time) -> None:
    limits = made(time)
    limits.call("members/acme", "rare")
    with pytest.raises(LimitExceeded) as caught:
        limits.call("members/acme", "rare")
    assert math.isclose(caught.value.retry_seconds, 10.0)
    limits.call("members/acme", "often")
    limits.call("members/zoo", "rare")
    time.now += 10.0 + 1e-9
    limits.call("members/acme", "rare")


def test_no_rate_is_no_limit(time: Time) -> None:
    limits = made(time)
    for _ in range(1000):
        limits.require_call("members/acme")
        limits.call("members/acme", "")
        limits.enrolment_call("ipv4:192.0.2.1:5000")
        limits.moved("members/acme", 10**12)
    with limits.stream("members/acme"), limits.stream("members/acme"):
        pass


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("ipv4:192.0.2.1:50000", "ipv4:192.0.2.1:50001", True),
        ("ipv4:192.0.2.1:50000", "ipv4:192.0.2.2:50000", False),
        ("ipv6:%5B2001:db8::1%5D:50000", "ipv6:%5B2001:db8::ffff%5D:50001", True),
        ("ipv6:[2001:db8::1]:50000", "ipv6:[2001:db8:0:1::1]:50000", False),
        ("ipv6:%5Bfe80::1%25eth0%5D:1", "ipv6:%5Bfe80::1%25eth0%5D:2", True),
        ("unix:", "unix:", True),
    ],
)
def test_the_unknown_are_counted_by_network(first: str, second: str, same: bool, time: Time) -> None:
    limits = made(time, enrolment_calls=1.0)
    for _ in range(int(BURST_SECONDS)):
        limits.enrolment_call(first)
    if not same:
        limits.enrolment_call(second)
        return
    with pytest.raises(LimitExceeded):
        limits.enrolment_call(second)


def test_so_many_streams_at_once(time: Time) -> None:
    limits = made(time, streams=2)
    with limits.stream("members/acme"):
        with limits.stream("members/acme"), limits.stream("members/zoo"):
            with pytest.raises(LimitExceeded) as caught, limits.stream("members/acme"):
                pass
            assert (caught.value.reason, caught.value.retry_seconds > 0) == ("TOO_MANY_STREAMS", True)
        with limits.stream("members/acme"):
            pass


def test_bytes_slow_a_stream_down_and_make_calls_wait(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        time.now += seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)
    limits = made(time, bytes=1000.0)
    for _ in range(30):
        asyncio.run(limits.slow_down("members/acme", 1000))
    assert len(waited) == 30 - BURST_SECONDS
    assert math.isclose(sum(waited), 30 - BURST_SECONDS)
    limits.require_call("members/acme")
    limits.moved("members/acme", 5000)
    with pytest.raises(LimitExceeded) as caught:
        limits.require_call("members/acme")
    assert math.isclose(caught.value.retry_seconds, 5.0 - TOLERATED_DEBT_SECONDS)
    limits.require_call("members/zoo")


def test_buckets_that_are_full_again_are_forgotten(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BUCKETS", 100)
    buckets = Buckets(1.0, now=time)
    for n in range(1000):
        time.now += 1.0
        buckets.take(f"address-{n}", 1.0)
    assert len(buckets._held) <= 101
    assert buckets.wait("address-999", BURST_SECONDS) == 1.0


def test_many_callers_at_once_cost_no_more_each_than_few(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets that are in use cannot be forgotten: looking through all of them at every call would be quadratic."""
    monkeypatch.setattr(module, "MAX_BUCKETS", 100)
    looks = 0

    class Counted(Buckets):
        def _tokens(self, name: str, now: float) -> float:
            nonlocal looks
            looks += 1
            return super()._tokens(name, now)

    buckets = Counted(1.0, now=time)
    for n in range(2000):
        buckets.take(f"address-{n}", 1.0)
    assert looks < 4 * 2000
