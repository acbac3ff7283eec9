"""A candidate: one listing, one fingerprint, a score, and the reasons a reviewer sees; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from alliance.names import BankId, Digest

HIT_BUCKETS = (1, 10, 100, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """`score` is 0 to 100; `fingerprint` is "<batch digest hex>:<row>"; `version` names the bank's contents."""

    listing: str
    row: int
    score: int
    reasons: tuple[str, ...]
    fingerprint: str
    bank: BankId
    marks: str
    brand: str
    publisher: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """`matches` are listings with a candidate, `candidates` the pairs; `problems` name row, field and reason."""

    listings: int = 0
    matches: int = 0
    candidates: int = 0
    images: int = 0
    fingerprints: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def image_score(distance: int, radius: int) -> int:
    """PDQ distance to a score: 100 for the same picture, 50 at the edge of a match."""
    return round(100 - 50 * distance / radius) if radius else 100


def text_score(cosine: float) -> int:
    return round(100 * min(1.0, max(0.0, cosine)))


def hit_bucket(count: int) -> int:
    """How often a fingerprint matched, as it may be told: the number of its bucket, 1 to 4."""
    return sum(count >= least for least in HIT_BUCKETS)


def hits(candidates: Iterable[Candidate]) -> dict[tuple[BankId, Digest, int], int]:
    """Candidates per fingerprint."""
    counted: Counter[tuple[BankId, Digest, int]] = Counter()
    for candidate in candidates:
        head, _, row = candidate.fingerprint.partition(":")
        counted[(candidate.bank, Digest(bytes.fromhex(head)), int(row))] += 1
    return dict(counted)
