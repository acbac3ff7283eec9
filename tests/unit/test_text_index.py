"""The text index against plain arithmetic, its limits, and its figures on a real catalogue."""

from __future__ import annotations

import random
from collections import Counter
from math import log, sqrt

import numpy as np
import pytest

from alliance.errors import InvalidInput
from bench import data, titles
from member_agent.fingerprinting.text import TextItem, TextSketch, sketch_many
from member_agent.matching import text_index
from member_agent.matching.text_index import STOP_FLOOR, STOP_SHARE, Matches, TextIndex

KEY = bytes(range(32))
COLOURS = ["black", "red", "blue", "green", "pink", "grey", "white"]
WORDS = "canon nikon sony powershot coolpix camera digital black silver zoom lens case kit red eye sd1100 d40x w55 8gb"


def sketches(*texts: str) -> list[TextSketch]:
    return sketch_many([TextItem(title=text) for text in texts], key=KEY)


def generated(count: int, *, seed: int) -> list[TextSketch]:
    """Sketches of titles drawn from few words, so that many are alike."""
    rng = random.Random(seed)
    return sketches(*(" ".join(rng.choices(WORDS.split(), k=rng.randint(2, 7))) for _ in range(count)))


def pairs(matches: Matches) -> list[tuple[int, int]]:
    return list(zip(matches.query_row.tolist(), matches.index_row.tolist(), strict=True))


def brute_force(bank: list[TextSketch], query: TextSketch) -> list[float]:
    """The documented score of the query against each row of the bank, term by term."""
    documents = Counter(term for row in bank for term in row.terms.tolist())
    stop = max(STOP_FLOOR, STOP_SHARE * len(bank))

    def vector(sketch: TextSketch) -> dict[int, float]:
        weighted = zip(sketch.terms.tolist(), sketch.weights.tolist(), strict=True)
        return {
            term: weight * (log((1 + len(bank)) / (1 + documents[term])) + 1) * (documents[term] <= stop)
            for term, weight in weighted
        }

    def length(values: dict[int, float]) -> float:
        return sqrt(sum(value**2 for value in values.values())) or 1

    wanted = vector(query)
    scores = []
    for row in bank:
        has = vector(row)
        product = sum(value * has.get(term, 0) for term, value in wanted.items())
        scores.append(product / length(wanted) / length(has))
    return scores


@pytest.mark.parametrize("size", [1, 40, 400])
def test_scores_are_the_documented_cosine(size: int) -> None:
    bank, queries = generated(size, seed=1), generated(20, seed=2)
    found = TextIndex.build(bank).search(queries, threshold=0.2, top_k=size)
    scores = dict(zip(pairs(found), found.score.tolist(), strict=True))
    for at, query in enumerate(queries):
        expected = {(at, row): score for row, score in enumerate(brute_force(bank, query)) if score > 0.2001}
        got = {pair: score for pair, score in scores.items() if pair[0] == at and score > 0.2001}
        assert got == pytest.approx(expected, abs=1e-5)


def test_tiles_and_blocks_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, queries = generated(90, seed=3), generated(40, seed=4)
    whole = TextIndex.build(bank).search(queries, threshold=0.3, top_k=7)
    monkeypatch.setattr(text_index, "_TILE_ROWS", 13)
    monkeypatch.setattr(text_index, "_BLOCK_POSTINGS", 50)
    cut = TextIndex.build(bank).search(queries, threshold=0.3, top_k=7)
    assert len(whole) > 40
    assert pairs(cut) == pairs(whole)
    assert cut.score.tolist() == whole.score.tolist()


def test_a_listing_scores_alone_as_it_does_in_a_batch() -> None:
    bank, queries = generated(50, seed=5), generated(10, seed=6)
    index = TextIndex.build(bank)
    batch = index.search(queries, threshold=0.2, top_k=3)
    for at, query in enumerate(queries):
        alone = index.search([query], threshold=0.2, top_k=3)
        mine = batch.only(batch.query_row == at)
        assert alone.index_row.tolist() == mine.index_row.tolist()
        assert alone.score.tolist() == mine.score.tolist()


def test_every_row_finds_itself() -> None:
    bank = sketches("canon sd1100", "nikon d40x", "sony w55 camera")
    found = TextIndex.build(bank).search(bank, threshold=0.99, top_k=1)
    assert pairs(found) == [(0, 0), (1, 1), (2, 2)]
    assert found.score == pytest.approx(1)
    assert found.score.max() <= 1


def test_the_threshold_is_included_and_top_k_keeps_the_best() -> None:
    bank = sketches("canon sd1100 camera", "canon sd1100", "canon camera", "nikon")
    index = TextIndex.build(bank)
    [query] = sketches("canon sd1100 camera")
    found = index.search([query], threshold=0.01, top_k=9)
    assert found.index_row[0] == 0
    assert sorted(found.index_row.tolist()) == [0, 1, 2]
    assert found.score.tolist() == sorted(found.score.tolist(), reverse=True)
    assert len(index.search([query], threshold=float(found.score[1]), top_k=9)) == 2
    assert index.search([query], threshold=0.01, top_k=2).index_row.tolist() == found.index_row[:2].tolist()


def test_equal_scores_rank_by_row() -> None:
    index = TextIndex.build(sketches("nikon", "canon sd1100", "canon sd1100", "canon sd1100"))
    query = sketches("canon sd1100")
    assert index.search(query, threshold=0.5, top_k=2).index_row.tolist() == [1, 2]
    assert pairs(index.join(query * 3, per_fingerprint=2, per_listing=1)) == [(0, 1), (1, 1)]


