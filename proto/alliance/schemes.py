"""Fingerprint schemes: what a bank's values are, and how two of them are compared."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from alliance.errors import InvalidInput


class Distance(StrEnum):
    HAMMING = "hamming"
    COSINE = "cosine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """`width` is a value's size in bytes, 0 where values vary; `threshold` is the default for a match:
    at most so many bits for Hamming, at least so much for cosine."""

    id: str
    width: int
    distance: Distance
    threshold: float
    source: str


PDQ = Scheme(
    id="pdq-256",
    width=32,
    distance=Distance.HAMMING,
    threshold=31,
    source="PDQ, ThreatExchange hashing.pdf (2019): match at <= 31 of 256 bits",
)
TERMS = Scheme(
    id="terms-v1",
    width=0,
    distance=Distance.COSINE,
    threshold=0.2,
    source="weighted keyed term hashes, docs/adr/0003-text-sketches.md",
)
SCHEMES = {scheme.id: scheme for scheme in (PDQ, TERMS)}


def scheme(scheme_id: str, *, field: str = "scheme") -> Scheme:
    """Raises: InvalidInput."""
    try:
        return SCHEMES[scheme_id]
    except KeyError:
        raise InvalidInput(
            f"unknown scheme {scheme_id[:40]!r}",
            reason="SCHEME_UNKNOWN",
            field=field,
            remedy=f"use one of {', '.join(sorted(SCHEMES))}",
        ) from None
