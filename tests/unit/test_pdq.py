"""PDQ against a plain reading of its definition, and what windows of a picture are published and probed.

Pictures here are generated: seeded noise of many scales, which has detail everywhere.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from alliance.errors import InvalidInput
from member_agent.fingerprinting import image, pdq
from member_agent.fingerprinting.image import Variant, publisher_variants, querier_probes

THRESHOLD = 31


@cache
def picture(height: int = 300, width: int = 400, *, seed: int = 1) -> pdq.Pixels:
    """Generated luma with structure of 3 to 100 pixels."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width))
    for cells in (3, 6, 12, 25, 50, 100):
        noise = random.normal(size=(cells, cells))
        total += pdq.resampling(cells, height) @ noise @ pdq.resampling(cells, width).T * (3 / cells) ** 0.5
    return np.clip(128 + 60 * total, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def published() -> list[Variant]:
    return publisher_variants(picture())


def bits_apart(left: bytes, right: bytes) -> int:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).bit_count()


def nearest(probes: list[Variant], published: list[Variant]) -> int:
    return min(bits_apart(probe.hash, variant.hash) for probe in probes for variant in published)


def box_filtered(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """One pass of the reference's filter along one line, as its text describes it."""
    width = (len(line) + 127) // 128
    after = (width + 2) // 2 - 1
    before = width - after - 1
    return np.array([line[max(0, at - before) : at + after + 1].mean() for at in range(len(line))])


def plain_pdq(luma: pdq.Pixels) -> str:
    """PDQ by filter passes, sampling, cosine sums and a median, without a matrix."""
    smooth = luma.astype(np.float64)
    for _ in range(2):
        smooth = np.apply_along_axis(box_filtered, 1, smooth)
        smooth = np.apply_along_axis(box_filtered, 0, smooth)
    rows, columns = ([int((k + 0.5) * side / 64) for k in range(64)] for side in luma.shape)
    grid = smooth[np.ix_(rows, columns)]
    waves = [[math.cos(math.pi / 128 * f * (2 * x + 1)) for x in range(64)] for f in range(1, 17)]
    frequencies = [[float(np.outer(down, across).ravel() @ grid.ravel()) for across in waves] for down in waves]
    flat = [value for row in frequencies for value in row]
    median = sorted(flat)[127]
    number = sum(1 << at for at, value in enumerate(flat) if value > median)
    return f"{number:064x}"


@pytest.mark.parametrize("size", [(300, 400), (512, 257), (65, 128), (64, 64), (128, 100), (200, 64)])
def test_the_matrices_are_the_filters(size: tuple[int, int]) -> None:
    luma = picture(*size)
    assert bits_apart(pdq.pdq(luma).value, bytes.fromhex(plain_pdq(luma))) <= 2


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (63, 5), (2, 2), (30_000, 1), (40, 40, 3)])
def test_a_picture_smaller_than_the_grid_has_a_hash(size: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, size, dtype=np.uint8)
    assert len(pdq.pdq(pixels).value) == pdq.HASH_BYTES


