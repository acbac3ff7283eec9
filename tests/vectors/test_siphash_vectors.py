"""SipHash-2-4 of eight bytes: the vector of the reference implementation, and the paper's formula word by word."""

from __future__ import annotations

import random

import numpy as np

from member_agent.training.siphash import siphash

_ALL = (1 << 64) - 1


def test_the_reference_implementations_vector_of_eight_bytes() -> None:
    """vectors.h of the reference implementation: key 00 01 ... 0f, input 00 01 ... 07."""
    number = np.frombuffer(bytes(range(8)), dtype="<u8")
    assert siphash(number, bytes(range(16))).astype("<u8").tobytes().hex() == "6224939a79f5f593"


def test_many_numbers_are_each_hashed_as_the_paper_says() -> None:
    draw = random.Random(5)
    key = draw.randbytes(16)
    # More than a block, and one block that is not full.
    numbers = np.frombuffer(draw.randbytes(8 * 40_000), dtype="<u8").astype(np.uint64)
    made = siphash(numbers, key)
    for at in (0, 1, 16_383, 16_384, 32_768, 39_999):
        assert int(made[at]) == _plain(int(numbers[at]), key)
    assert siphash(np.empty(0, np.uint64), key).shape == (0,)


def _plain(word: int, key: bytes) -> int:
    """Section 2 of Aumasson and Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rotated(value: int, by: int) -> int:
        return (value << by | value >> (64 - by)) & _ALL

    def sip_round() -> None:
        v[0] = (v[0] + v[1]) & _ALL
        v[1] = rotated(v[1], 13) ^ v[0]
        v[0] = rotated(v[0], 32)
        v[2] = (v[2] + v[3]) & _ALL
        v[3] = rotated(v[3], 16) ^ v[2]
        v[0] = (v[0] + v[3]) & _ALL
        v[3] = rotated(v[3], 21) ^ v[0]
        v[2] = (v[2] + v[1]) & _ALL
        v[1] = rotated(v[1], 17) ^ v[2]
        v[2] = rotated(v[2], 32)

    for block in (word, 8 << 56):
        v[3] ^= block
        sip_round()
        sip_round()
        v[0] ^= block
    v[2] ^= 0xFF
    for _ in range(4):
        sip_round()
    return v[0] ^ v[1] ^ v[2] ^ v[3]
