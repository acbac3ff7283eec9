"""Finds the fingerprints most like a listing's text: exact cosine over an inverted index of text sketches.

A term weighs its sketch weight times its rarity in the bank, `ln((1 + n) / (1 + df)) + 1`; one that
occurs in more than STOP_SHARE of a bank of some size weighs nothing. A score is the cosine of two such
vectors, 0 to 1. It depends on the bank and the two sketches alone, never on the other listings: the same
listing scores the same in a stream and in a batch. Equal scores rank by row.

Two questions, two methods: `search` answers for each listing on its own; `join` looks at a whole batch
and also ranks from the fingerprint's side, so one vague fingerprint cannot flood review. An index is
immutable and holds about 8 bytes a term; its rows lie in tiles small enough for a processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from alliance.errors import InvalidInput
from member_agent.fingerprinting.text import TextSketch, columns

STOP_SHARE: Final = 0.05
STOP_FLOOR: Final = 100
"""Documents a term must occur in before STOP_SHARE applies: small banks have no stop terms."""

_TILE_ROWS: Final = 1 << 17
_BLOCK_POSTINGS: Final = 1 << 22

_Integers = NDArray[np.int64]
_Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Pairs of a listing and a fingerprint as parallel arrays, by listing, best first.

    query_row, index_row: positions in the sequences the index was given; score: above 0, at most 1.
    """

    query_row: _Integers
    index_row: _Integers
    score: _Floats

    def __len__(self) -> int:
        return len(self.score)

    def only(self, chosen: NDArray[Any]) -> Matches:
        """The pairs a boolean mask or an array of positions chooses, in its order."""
        return Matches(query_row=self.query_row[chosen], index_row=self.index_row[chosen], score=self.score[chosen])


@dataclass(frozen=True, slots=True)
class TextIndex:
    """An immutable index over a bank's sketches; row numbers are positions in the bank."""

    _vocabulary: NDArray[np.uint32]
    _documents: _Integers
    _rarity: NDArray[np.float64]
    _tiles: tuple[Any, ...]
    _alive: NDArray[np.bool_]

    @classmethod
    def build(cls, sketches: Sequence[TextSketch]) -> TextIndex:
        """Index a bank; a sketch without terms keeps its row and never matches."""
        vocabulary, documents = np.unique(columns(sketches).terms, return_counts=True)
        size = len(sketches)
        rarity = np.log((1 + size) / (1 + np.append(documents, 0))) + 1
        rarity[:-1][documents > max(STOP_FLOOR, STOP_SHARE * size)] = 0
        tiles = (
            _unit_rows(sketches[start : start + _TILE_ROWS], vocabulary, rarity).T.tocsr()
            for start in range(0, size, _TILE_ROWS)
        )
        return cls(vocabulary, documents, rarity, tuple(tiles), np.ones(size, bool))

    def without(self, removed: NDArray[np.bool_]) -> TextIndex:
        """The same index with rows taken out (tombstones); the other rows keep their numbers and scores.

        Raises:
            InvalidInput: `removed` has not one entry per row.
        """
        if removed.shape != self._alive.shape:
            raise InvalidInput(f"{removed.size} marks for an index of {self._alive.size} rows", field="removed")
        return replace(self, _alive=self._alive & ~removed)

    def __len__(self) -> int:
        return len(self._alive)

    def search(self, queries: Sequence[TextSketch], *, threshold: float, top_k: int) -> Matches:
        """Each listing's `top_k` fingerprints that score at least `threshold`, from (0, 1].

        Raises:
            InvalidInput: `threshold` or `top_k` is out of range.
        """
        if not 0 < threshold <= 1:
            raise InvalidInput(f"threshold {threshold} is not in (0, 1]", field="threshold")
        if top_k < 1:
            raise InvalidInput(f"top_k {top_k} is below 1", field="top_k")
        best = [found.only(_place(found.query_row) < top_k) for found in self._scored(queries, threshold=threshold)]
        return _concatenated(
            [found.query_row for found in best],
            [found.index_row for found in best],
            [found.score for found in best],
        )

    def join(
        self,
        queries: Sequence[TextSketch],
        *,
        threshold: float = 0.2,
        per_listing: int = 2,
        per_fingerprint: int = 3,
        within: float = 0.55,
    ) -> Matches:
        """The candidates of one batch: pairs near the best from both sides.

        A listing proposes its `per_listing` best fingerprints, a fingerprint keeps the `per_fingerprint`
        best proposals, and either side drops pairs that score below `within` of its own best one.

        Raises:
            InvalidInput: a bound is out of range.
        """
        if per_fingerprint < 1:
            raise InvalidInput(f"per_fingerprint {per_fingerprint} is below 1", field="per_fingerprint")
        if not 0 <= within <= 1:
            raise InvalidInput(f"within {within} is not in [0, 1]", field="within")
        found = self.search(queries, threshold=threshold, top_k=per_listing)
        found = found.only(_near_best(found.query_row, found.score, within))
        found = found.only(np.lexsort((found.query_row, -found.score, found.index_row)))
        near = _near_best(found.index_row, found.score, within)
        found = found.only(near & (_place(found.index_row) < per_fingerprint))
        return found.only(np.lexsort((found.index_row, -found.score, found.query_row)))

    def _scored(self, queries: Sequence[TextSketch], *, threshold: float) -> Iterator[Matches]:
        """Every pair at or above the threshold, in blocks of whole queries, ordered as in `Matches`."""
        wanted = _unit_rows(queries, self._vocabulary, self._rarity)
        postings = np.append(0, np.cumsum(self._documents[wanted.indices]))[wanted.indptr]
        begin = 0
        while begin < len(queries):
            full = int(np.searchsorted(postings, postings[begin] + _BLOCK_POSTINGS, side="right")) - 1
            end = max(begin + 1, full)
            yield self._block(wanted[begin:end], begin, threshold)
            begin = end

    def _block(self, wanted: Any, first_query: int, threshold: float) -> Matches:
        query_rows, index_rows, scores = [], [], []
        for number, tile in enumerate(self._tiles):
            cosine = wanted @ tile
            hits = np.flatnonzero(cosine.data >= threshold)
            index_row = cosine.indices[hits].astype(np.int64) + number * _TILE_ROWS
            alive = self._alive[index_row]
            query_row = np.searchsorted(cosine.indptr, hits, side="right") - 1 + first_query
            query_rows.append(query_row[alive])
            index_rows.append(index_row[alive])
            scores.append(np.minimum(cosine.data[hits[alive]], np.float32(1)))
        found = _concatenated(query_rows, index_rows, scores)
        return found.only(np.lexsort((found.index_row, -found.score, found.query_row)))


