"""PDQ, a perceptual hash of a picture: 256 bits that change little when the picture is re-encoded or resized.

PDQ takes luma, smooths it by box filters, keeps 64 x 64 samples, and tells for each of the 16 x 16 lowest cosine
frequencies (but the constant one) whether it lies above their median. All before the median is linear, so each
direction is one banded matrix, and a picture is hashed by small products instead of filter passes over every pixel.
The bits are the reference's, in the order of its hexadecimal form.

A picture beyond 512 pixels is first fitted into 512 x 512, as the reference's tools do; the matrices include that.
Float sums may differ in their last place between processors, which can flip a bit that sits on the median.

Source: ThreatExchange, hashing.pdf (2019), and its published hashes (tests/vectors/test_pdq_vectors.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]

HASH_BYTES: Final = 32
GRID: Final = 64
FITTED: Final = 512
_FREQUENCIES: Final = 16
_LUMA: Final = (0.299, 0.587, 0.114)
_LINES_PER_BLOCK: Final = 32  # of input; about 100 kB of floats for a usual picture, which stays in the cache


@dataclass(frozen=True, slots=True, kw_only=True)
class PdqHash:
    """`value`: 32 bytes, most significant bit first; `quality`: 0 (flat) to 100, published values need 50."""

    value: bytes
    quality: int


def pdq(pixels: Pixels) -> PdqHash:
    """Hashes a picture: H x W x 3 (RGB) or H x W (luma), uint8, at least 1 x 1."""
    grid = reduce(pixels, *_operators(pixels.shape[0], pixels.shape[1]))[np.newaxis]
    return PdqHash(value=values(coefficients(grid))[0].tobytes(), quality=int(qualities(grid)[0]))


def coefficients(grids: Floats) -> Floats:
    """The cosine frequencies of N grids of luma, N x 64 x 64 to N x 16 x 16."""
    frequencies: Floats = _DCT @ grids @ _DCT.T
    return frequencies


def mirrored(frequencies: Floats) -> Floats:
    """The frequencies of the same grids flipped left to right: the odd ones across change their sign."""
    return frequencies * _MIRROR


def values(frequencies: Floats) -> Pixels:
    """The hashes of N grids' frequencies, N x 32 bytes."""
    flat = frequencies.reshape(len(frequencies), -1)
    half = flat.shape[1] // 2 - 1  # the lower median
    above = flat > np.partition(flat, half, axis=1)[:, half, np.newaxis]
    return np.packbits(above[:, ::-1], axis=1)


