"""SipHash-2-4 (Aumasson and Bernstein, INDOCRYPT 2012) of many numbers at once: a keyed function of 64 bits.

Without the key nobody can tell where a feature goes, nor test a guess. Numbers go through in blocks that stay in the
processor's cache.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

KEY_SIZE: Final = 16
_BLOCK: Final = 1 << 14
_START: Final = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
# After eight bytes of input comes their number, in the top byte.
_LENGTH: Final = np.uint64(8 << 56)
_END: Final = np.uint64(0xFF)


def siphash(numbers: NDArray[np.uint64], key: bytes) -> NDArray[np.uint64]:
    """Of each number (n,) as eight bytes, least significant first; `key` has 16."""
    k0, k1 = (int.from_bytes(key[at : at + 8], "little") for at in (0, 8))
    start = [np.uint64(one ^ (k1 if at % 2 else k0)) for at, one in enumerate(_START)]
    found = np.empty_like(numbers)
    for at in range(0, len(numbers), _BLOCK):
        found[at : at + _BLOCK] = _hashed(numbers[at : at + _BLOCK], start)
    return found


def _hashed(word: NDArray[np.uint64], start: list[np.uint64]) -> NDArray[np.uint64]:
    v = [np.full(len(word), one) for one in start]
    spare = np.empty_like(word)
    for block, rounds in ((word, 2), (_LENGTH, 2)):
        v[3] ^= block
        _round(v, spare, rounds)
        v[0] ^= block
    v[2] ^= _END
    _round(v, spare, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _round(v: list[NDArray[np.uint64]], spare: NDArray[np.uint64], times: int) -> None:
    for _ in range(times):
        # A round's two halves: in the first, words 0 and 1 meet, and 2 and 3; in the second 2 and 1, 0 and 3.
        for a, b, c, d, left, right in ((0, 1, 2, 3, 13, 16), (2, 1, 0, 3, 17, 21)):
            v[a] += v[b]
            v[c] += v[d]
            _rotate(v[b], left, spare)
            _rotate(v[d], right, spare)
            v[b] ^= v[a]
            v[d] ^= v[c]
            _rotate(v[a], 32, spare)


def _rotate(value: NDArray[np.uint64], by: int, spare: NDArray[np.uint64]) -> None:
    np.right_shift(value, np.uint64(64 - by), out=spare)
    np.left_shift(value, np.uint64(by), out=value)
    value |= spare
