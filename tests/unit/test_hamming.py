"""The exact Hamming search against counting every pair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alliance.errors import Corrupt, InvalidInput, NotFound
from member_agent.matching import hamming
from member_agent.matching.hamming import HammingIndex, Hits, Values

LARGE = hamming.SCAN_UP_TO + 2000


def near_copies(values: Values, flips: int, *, seed: int) -> Values:
    """Each value with so many different bits flipped."""
    bits = np.unpackbits(values, axis=1)
    random = np.random.default_rng(seed)
    for row in bits:
        row[random.choice(hamming.BYTES * 8, flips, replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def some_values(rows: int, *, seed: int = 1) -> Values:
    """Random values, the last quarter of them near copies of the first."""
    values = np.random.default_rng(seed).integers(0, 256, (rows, hamming.BYTES), dtype=np.uint8)
    quarter = rows // 4
    values[rows - quarter :] = near_copies(values[:quarter], 20, seed=seed)
    return values


def by_counting(values: Values, queries: Values, radius: int) -> list[tuple[int, int, int]]:
    found = []
    for query, value in enumerate(queries):
        distances = np.unpackbits(values ^ value, axis=1).sum(axis=1)
        found += [(query, int(distances[row]), int(row)) for row in np.flatnonzero(distances <= radius)]
    return sorted(found)


def listed(hits: Hits) -> list[tuple[int, int, int]]:
    return list(zip(hits.query_row.tolist(), hits.distance.tolist(), hits.index_row.tolist(), strict=True))


@pytest.mark.parametrize("rows", [0, 1, 300, LARGE])
@pytest.mark.parametrize("radius", [0, 12, 31])
def test_finds_what_counting_finds_in_its_order(rows: int, radius: int) -> None:
    values = some_values(rows)
    queries = np.concatenate(
        [near_copies(values[:40], flips, seed=flips) for flips in (0, 11, 12, 13, 30)] + [some_values(20, seed=9)]
    )
    hits = HammingIndex(values).search(queries, radius=radius)
    assert listed(hits) == by_counting(values, queries, radius)
    assert len(hits) >= min(rows, 40)


def test_tables_miss_nothing_where_differences_are_spread_worst() -> None:
    value = np.zeros((1, hamming.BYTES), np.uint8)
    order = hamming._BIT_ORDER.reshape(16, 16)
    queries = []
    for lone in range(16):  # two bits in each chunk but one, which has one: 31 in all, and 32 is too far
        for last in (1, 2):
            bits = np.zeros(256, np.uint8)
            for chunk in range(16):
                bits[order[chunk, : last if chunk == lone else 2]] = 1
            queries.append(np.packbits(bits))
    values = np.concatenate([value, some_values(LARGE)])
    hits = HammingIndex(values).search(np.array(queries))
    assert listed(hits) == [(query, 31, 0) for query in range(0, 32, 2)]


def test_every_bit_belongs_to_one_chunk() -> None:
    assert sorted(hamming._BIT_ORDER) == list(range(256))


def test_a_flood_of_equal_values_is_found_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    values = some_values(LARGE)
    values[500:2500] = values[0]
    queries = near_copies(values[:80], 5, seed=3)
    expected = by_counting(values, queries, 31)
    assert len(expected) > 2000
    assert listed(HammingIndex(values).search(queries)) == expected
    monkeypatch.setattr(hamming, "_CROWDED", 10_000)  # as if the flood were of millions
    assert listed(HammingIndex(values).search(queries)) == expected
    monkeypatch.setattr(hamming, "_PAIRS_PER_STEP", 1_000)
    assert listed(HammingIndex(values).search(queries)) == expected


@pytest.mark.parametrize("rows", [300, LARGE])
def test_rows_that_are_not_alive_are_not_found(rows: int) -> None:
    values = some_values(rows)
    alive = np.arange(rows) % 2 == 0
    index = HammingIndex(values, alive)
    expected = [hit for hit in by_counting(values, values[:50], 31) if alive[hit[2]]]
    assert listed(index.search(values[:50])) == expected
    assert len(index.with_alive(~alive).search(values[:50])) + len(expected) == len(
        by_counting(values, values[:50], 31)
    )


@pytest.mark.parametrize("radius", [-1, 32])
def test_a_radius_that_would_not_be_exact_is_refused(radius: int) -> None:
    with pytest.raises(InvalidInput, match="cannot be searched exactly"):
        HammingIndex(some_values(10)).search(some_values(1), radius=radius)


def test_no_queries_no_hits() -> None:
    assert len(HammingIndex(some_values(LARGE)).search(np.empty((0, hamming.BYTES), np.uint8))) == 0


@pytest.mark.parametrize("rows", [0, 300, LARGE])
def test_a_saved_index_is_mapped_and_the_same(tmp_path: Path, rows: int) -> None:
    values = some_values(rows)
    alive = np.arange(rows) % 3 != 0
    index = HammingIndex(values, alive)
    index.save(tmp_path)
    loaded = HammingIndex.load(tmp_path)
    assert len(loaded) == rows
    assert listed(loaded.search(values[:60])) == listed(index.search(values[:60]))


def test_replacing_a_saved_index_leaves_its_readers_alone(tmp_path: Path) -> None:
    old, new = some_values(LARGE), some_values(LARGE + 10, seed=2)
    HammingIndex(old).save(tmp_path)
    reader = HammingIndex.load(tmp_path)
    HammingIndex(new).save(tmp_path)
    assert listed(reader.search(old[:20])) == by_counting(old, old[:20], 31)
    assert listed(HammingIndex.load(tmp_path).search(new[:20])) == by_counting(new, new[:20], 31)


@pytest.mark.parametrize("name", ["values.npy", "rows.npy", "starts.npy", "alive.npy"])
def test_a_damaged_index_is_refused(tmp_path: Path, name: str) -> None:
    HammingIndex(some_values(LARGE)).save(tmp_path)
    raw = bytearray((tmp_path / name).read_bytes())
    raw[-7] ^= 1
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(Corrupt, match=r"do not match their digest; build it again"):
        HammingIndex.load(tmp_path)


@pytest.mark.parametrize(
    "header", ["", "[]", '{"format": "alliance-hamming-0", "sha256": {}}', '{"format": "alliance-hamming-1"}']
)
def test_a_header_of_another_kind_is_refused(tmp_path: Path, header: str) -> None:
    HammingIndex(some_values(10)).save(tmp_path)
    (tmp_path / "header.json").write_text(header)
    with pytest.raises(Corrupt) as refused:
        HammingIndex.load(tmp_path)
    assert refused.value.reason == "INDEX_CORRUPT"


def test_a_missing_index_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="build it again"):
        HammingIndex.load(tmp_path / "none")