def test_colours_are_weighed_as_luma() -> None:
    grey = picture()
    assert pdq.pdq(np.dstack([grey, grey, grey])).value == pdq.pdq(grey).value
    colours = np.dstack([grey, picture(seed=2), picture(seed=3)])
    luma = np.rint(colours @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    assert bits_apart(pdq.pdq(colours).value, pdq.pdq(luma).value) <= 4


def test_a_large_picture_is_fitted_as_the_reference_does() -> None:
    luma = picture(700, 1000)
    fitted = pdq.resampling(700, 358) @ luma @ pdq.resampling(1000, 512).T
    assert bits_apart(pdq.pdq(luma).value, pdq.pdq(np.rint(fitted).astype(np.uint8)).value) <= 4


def test_quality_tells_plain_from_busy() -> None:
    ramp = np.tile(np.linspace(0, 255, 256, dtype=np.uint8), (256, 1))
    assert pdq.pdq(np.full((200, 200), 90, np.uint8)).quality == 0
    assert 0 < pdq.pdq(ramp).quality < image.QUALITY_GATE
    assert pdq.pdq(picture()).quality == 100


def test_resampling_keeps_greys_and_has_no_preferred_side() -> None:
    for lines, size, start, stop in [(100, 64, 0, 100), (100, 64, 7.3, 92.7), (40, 64, 3, 40), (1, 64, 0, 1)]:
        weights = pdq.resampling(lines, size, start, stop)
        assert weights.sum(axis=1) == pytest.approx(np.ones(size))
        assert weights[::-1, ::-1] == pytest.approx(pdq.resampling(lines, size, lines - stop, lines - start))


def test_published_values_are_few_distinct_and_good_enough() -> None:
    variants = publisher_variants(picture())
    kinds = [variant.kind for variant in variants]
    assert kinds[:2] == ["original", "whole"]
    assert len(set(kinds)) == len(kinds) <= 23
    assert all(variant.quality >= image.QUALITY_GATE for variant in variants)
    assert variants[0].hash == pdq.pdq(picture()).value
    assert variants == publisher_variants(picture())


def test_a_value_all_but_the_same_is_published_once() -> None:
    variants = publisher_variants(picture(64, 64))  # here, PDQ as it is and the whole window are one
    assert [variant.kind for variant in variants].count("whole") == 0
    hashes = [variant.hash for variant in variants]
    gaps = [bits_apart(a, b) for at, a in enumerate(hashes) for b in hashes[:at]]
    assert min(gaps) > image.DUPLICATE_BITS


def test_at_most_twelve_probes() -> None:
    framed = np.pad(picture(), 40, constant_values=255)
    probes = querier_probes(framed)
    assert {"inside-flat", "flipped-whole", "flipped-inside-flat"} <= {probe.kind for probe in probes}
    assert len(probes) <= 12


@pytest.mark.parametrize("make", [publisher_variants, querier_probes])
def test_a_plain_picture_is_refused_with_its_reason(make: object) -> None:
    assert callable(make)
    with pytest.raises(InvalidInput, match="quality 0 of 100") as refused:
        make(np.full((300, 300, 3), 240, np.uint8))
    assert refused.value.reason == "IMAGE_LOW_QUALITY"


@pytest.mark.parametrize("amount", [0.01, 0.03, 0.05, 0.08, 0.1])
@pytest.mark.parametrize("sides", [(1, 0, 0, 0), (0, 0, 0, 1), (1, 1, 1, 1), (0, 0, 1, 1)])
def test_a_cropped_copy_is_found(published: list[Variant], sides: tuple[int, ...], amount: float) -> None:
    height, width = picture().shape
    left, top, right, bottom = (side * amount for side in sides)
    rows = slice(round(top * height), round((1 - bottom) * height))
    columns = slice(round(left * width), round((1 - right) * width))
    assert nearest(querier_probes(picture()[rows, columns]), published) <= THRESHOLD


@pytest.mark.parametrize("grey", [0, 255, 130])
@pytest.mark.parametrize("frame", [((20, 20), (20, 20)), ((0, 0), (75, 75)), ((60, 0), (0, 0)), ((60, 60), (80, 80))])
def test_a_framed_copy_is_found(
    published: list[Variant], grey: int, frame: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    copy = np.pad(picture(), frame, constant_values=grey)
    assert nearest(querier_probes(copy), published) <= THRESHOLD


@pytest.mark.parametrize("size", [(300, 400), (75, 100), (900, 1200)])
def test_a_mirrored_copy_is_found_at_any_size(published: list[Variant], size: tuple[int, int]) -> None:
    rows, columns = (pdq.resampling(side, to) for side, to in zip((300, 400), size, strict=True))
    copy = np.rint(rows @ picture()[:, ::-1] @ columns.T).astype(np.uint8)
    assert nearest(querier_probes(copy), published) <= 16


def test_other_pictures_are_far_away() -> None:
    published = [publisher_variants(picture(seed=seed)) for seed in range(10, 16)]
    probes = [querier_probes(picture(seed=seed)) for seed in range(6)]
    assert min(nearest(one, other) for one in probes for other in published) > 60


def test_a_border_without_an_end_is_no_border() -> None:
    flat = np.full((256, 256), 255, np.uint8)
    flat[:, 200:] = picture(256, 56)
    assert max(image._inside_borders(flat.astype(np.float32))["inside-flat"]) <= 0.45