def _unit_rows(sketches: Sequence[TextSketch], vocabulary: NDArray[np.uint32], rarity: NDArray[np.float64]) -> Any:
    """Weighted vectors of length 1 as a float32 CSR array (sketches, vocabulary).

    `rarity` has one entry more than the vocabulary: that of terms outside it, which only add length.
    """
    flat = columns(sketches)
    rows = len(sketches)
    row = np.repeat(np.arange(rows), flat.counts)
    column = np.searchsorted(vocabulary, flat.terms)
    known = np.append(vocabulary, 0)[column] == flat.terms
    known &= column < len(vocabulary)
    column[~known] = len(vocabulary)
    value = flat.weights * rarity[column]
    length = np.sqrt(np.bincount(row, value**2, minlength=rows))
    kept = known & (value > 0)
    row, column = row[kept], column[kept].astype(np.int32)
    starts = np.searchsorted(row, np.arange(rows + 1)).astype(np.int32)
    unit = (value[kept] / length[row]).astype(np.float32)
    return sparse.csr_array((unit, column, starts), shape=(rows, len(vocabulary)))


def _concatenated(
    query_rows: Sequence[_Integers], index_rows: Sequence[_Integers], scores: Sequence[_Floats]
) -> Matches:
    return Matches(
        query_row=np.concatenate([np.empty(0, np.int64), *query_rows]),
        index_row=np.concatenate([np.empty(0, np.int64), *index_rows]),
        score=np.concatenate([np.empty(0, np.float32), *scores]),
    )


def _place(group: _Integers) -> _Integers:
    """Each entry's place, from 0, within its run of equal values; `group` is ascending."""
    return np.arange(len(group)) - np.searchsorted(group, group)


def _near_best(group: _Integers, score: _Floats, within: float) -> NDArray[np.bool_]:
    """Which scores reach `within` of their group's first; `group` is ascending."""
    return score >= np.float32(within) * score[np.searchsorted(group, group)]
