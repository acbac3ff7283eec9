"""Fingerprints of a picture: the values a publisher shares, and the probes a querier looks up among them.

A copied picture is rarely copied whole: it is cropped, framed, flipped. PDQ forgives a cut of about 1.5 % at one side
and 1 % at all four, no more. So both ends hash several windows of their picture: the publisher crops on a coarse grid
(at most 23 values), the querier adds small crops between, the inside of a border, and mirror images (at most 12
probes), and one of the pairs shows nearly the same window. docs/adr/0004-image-fingerprints.md has the measurements.

Every window is resampled to PDQ's 64 x 64 samples without aliasing, so its value does not depend on the picture's
size; only `original` is PDQ of the picture as it is, for comparison with other tools. Values below the quality gate
are left out: plain pictures resemble each other. All is deterministic, and windows of one picture share their work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from alliance.errors import InvalidInput
from member_agent.fingerprinting import pdq

QUALITY_GATE: Final = 50
DUPLICATE_BITS: Final = 4
_BASE: Final = 256

_MAX_BORDER: Final = 0.4
_MIN_BORDER: Final = 0.004
_FLAT_GREYS: Final = 12
_FLAT_SHARE: Final = 0.02
_SHARP_BEND: Final = 1.2


class Window(NamedTuple):
    """A part of a picture: the shares of its width and height cut off at each side."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One value of a picture. `kind` names the window; `hash` is 32 bytes of PDQ; `quality` is 50 to 100."""

    kind: str
    hash: bytes
    quality: int


Probe: TypeAlias = Variant

WHOLE: Final = Window(0, 0, 0, 0)
_ALL: Final = {"all": Window(1, 1, 1, 1)}
_SIDES: Final = {
    "left": Window(1, 0, 0, 0),
    "top": Window(0, 1, 0, 0),
    "right": Window(0, 0, 1, 0),
    "bottom": Window(0, 0, 0, 1),
}
_CORNERS: Final = {
    "left-top": Window(1, 1, 0, 0),
    "right-top": Window(0, 1, 1, 0),
    "left-bottom": Window(1, 0, 0, 1),
    "right-bottom": Window(0, 0, 1, 1),
}


def _crops(sides: Mapping[str, Window], *amounts: float) -> dict[str, Window]:
    return {
        f"crop-{name}-{amount * 1000:.0f}": Window(*(amount * side for side in cut))
        for amount in amounts
        for name, cut in sides.items()
    }


PUBLISHED: Final[Mapping[str, Window]] = {
    "whole": WHOLE,
    **_crops(_ALL, 0.035, 0.07, 0.095),
    **_crops(_CORNERS, 0.035, 0.065, 0.095),
    **_crops(_SIDES, 0.085),
}
PROBED: Final[Mapping[str, Window]] = {"whole": WHOLE, **_crops(_ALL, 0.02), **_crops(_SIDES, 0.02)}
_PROBED_FLIPPED: Final = ("whole", "crop-all-20", "inside-flat", "inside-quiet")


def publisher_variants(pixels: pdq.Pixels) -> list[Variant]:
    """The values to publish for a picture, H x W x 3 (RGB) or H x W (luma); at most 23, plain PDQ first.

    Raises: InvalidInput (IMAGE_LOW_QUALITY) if no value passes the quality gate.
    """
    whole = pdq.pdq(pixels)
    luma = _base_luma(pixels)
    windows = {**PUBLISHED, **_inside_borders(luma)}
    grids = _grids(luma, list(windows.values()))
    variants = [Variant(kind="original", hash=whole.value, quality=whole.quality)]
    variants += _named(windows, pdq.coefficients(grids), pdq.qualities(grids))
    return _worth_keeping(variants)


def querier_probes(pixels: pdq.Pixels) -> list[Probe]:
    """The values to look up for a picture, H x W x 3 (RGB) or H x W (luma); at most 12.

    Raises: InvalidInput (IMAGE_LOW_QUALITY) if no value passes the quality gate.
    """
    luma = _base_luma(pixels)
    windows = {**PROBED, **_inside_borders(luma)}
    grids = _grids(luma, list(windows.values()))
    frequencies, qualities = pdq.coefficients(grids), pdq.qualities(grids)
    rows = [row for row, kind in enumerate(windows) if kind in _PROBED_FLIPPED]
    flipped = [f"flipped-{kind}" for kind in windows if kind in _PROBED_FLIPPED]
    probes = _named(windows, frequencies, qualities)
    probes += _named(flipped, pdq.mirrored(frequencies[rows]), qualities[rows])
    return _worth_keeping(probes)