def test_rows_taken_out_are_not_found_and_change_no_score() -> None:
    bank = generated(60, seed=7)
    index, queries = TextIndex.build(bank), generated(20, seed=8)
    removed = np.zeros(60, bool)
    removed[::3] = True
    before = index.search(queries, threshold=0.2, top_k=60)
    after = index.without(removed).search(queries, threshold=0.2, top_k=60)
    kept = before.only(~removed[before.index_row])
    assert 0 < len(after) < len(before)
    assert pairs(after) == pairs(kept)
    assert after.score.tolist() == kept.score.tolist()
    assert len(index.without(removed).without(~removed).search(queries, threshold=0.2, top_k=60)) == 0
    with pytest.raises(InvalidInput, match="59 marks"):
        index.without(removed[1:])


def test_one_fingerprint_cannot_flood_a_batch() -> None:
    index = TextIndex.build(sketches("leather case", "canon sd1100"))
    listings = sketches(
        *(f"leather case {colour}" for colour in ["black", "red", "blue", "green", "pink", "grey", "white"])
    )
    assert len(index.search(listings, threshold=0.2, top_k=1)) == 7
    assert len(index.join(listings, within=0)) == 3
    assert len(index.join(listings, within=0, per_fingerprint=2)) == 2


def test_a_listing_proposes_its_best_fingerprints_only() -> None:
    index = TextIndex.build(sketches(*(f"canon sd1100 {word}" for word in ["black", "red", "blue", "green"])))
    [listing] = sketches("canon sd1100")
    assert len(index.join([listing], within=0)) == 2
    assert len(index.join([listing], within=0, per_listing=4)) == 4


def test_either_side_drops_what_is_far_below_its_best() -> None:
    good, poor = sketches("canon powershot sd1100 camera", "canon camera")
    fingerprint, both = TextIndex.build([good]), TextIndex.build([good, poor])
    assert pairs(fingerprint.join([good, poor], within=0.9)) == [(0, 0)]
    assert pairs(fingerprint.join([good, poor], within=0.1)) == [(0, 0), (1, 0)]
    assert pairs(both.join([good], within=0.9)) == [(0, 0)]
    assert pairs(both.join([good], within=0.1)) == [(0, 0), (0, 1)]


def test_join_is_search_with_limits_from_both_sides() -> None:
    bank, queries = generated(80, seed=9), generated(120, seed=10)
    index = TextIndex.build(bank)
    wide = index.search(queries, threshold=0.2, top_k=len(bank))
    scores = dict(zip(pairs(wide), wide.score.tolist(), strict=True))
    found = index.join(queries)
    assert len(found) > 50
    assert scores | dict(zip(pairs(found), found.score.tolist(), strict=True)) == scores
    assert max(Counter(found.query_row.tolist()).values()) <= 2
    assert max(Counter(found.index_row.tolist()).values()) <= 3
    assert pairs(found) == sorted(pairs(found), key=lambda pair: (pair[0], -scores[pair], pair[1]))
    assert pairs(index.join(queries, within=0, per_fingerprint=120, per_listing=80)) == pairs(wide)


def test_a_word_of_every_title_decides_nothing_in_a_large_bank() -> None:
    bank = sketches(*(f"zoom {word}{number}" for word in WORDS.split() for number in range(10)))
    found = TextIndex.build(bank).search(sketches("zoom"), threshold=0.001, top_k=5)
    assert len(bank) > STOP_FLOOR
    assert len(found) == 0


def test_nothing_matches_nothing() -> None:
    empty, [blank, full] = TextIndex.build([]), sketches("!", "canon")
    assert len(empty) == 0
    assert len(empty.search([full], threshold=0.1, top_k=1)) == 0
    assert len(TextIndex.build([blank]).search([blank, full], threshold=0.1, top_k=1)) == 0
    index = TextIndex.build([blank, full])
    assert pairs(index.search([blank, full], threshold=0.1, top_k=1)) == [(1, 1)]
    assert len(index.join([])) == 0


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"threshold": 0}, "threshold"),
        ({"threshold": 1.1}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"per_listing": 0}, "top_k"),
        ({"per_fingerprint": 0}, "per_fingerprint"),
        ({"within": -0.1}, "within"),
        ({"within": 1.1}, "within"),
    ],
)
def test_limits_out_of_range_are_refused(limits: dict[str, float], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        TextIndex.build(sketches("canon")).join(sketches("canon"), **limits)  # type: ignore[arg-type]  # because wrong on purpose
    assert caught.value.field == field


@pytest.mark.realdata
@pytest.mark.parametrize("fields", ["title, brand and model", "title only"])
def test_real_listings_find_their_products(fields: str) -> None:
    folder = data.folder()
    if folder is None:
        pytest.skip("no real data: set ALLIANCE_DATA")
    pairing = titles.load(folder, "D8")
    listings = pairing.listings
    if fields == "title only":
        listings = [TextItem(title=item.title) for item in listings]
    index = TextIndex.build(sketch_many(pairing.catalogue, key=KEY))
    found = titles.pairs_of(index.join(sketch_many(listings, key=KEY)))
    pc, pq = titles.quality(found, pairing.truth)
    assert pc >= 0.90
    assert pq >= titles.SOURCES["D8"].published.pq
    assert len(found) <= titles.SOURCES["D8"].published.candidates
