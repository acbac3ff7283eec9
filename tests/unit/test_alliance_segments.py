"""A segment gives back what was packed, and a broken one is refused before anything is believed."""

from __future__ import annotations

from contextlib import suppress

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from alliance import entries, segments
from alliance.canonical import CHAIN_START
from alliance.errors import Corrupt, InvalidInput
from alliance.v1 import fingerprint_pb2 as pb


def batch(seq: int) -> pb.BankEntry:
    header = pb.BatchHeader(
        bank="banks/shoes",
        publisher="members/acme",
        scheme="terms-v1",
        epoch=1,
        row_count=2,
        digest=bytes([seq % 256]) * 32,
        size=3,
        create_time=Timestamp(seconds=seq, nanos=5000),
        signature=b"signature",
    )
    return pb.BankEntry(seq=seq, batch=header)


def tombstone(seq: int) -> pb.BankEntry:
    gone = pb.Tombstone(bank="banks/shoes", publisher="members/acme", batch_digest=bytes(32), rows=[1, 5])
    return pb.BankEntry(seq=seq, tombstone=gone)


SEALED = st.lists(st.binary(max_size=50), max_size=6)
PACKED = segments.pack([(batch(1), b"sealed"), (tombstone(2), b"")])


@given(SEALED)
def test_what_was_packed_comes_back(sealed: list[bytes]) -> None:
    pairs = [(batch(n) if data else tombstone(n), data) for n, data in enumerate(sealed, 1)]
    assert list(segments.unpack(segments.pack(pairs))) == pairs


@pytest.mark.parametrize("size", range(len(PACKED)))
def test_a_segment_cut_anywhere_is_malformed_or_shorter(size: int) -> None:
    whole = list(segments.unpack(PACKED))
    with suppress(Corrupt):
        found = list(segments.unpack(PACKED[:size]))
        assert found == whole[: len(found)]
        assert len(found) < 2


@given(st.binary(max_size=80))
@settings(max_examples=300)
def test_bytes_that_are_no_segment_never_fail_inside(data: bytes) -> None:
    for text in (data, segments.MAGIC + data):
        with suppress(Corrupt):  # anything else would be raised
            list(segments.unpack(text))


def test_a_chain_binds_every_entry_to_its_place() -> None:
    first = entries.chain(CHAIN_START, batch(1))
    assert first == entries.chain(CHAIN_START, batch(1))
    others = {
        entries.chain(CHAIN_START, batch(2)),
        entries.chain(first, batch(1)),
        entries.chain(CHAIN_START, tombstone(1)),
        entries.chain(CHAIN_START, changed("signature", b"other")),
        entries.chain(CHAIN_START, changed("row_count", 3)),
        entries.chain(CHAIN_START, changed("bank", "banks/bags")),
    }
    assert len(others | {first}) == 7


def changed(field: str, value: object) -> pb.BankEntry:
    entry = batch(1)
    setattr(entry.batch, field, value)
    return entry


def test_an_entry_of_no_kind_has_no_place() -> None:
    with pytest.raises(Corrupt) as caught:
        entries.chain(CHAIN_START, pb.BankEntry(seq=1))
    assert caught.value.reason == "ENTRY_MALFORMED"


@pytest.mark.parametrize("moment", [(-1, 0), (2**62, 0), (253_402_300_800, 0), (0, -1), (0, 10**9)])
def test_a_time_outside_the_calendar_is_refused(moment: tuple[int, int]) -> None:
    entry = batch(1)
    entry.batch.create_time.seconds, entry.batch.create_time.nanos = moment
    with pytest.raises(InvalidInput) as caught:
        entries.batch_bytes(entry.batch)
    assert caught.value.reason == "TIME_INVALID"


def test_times_are_signed_in_microseconds() -> None:
    entry = batch(1)
    entry.batch.create_time.nanos = 5999
    assert entries.batch_bytes(entry.batch) == entries.batch_bytes(batch(1).batch)