def _named(kinds: Iterable[str], frequencies: pdq.Floats, qualities: NDArray[np.int64]) -> list[Variant]:
    return [
        Variant(kind=kind, hash=value.tobytes(), quality=int(quality))
        for kind, value, quality in zip(kinds, pdq.values(frequencies), qualities, strict=True)
    ]


def _worth_keeping(variants: Sequence[Variant]) -> list[Variant]:
    """Leaves out what is below the quality gate, and what is all but the same as a value before it."""
    kept: list[Variant] = []
    seen: list[int] = []
    for variant in variants:
        number = int.from_bytes(variant.hash, "big")
        if variant.quality >= QUALITY_GATE and all((number ^ other).bit_count() > DUPLICATE_BITS for other in seen):
            kept.append(variant)
            seen.append(number)
    if not kept:
        best = max(variant.quality for variant in variants)
        raise InvalidInput(
            f"picture is too plain to be told from others: quality {best} of 100, {QUALITY_GATE} needed",
            reason="IMAGE_LOW_QUALITY",
            remedy="use a picture that shows the product larger or in more detail",
        )
    return kept


def _base_luma(pixels: pdq.Pixels) -> pdq.Floats:
    """Luma fitted into 256 x 256: four samples for each that a hash needs, and one pass over the pixels for all."""
    height, width = pixels.shape[:2]
    rows, columns = pdq.fit(height, width, _BASE)
    return pdq.reduce(pixels, _base_reduction(height, rows), _base_reduction(width, columns))


@lru_cache(maxsize=128)
def _base_reduction(lines: int, size: int) -> pdq.Reduction:
    return pdq.Reduction.of(pdq.resampling(lines, size))


@lru_cache(maxsize=512)
def _cut(lines: int, before: float, after: float) -> pdq.Floats:
    weights = pdq.resampling(lines, pdq.GRID, before * lines, (1 - after) * lines)
    return weights.astype(np.float32)


def _grids(luma: pdq.Floats, windows: Sequence[Window]) -> pdq.Floats:
    """The windows' grids, N x 64 x 64; windows with the same top and bottom share the reduction of the lines."""
    height, width = luma.shape
    spans = {(w.top, w.bottom) for w in windows}
    lines = {span: _cut(height, *span) @ luma for span in spans}
    return np.stack([lines[w.top, w.bottom] @ _cut(width, w.left, w.right).T for w in windows])


def _inside_borders(luma: pdq.Floats) -> dict[str, Window]:
    """What is left inside a border, by two readings of what a border is; a reading that finds none is not in it.

    `inside-flat`: lines of one grey, each side its own. `inside-quiet`: lines without sharp detail, so blurred frames
    go too; but where a white frame surrounds a smooth wall, only the first reading stops at the wall.
    """
    windows = {"inside-flat": _inside(luma, _flat_border), "inside-quiet": _inside(_bends(luma), _quiet_border)}
    return {kind: window for kind, window in windows.items() if max(window) > _MIN_BORDER}


def _inside(plane: pdq.Floats, border: Callable[[pdq.Floats], int]) -> Window:
    height, width = plane.shape
    top, bottom = border(plane), border(plane[::-1])
    columns = plane[top : height - bottom].T
    left, right = border(columns), border(columns[::-1])
    return Window(left / width, top / height, right / width, bottom / height)


def _flat_border(lines: pdq.Floats) -> int:
    """How many lines, from the first on, are of the first one's median grey but for a few samples."""
    off = np.abs(lines - np.median(lines[0])) > _FLAT_GREYS
    return _leading(off.mean(axis=1) > _FLAT_SHARE, len(lines))


def _quiet_border(bends: pdq.Floats) -> int:
    """How many lines, from the first on, lie before the first sharp one; the edge of a frame is sharp itself."""
    quiet = _leading(bends[1:].mean(axis=1) > _SHARP_BEND, len(bends))
    return quiet + 2 if quiet else 0


def _bends(luma: pdq.Floats) -> pdq.Floats:
    """The larger of the second differences down and across, 0 at the rim."""
    down, across = np.zeros_like(luma), np.zeros_like(luma)
    down[1:-1] = np.abs(luma[2:] - 2 * luma[1:-1] + luma[:-2])
    across[:, 1:-1] = np.abs(luma[:, 2:] - 2 * luma[:, 1:-1] + luma[:, :-2])
    return np.maximum(down, across)


def _leading(busy: NDArray[np.bool_], lines: int) -> int:
    """The number of lines before the first busy one, 0 if none is busy, no more than the largest border."""
    return min(int(np.argmax(busy)), int(_MAX_BORDER * lines)) if busy.any() else 0
