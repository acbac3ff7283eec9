"""Segments are the bank itself, packed: the same entries, the same bytes, each once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from alliance import segments
from alliance.errors import NotFound
from alliance.v1 import fingerprint_pb2 as pb
from hub.fingerprints import store
from hub.fingerprints.compactor import Compactor
from hub.runtime.db import RaceLost
from tests.kit.direct import Shoes, entries, read


def unpacked(shoes: Shoes) -> list[tuple[int, int, list[tuple[pb.BankEntry, bytes]]]]:
    found = read(shoes.services, lambda tx: store.segments(tx, shoes.bank, after_seq=0, limit=100))
    data = [shoes.services.blobs.files.read_all(segment.digest) for segment in found]
    return [(s.first_seq, s.last_seq, list(segments.unpack(d))) for s, d in zip(found, data, strict=True)]


def test_segments_hold_the_very_entries_and_bytes(shoes: Shoes) -> None:
    sealed = [shoes.acme.publish(shoes.bank, bytes([n]) * 100, rows=2) for n in range(4)]
    shoes.acme.withdraw(sealed[1], [0])
    compactor = Compactor(shoes.services.blobs, shoes.services.db, entries=2, bytes_=1 << 20)
    compactor.run()
    compactor.run()  # nothing new, nothing done
    found = unpacked(shoes)
    assert [(first, last) for first, last, _ in found] == [(1, 2), (3, 4)]
    packed = [pair for _, _, pairs in found for pair in pairs]
    assert [entry for entry, _ in packed] == entries(shoes.services, shoes.bank)[:4]
    assert [data for _, data in packed] == [s.data for s in sealed]


def test_a_tombstone_is_packed_without_bytes(shoes: Shoes) -> None:
    sealed = shoes.acme.publish(shoes.bank, rows=2)
    shoes.acme.withdraw(sealed, [0])
    Compactor(shoes.services.blobs, shoes.services.db, entries=2, bytes_=1 << 20).run()
    [(_, _, [(_, data), (tombstone, nothing)])] = unpacked(shoes)
    assert (data, nothing) == (sealed.data, b"")
    assert list(tombstone.tombstone.rows) == [0]


def test_a_segment_is_full_by_bytes_too(shoes: Shoes) -> None:
    for n in range(3):
        shoes.acme.publish(shoes.bank, bytes([n]) * 1000)
    Compactor(shoes.services.blobs, shoes.services.db, entries=100, bytes_=1500).run()
    assert [(first, last) for first, last, _ in unpacked(shoes)] == [(1, 2)]


def test_members_of_the_group_may_fetch_a_segment_and_nobody_else(shoes: Shoes) -> None:
    shoes.acme.publish(shoes.bank)
    Compactor(shoes.services.blobs, shoes.services.db, entries=1, bytes_=1).run()
    [segment] = read(shoes.services, lambda tx: store.segments(tx, shoes.bank, after_seq=0, limit=9))
    found = read(shoes.services, lambda tx: shoes.services.blobs.readable(tx, shoes.zoo.name, segment.digest))
    assert found.size == segment.size
    with pytest.raises(NotFound):
        read(shoes.services, lambda tx: shoes.services.blobs.readable(tx, shoes.outsider.name, segment.digest))


def test_two_compactors_at_once_pack_each_entry_once(shoes: Shoes) -> None:
    for n in range(8):
        shoes.acme.publish(shoes.bank, bytes([n]))

    def run() -> None:
        Compactor(shoes.services.blobs, shoes.services.db, entries=2, bytes_=1 << 20).run()

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(run) for _ in range(3)]:
            with suppress(RaceLost):  # the hub's runner logs it, and the next pass goes on
                future.result()
    run()
    assert [(first, last) for first, last, _ in unpacked(shoes)] == [(1, 2), (3, 4), (5, 6), (7, 8)]
