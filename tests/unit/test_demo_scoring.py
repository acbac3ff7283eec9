"""The demo's figures: pair completeness and quality, recall and false matches."""

from __future__ import annotations

import pytest

from demo.scoring import Copy, Pair, score_images, score_text

COPIES = (
    Copy(listing="o1", transform="cropped", photo="shoe"),
    Copy(listing="o2", transform="cropped", photo="hat"),
    Copy(listing="o3", transform="flipped", photo="shoe"),
    Copy(listing="o4", transform="flipped"),
)


def test_text_counts_distinct_pairs() -> None:
    truth = {Pair("p1", "l1"), Pair("p2", "l2"), Pair("p3", "l3")}
    score = score_text(
        [Pair("p1", "l1"), Pair("p1", "l1"), Pair("p2", "l9"), Pair("p3", "l3"), Pair("p9", "l4")], truth
    )
    assert (score.found, score.true_pairs, score.candidates) == (2, 3, 4)
    assert score.pc == pytest.approx(2 / 3)
    assert score.pq == pytest.approx(1 / 2)


def test_no_candidates_is_nothing_found() -> None:
    score = score_text([], {Pair("p1", "l1")})
    assert (score.pc, score.pq) == (0, 0)


def test_a_copy_is_found_by_its_own_photo_only() -> None:
    score = score_images([Pair("shoe", "o1"), Pair("shoe", "o2")], COPIES)
    assert score.by_transform == {"cropped": 0.5, "flipped": 0.0}
    assert score.recall == pytest.approx(1 / 3)
    assert score.false_matches == 1


def test_any_match_of_a_picture_that_nobody_published_is_false() -> None:
    score = score_images([Pair("shoe", "o4"), Pair("hat", "o4")], COPIES)
    assert score.false_matches == 2
    assert score.strangers == 1


def test_several_fingerprints_of_one_photo_are_one_match() -> None:
    score = score_images([Pair("shoe", "o1"), Pair("shoe", "o1"), Pair("hat", "o2"), Pair("shoe", "o3")], COPIES)
    assert score.recall == 1
    assert score.false_matches == 0


def test_an_empty_product_key_is_no_way_to_match_a_stranger() -> None:
    assert score_images([Pair("", "o4")], COPIES).false_matches == 1
