"""Why a linear model scored a row as it did: its strongest contributions, each a weight times a value, in words.

A contribution is in logits: +0.69 doubles the odds of a risk, -0.69 halves them. Of pieces of a URL that overlap only
the strongest is named, for the others say the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from member_agent.catalog.model import RowError
from member_agent.training.urls import Pieces

NAMED = 5
"""Most reasons given for a row."""
_LEAST = 0.005
"""A contribution that would show as 0.00."""

Explained = Sequence[str] | RowError
"""A row's reasons, strongest first; or why it cannot be read."""


def strongest(contributions: NDArray[Any], text: Callable[[int], str]) -> list[str]:
    """The greatest of them by size, with their signs; `text` names the one at a place."""
    order = np.argsort(-np.abs(contributions), kind="stable")[:NAMED]
    return [_told(text(int(at)), float(contributions[at])) for at in order if abs(contributions[at]) >= _LEAST]


def of_url(url: str, weights: NDArray[np.float32]) -> list[str]:
    """The n-grams and outlines of a URL that moved its score most, by a model of 2^bits `weights`."""
    found = Pieces(url, bits=int(weights.shape[0]).bit_length() - 1)
    told: list[str] = []
    seen: set[int] = set()
    covered: list[tuple[int, int]] = []
    value = 1 / np.sqrt(len(np.unique(found.buckets)))
    moved = weights[found.buckets.astype(np.int64)] * value
    for at in np.argsort(-np.abs(moved), kind="stable").tolist():
        if len(told) == NAMED or abs(moved[at]) < _LEAST:
            break
        start, end = found.span(at)
        bucket = int(found.buckets[at])
        # A feature counts once, however often it occurs or whatever else falls into its bucket.
        if bucket in seen or any(start < until and since < end for since, until in covered):
            continue
        seen.add(bucket)
        covered.append((start, end))
        told.append(_told(found.text(at), float(moved[at])))
    return told


def _told(text: str, moved: float) -> str:
    return f"{text} {moved:+.2f}"