def qualities(grids: Floats) -> NDArray[np.int64]:
    """The reference's measure of how much N grids have to tell: their gradients, in whole percents of white."""
    down = np.abs(np.diff(grids, axis=1) * (100 / 255)).astype(np.int32).sum(axis=(1, 2))
    across = np.abs(np.diff(grids, axis=2) * (100 / 255)).astype(np.int32).sum(axis=(1, 2))
    qualities: NDArray[np.int64] = np.minimum((down + across) // 90, 100).astype(np.int64)
    return qualities


@dataclass(frozen=True, slots=True)
class Reduction:
    """A linear map of `lines` input lines to `size` output lines, kept as the blocks that are not zero.

    A block (to, frm, weights) makes lines to, to + 1, ... of lines frm, frm + 1, ...
    """

    size: int
    blocks: tuple[tuple[int, int, Floats], ...]

    @classmethod
    def of(cls, weights: NDArray[np.floating]) -> Reduction:
        """Cuts a dense matrix, size x lines, whose rows look at ever later lines."""
        size, lines = weights.shape
        step = max(1, size * _LINES_PER_BLOCK // lines)
        blocks = []
        for to in range(0, size, step):
            part = weights[to : to + step]
            used = np.flatnonzero(part.any(axis=0))
            frm, end = int(used[0]), int(used[-1]) + 1
            blocks.append((to, frm, np.ascontiguousarray(part[:, frm:end], dtype=np.float32)))
        return cls(size, tuple(blocks))


def reduce(pixels: Pixels, down: Reduction, across: Reduction) -> Floats:
    """Luma of a picture, reduced along both axes: `down.size` x `across.size`, 0 to 255."""
    height = len(pixels)
    flat = pixels.reshape(height, -1)
    lines = np.empty((down.size, flat.shape[1]), np.float32)
    buffer = np.empty((max(w.shape[1] for _, _, w in down.blocks), flat.shape[1]), np.float32)
    for to, frm, weights in down.blocks:
        block = buffer[: weights.shape[1]]
        np.copyto(block, flat[frm : frm + weights.shape[1]])
        np.matmul(weights, block, out=lines[to : to + len(weights)])
    if pixels.ndim == 3:
        red, green, blue = (lines[:, channel::3] * weight for channel, weight in enumerate(_LUMA))
        lines = red + green + blue
    reduced = np.empty((down.size, across.size), np.float32)
    for to, frm, weights in across.blocks:
        reduced[:, to : to + len(weights)] = lines[:, frm : frm + weights.shape[1]] @ weights.T
    return reduced


def fit(height: int, width: int, longest: int) -> tuple[int, int]:
    """The size of a picture scaled down, if need be, until no side is above `longest`."""
    longer = max(height, width)
    if longer <= longest:
        return height, width
    return max(1, round(height * longest / longer)), max(1, round(width * longest / longer))


def resampling(lines: int, size: int, start: float = 0.0, stop: float | None = None) -> NDArray[np.float64]:
    """Weights, size x lines, that resample the span [start, stop) of `lines` samples to `size` samples.

    The filter is a triangle two output samples wide, or two input samples where that is more: no aliasing, and no
    preferred side, so that flipping and resampling commute. Samples outside the span have no weight.
    """
    stop = lines if stop is None else stop
    scale = (stop - start) / size
    centres = start + (np.arange(size) + 0.5) * scale
    edges = np.arange(lines)
    inside = np.clip(np.minimum(edges + 1, stop) - np.maximum(edges, start), 0, 1)
    weights = np.maximum(0, 1 - np.abs(edges + 0.5 - centres[:, np.newaxis]) / max(scale, 1)) * inside
    normalised: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalised


def _box_filtered_samples(lines: int) -> NDArray[np.float64]:
    """The reference's two box filters and its choice of 64 lines, as one matrix, 64 x lines.

    The window leans to one side where its width is even, is cut at the edges, and the sample's position is rounded
    down, all as in the reference: hashes depend on it.
    """
    if lines == GRID:
        return np.eye(GRID)
    width = (lines + 2 * GRID - 1) // (2 * GRID)
    after = (width + 2) // 2 - 1
    before = width - after - 1
    edges = np.arange(lines)
    low, high = np.maximum(0, edges - before), np.minimum(lines - 1, edges + after)
    box = ((edges >= low[:, np.newaxis]) & (edges <= high[:, np.newaxis])) / (high - low + 1)[:, np.newaxis]
    chosen = ((np.arange(GRID) + 0.5) * lines / GRID).astype(np.int64)
    samples: NDArray[np.float64] = box[chosen] @ box
    return samples


@lru_cache(maxsize=256)
def _reference_reduction(lines: int, fitted: int) -> Reduction:
    weights = _box_filtered_samples(fitted)
    return Reduction.of(weights if fitted == lines else weights @ resampling(lines, fitted))


def _operators(height: int, width: int) -> tuple[Reduction, Reduction]:
    rows, columns = fit(height, width, FITTED)
    return _reference_reduction(height, rows), _reference_reduction(width, columns)


_DCT: Final = (
    np.sqrt(2 / GRID) * np.cos(np.pi / (2 * GRID) * np.outer(np.arange(1, _FREQUENCIES + 1), 2 * np.arange(GRID) + 1))
).astype(np.float32)
_MIRROR: Final = np.where(np.arange(1, _FREQUENCIES + 1) % 2, -1, 1).astype(np.float32)
