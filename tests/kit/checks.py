"""What an agent checks of what a hub tells it, recomputed from `alliance` alone."""

from __future__ import annotations

from collections.abc import Iterable

from alliance import entries
from alliance.canonical import CHAIN_START
from alliance.v1 import fingerprint_pb2 as pb


def recomputed_head(found: Iterable[pb.BankEntry]) -> tuple[int, bytes]:
    """The head that these entries give; raises AssertionError where one does not follow from the last."""
    seq, digest = 0, bytes(CHAIN_START)
    for entry in found:
        digest = entries.chain(digest, entry)
        assert (entry.seq, entry.chain_digest) == (seq + 1, digest)
        seq = entry.seq
    return seq, digest
