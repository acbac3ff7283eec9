"""Finds every fingerprint within some Hamming distance of a query: exact, for distances up to 31 of 256 bits.

Small indexes are scanned. Large ones use multi-index hashing (Norouzi, Punjani, Fleet, CVPR 2012): if two values differ
in at most 31 bits, then of 16 chunks of 16 bits at least one differs in at most one bit. So each chunk has a table
from its 65,536 contents to the rows that have them, a query looks 17 contents up in each table, and only rows found
there are compared. Both ways give the same hits; a query whose lookups find too many rows is scanned as well.

An index is immutable: 32 bytes a row, and for large ones 64 more and 4 MiB. `save` writes plain arrays, which `load`
maps, so processes share one copy and an index may be larger than memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from alliance.errors import Corrupt, InvalidInput, NotFound

Values: TypeAlias = NDArray[np.uint8]
Rows: TypeAlias = NDArray[np.int64]

BYTES: Final = 32
MAX_RADIUS: Final = 31
SCAN_UP_TO: Final = 1024  # rows; measured, docs/adr/0004-image-fingerprints.md
FORMAT: Final = "alliance-hamming-1"

_CHUNKS: Final = 16
_CONTENTS: Final = 1 << 16
_ONE_BIT_AT_MOST: Final = np.array([0, *(1 << bit for bit in range(16))], np.int64)
_PAIRS_PER_STEP: Final = 1 << 16
_CROWDED: Final = 1 << 20  # pairs; beyond, one scan is no slower and needs no memory
_QUERIES_PER_BLOCK: Final = 64
_ROWS_PER_BLOCK: Final = 1 << 14
_NPY_HEADER: Final = 128

# Which bit of a value is which bit of a chunk. A picture's hash is a 16 x 16 square of frequencies, and those of one
# row or column go together; a chunk takes one of each. On product photos the likeliest contents are then looked
# up 1.25 times as often as if all were equally likely (bits in order: 2.8, at random: 1.4).
_BIT_ORDER: Final = np.array([16 * row + (5 * row + chunk) % 16 for chunk in range(16) for row in range(16)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Pairs of a query and a row within the radius; parallel arrays in the order of query, distance, row."""

    query_row: Rows
    index_row: Rows
    distance: Rows

    def __len__(self) -> int:
        return len(self.distance)


@dataclass(frozen=True, slots=True)
class ChunkTables:
    """For each chunk, the rows in the order of its contents (`rows`, 16 x N) and where each content's rows start
    (`starts`, 16 x 65,537)."""

    rows: NDArray[np.uint32]
    starts: NDArray[np.uint32]

    @classmethod
    def of(cls, values: Values) -> ChunkTables:
        chunks = np.empty((_CHUNKS, len(values)), np.uint16)
        for first in range(0, len(values), _ROWS_PER_BLOCK):
            block = slice(first, first + _ROWS_PER_BLOCK)
            chunks[:, block] = _chunks(values[block]).T
        rows = np.empty(chunks.shape, np.uint32)
        starts = np.zeros((_CHUNKS, _CONTENTS + 1), np.uint32)
        for chunk, contents in enumerate(chunks):
            rows[chunk] = np.argsort(contents, kind="stable")
            starts[chunk, 1:] = np.cumsum(np.bincount(contents, minlength=_CONTENTS))
        return cls(rows, starts)

    def lookups(self, queries: Values) -> tuple[Rows, Rows]:
        """Where in `rows`, flattened, the rows that may match a query start, and how many: Q x 272 each."""
        contents = _chunks(queries).astype(np.int64)[:, :, np.newaxis] ^ _ONE_BIT_AT_MOST
        chunk = np.arange(_CHUNKS)[:, np.newaxis]
        at = contents + chunk * self.starts.shape[1]
        first = np.take(self.starts, at).astype(np.int64)
        count = np.take(self.starts, at + 1) - first
        return (first + chunk * self.rows.shape[1]).reshape(len(queries), -1), count.reshape(len(queries), -1)

    def rows_of(self, first: Rows, count: Rows) -> Rows:
        """The rows of so many lookups, one after another."""
        ends = np.cumsum(count)
        at = np.arange(ends[-1]) + np.repeat(first - (ends - count), count)
        rows: Rows = np.take(self.rows, at).astype(np.int64)
        return rows


