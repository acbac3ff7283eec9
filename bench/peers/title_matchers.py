"""Title matching as others do it, written plainly: TF-IDF over character n-grams, and one-bit MinHash."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

MINHASH_BITS: Final = 256
_BLOCK: Final = 256


def tfidf(catalogue: Sequence[str], listings: Sequence[str]) -> tuple[Any, Any]:
    """Two CSR matrices of unit TF-IDF vectors over the character 3- to 5-grams of lower-case texts."""
    vocabulary: dict[str, int] = {}
    counted = []
    for texts in (catalogue, listings):
        rows, columns = [], []
        for row, text in enumerate(texts):
            low = text.lower()
            grams = [low[at : at + size] for size in (3, 4, 5) for at in range(len(low) - size + 1)]
            columns += [vocabulary.setdefault(gram, len(vocabulary)) for gram in grams]
            rows += [row] * len(grams)
        counted.append((np.array(rows), np.array(columns), len(texts)))
    shape = len(vocabulary)
    matrices = [
        sparse.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(size, shape))
        for rows, columns, size in counted
    ]
    documents = sum(np.bincount(matrix.indices, minlength=shape) for matrix in matrices)
    idf = np.log((1 + sum(matrix.shape[0] for matrix in matrices)) / (1 + documents)) + 1
    left, right = (_unit(matrix * idf.astype(np.float32)) for matrix in matrices)
    return left, right


def tfidf_best(catalogue: Any, listings: Any) -> NDArray[np.int64]:
    """The listing most like each catalogue row, of the matrices `tfidf` gives."""
    turned = listings.T.tocsr()
    blocks = [
        (catalogue[start : start + _BLOCK] @ turned).toarray().argmax(axis=1)
        for start in range(0, catalogue.shape[0], _BLOCK)
    ]
    return np.concatenate(blocks)


def minhash(texts: Sequence[str]) -> NDArray[np.uint8]:
    """256 one-bit MinHashes over each text's character 3-grams; shape (n, 32)."""
    random = np.random.default_rng(1)
    factor = random.integers(1, 1 << 32, MINHASH_BITS, dtype=np.uint32) | np.uint32(1)
    shift = random.integers(0, 1 << 32, MINHASH_BITS, dtype=np.uint32)
    least = np.empty((len(texts), MINHASH_BITS), np.uint32)
    for row, text in enumerate(texts):
        low = text.lower().encode()
        grams = [zlib.crc32(low[at : at + 3]) for at in range(max(1, len(low) - 2))]
        (np.array(grams, np.uint32)[:, None] * factor + shift).min(axis=0, out=least[row])
    return np.packbits((least >> np.uint32(16) & np.uint32(1)).astype(bool), axis=1)


def minhash_best(catalogue: NDArray[np.uint8], listings: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The listing fewest bits away from each catalogue row."""
    wide = listings.view(np.uint64)
    return np.array([np.bitwise_count(wide ^ row).sum(axis=1).argmin() for row in catalogue.view(np.uint64)], np.int64)


def _unit(matrix: Any) -> Any:
    length = np.sqrt(matrix.power(2).sum(axis=1))
    return sparse.csr_array(matrix / np.maximum(length, np.float32(1e-9))[:, None])
