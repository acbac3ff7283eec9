"""Why a linear model scored a row as it did: its strongest contributions, each a weight times a value, in words.

A contribution is in logits: +0.69 doubles the odds of a risk, -0.69 halves them. N-grams of a URL that overlap and say
the same are told as one piece, with what they add up to: five of "login" are not five reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from member_agent.catalog.model import RowError
from member_agent.training.urls import WHOLE, Pieces, Span

NAMED = 5
"""Most reasons given for a row."""
_LEAST = 0.005
"""A contribution that would show as 0.00."""
_TRIED = 2 * NAMED
"""Pieces looked at: what several n-grams add up to may be more than the next n-gram alone."""
_ALIKE = 0.4
"""Of the strongest n-gram's contribution, what one beside it must have to say the same."""
_LONGEST = 24

Explained = Sequence[str] | RowError
"""A row's reasons, strongest first; or why it cannot be read."""


def strongest(contributions: NDArray[Any], text: Callable[[int], str]) -> list[str]:
    """The greatest of them by size, with their signs; `text` names the one at a place."""
    order = np.argsort(-np.abs(contributions), kind="stable")[:NAMED]
    return [_told(text(int(at)), float(contributions[at])) for at in order if abs(contributions[at]) >= _LEAST]


def of_url(url: str, weights: NDArray[np.float32], key: bytes = b"") -> list[str]:
    """The pieces and the outline of a URL that moved its score most, by a model of 2^bits `weights`."""
    found = Pieces(url, bits=int(weights.shape[0]).bit_length() - 1, key=key)
    # A feature counts once, however often it occurs and whatever else falls into its bucket.
    buckets, first = np.unique(found.buckets, return_index=True)
    moved = dict(zip(first.tolist(), (weights[buckets.astype(np.int64)] / np.sqrt(len(buckets))).tolist(), strict=True))
    left = sorted((at for at in moved if abs(moved[at]) >= _LEAST), key=lambda at: -abs(moved[at]))
    told: list[tuple[float, str]] = []
    while left and len(told) < _TRIED:
        seed, span = left[0], found.span(left[0])
        if span == WHOLE:
            told.append((moved[seed], found.text(seed)))
            left = left[1:]
            continue
        span = _grown(span, [found.span(at) for at in left if moved[at] / moved[seed] >= _ALIKE])
        inside = [at for at in left if _within(found.span(at), span)]
        told.append((sum(moved[at] for at in inside), found.words(*span)))
        left = [at for at in left if not _touches(found.span(at), span)]
    told.sort(key=lambda one: -abs(one[0]))
    return [_told(text, amount) for amount, text in told[:NAMED] if abs(amount) >= _LEAST]


def _grown(span: Span, others: Sequence[Span]) -> Span:
    """The piece that overlapping spans make together, of no more than `_LONGEST` bytes."""
    grows = True
    while grows:
        grows = False
        for start, end in others:
            wide = min(start, span[0]), max(end, span[1])
            if _touches((start, end), span) and wide != span and wide[1] - wide[0] <= _LONGEST:
                span, grows = wide, True
    return span


def _touches(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _within(one: Span, other: Span) -> bool:
    return other[0] <= one[0] < one[1] <= other[1]


def _told(text: str, moved: float) -> str:
    return f"{text} {moved:+.2f}"