class HammingIndex:
    """An immutable index of N values, N x 32 uint8; rows that are not `alive` (N booleans) are never found."""

    def __init__(
        self, values: Values, alive: NDArray[np.bool_] | None = None, *, tables: ChunkTables | None = None
    ) -> None:
        self._values = np.ascontiguousarray(values, np.uint8).reshape(-1, BYTES)
        self._alive = np.ones(len(self._values), np.bool_) if alive is None else alive
        if tables is None and len(self._values) > SCAN_UP_TO:
            tables = ChunkTables.of(self._values)
        self._tables = tables

    def __len__(self) -> int:
        """The number of rows, alive or not."""
        return len(self._values)

    def with_alive(self, alive: NDArray[np.bool_]) -> HammingIndex:
        """The same rows, others of them alive; nothing is built anew."""
        return HammingIndex(self._values, alive, tables=self._tables)

    def search(self, queries: Values, *, radius: int = MAX_RADIUS) -> Hits:
        """All living rows within `radius` bits of each query, Q x 32 uint8.

        Raises: InvalidInput (RADIUS_TOO_LARGE).
        """
        if not 0 <= radius <= MAX_RADIUS:
            raise InvalidInput(
                f"radius of {radius} bits cannot be searched exactly",
                reason="RADIUS_TOO_LARGE",
                field="radius",
                remedy=f"choose one from 0 to {MAX_RADIUS}",
            )
        queries = np.ascontiguousarray(queries, np.uint8).reshape(-1, BYTES)
        found = [np.empty((3, 0), np.int64)]
        for first in range(0, len(queries), _QUERIES_PER_BLOCK):
            for hits in self._search_block(queries[first : first + _QUERIES_PER_BLOCK], radius):
                hits[0] += first
                found.append(hits[:, self._alive[hits[1]]])
        query, row, distance = np.concatenate(found, axis=1)
        order = np.lexsort((row, distance, query))
        return Hits(query_row=query[order], index_row=row[order], distance=distance[order])

    def _search_block(self, queries: Values, radius: int) -> Iterator[Rows]:
        """Hits as 3 x H: query, row, distance; each pair once."""
        scanned = np.ones(len(queries), np.bool_)
        if self._tables is not None:
            first, count = self._tables.lookups(queries)
            scanned = count.sum(axis=1) > _CROWDED
            count[scanned] = 0
            for step in _steps(count.sum(axis=1)):
                rows = self._tables.rows_of(first[step].ravel(), count[step].ravel())
                query = np.repeat(np.arange(step.start, step.stop), count[step].sum(axis=1))
                yield _distinct(self._compare(queries, query, rows, radius))
        if scanned.any():
            which = np.flatnonzero(scanned)
            for hits in self._scan(queries[which], radius):
                hits[0] = which[hits[0]]
                yield hits

    def _compare(self, queries: Values, query: Rows, row: Rows, radius: int) -> Rows:
        """The pairs within the radius. Half of a value almost always tells, so the other half is rarely read."""
        theirs, ours = _halves(queries), _halves(self._values)
        distance = _differing_bits(np.take(theirs, 2 * query), np.take(ours, 2 * row))
        near = np.flatnonzero(distance <= radius)
        query, row = query[near], row[near]
        distance = distance[near] + _differing_bits(np.take(theirs, 2 * query + 1), np.take(ours, 2 * row + 1))
        within = distance <= radius
        return np.stack((query[within], row[within], distance[within]))

    def _scan(self, queries: Values, radius: int) -> Iterator[Rows]:
        size = _PAIRS_PER_STEP // len(queries)
        words, left = self._values.view(np.uint64), queries.view(np.uint64)[:, np.newaxis]
        for first in range(0, len(self), size):
            distance = _ones(left ^ words[first : first + size])
            query, row = np.nonzero(distance <= radius)
            yield np.stack((query, row + first, distance[query, row]))

    def save(self, folder: Path) -> None:
        """Writes the index; one already there is replaced, and those who have it mapped keep what they have."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, NDArray[Any]] = {"values": self._values, "alive": self._alive}
        if self._tables is not None:
            arrays |= {"rows": self._tables.rows, "starts": self._tables.starts}
        digests = {}
        for name, array in arrays.items():
            temporary = folder / f"{name}.new.npy"
            np.save(temporary, array, allow_pickle=False)
            digests[name] = _digest(temporary)
            temporary.replace(folder / f"{name}.npy")
        header = folder / "header.new.json"
        header.write_text(json.dumps({"format": FORMAT, "sha256": digests}, indent=1, sort_keys=True) + "\n")
        header.replace(folder / "header.json")

    @classmethod
    def load(cls, folder: Path) -> HammingIndex:
        """Maps a saved index, after comparing each file with its digest (1 million rows: 0.1 s).

        Raises: NotFound (INDEX_MISSING), Corrupt (INDEX_CORRUPT); in both cases build it again.
        """
        try:
            header = json.loads((folder / "header.json").read_text())
            if header["format"] != FORMAT:
                raise _corrupt(folder, f"its format is {header['format']!r}")
            arrays = {name: _mapped(folder / f"{name}.npy", digest) for name, digest in header["sha256"].items()}
            tables = ChunkTables(arrays["rows"], arrays["starts"]) if "rows" in arrays else None
            return cls(arrays["values"], arrays["alive"], tables=tables)
        except FileNotFoundError as error:
            raise NotFound(f"no index in {folder}", reason="INDEX_MISSING", remedy=_REBUILD) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _corrupt(folder, str(error)) from error


_REBUILD: Final = "build it again from the synced banks"


def _chunks(values: Values) -> NDArray[np.uint16]:
    """The contents of the 16 chunks of N values, N x 16."""
    bits = np.take(np.unpackbits(values, axis=1), _BIT_ORDER, axis=1)
    return np.packbits(bits, axis=1).view(np.uint16)


def _halves(values: Values) -> NDArray[np.void]:
    """N values as 2N opaque halves: taking 16 bytes as one item is several times as fast as taking two words."""
    return values.view("V16").ravel()


def _differing_bits(left: NDArray[np.void], right: NDArray[np.void]) -> NDArray[np.int16]:
    return _ones((left.view(np.uint64) ^ right.view(np.uint64)).reshape(-1, 2))


def _ones(words: NDArray[np.uint64]) -> NDArray[np.int16]:
    """The number of bits set along the last axis."""
    counts = np.bitwise_count(words)
    total = counts[..., 0].astype(np.int16)
    for word in range(1, words.shape[-1]):
        total += counts[..., word]
    return total


def _distinct(hits: Rows) -> Rows:
    """Each pair once: a near pair agrees in many chunks."""
    _, first = np.unique(hits[:2], axis=1, return_index=True)
    return hits[:, first]


def _steps(pairs: Rows) -> Iterator[slice]:
    """Runs of queries that make a step's worth of pairs, or are one query that makes more."""
    start, total = 0, 0
    for query, count in enumerate(pairs.tolist()):
        if total + count > _PAIRS_PER_STEP and query > start:
            yield slice(start, query)
            start, total = query, 0
        total += count
    if total:
        yield slice(start, len(pairs))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mapped(path: Path, digest: str) -> NDArray[Any]:
    if _digest(path) != digest:
        raise _corrupt(path, "its bytes do not match their digest")
    empty = path.stat().st_size <= _NPY_HEADER  # which cannot be mapped
    return np.asarray(np.load(path, mmap_mode=None if empty else "r", allow_pickle=False))


def _corrupt(path: Path, why: str) -> Corrupt:
    return Corrupt(f"index {path} is damaged: {why}", reason="INDEX_CORRUPT", remedy=_REBUILD)
