"""What screening finds: a listing like a fingerprint, or one a model takes for a risk, with the reasons; pure.

The score of a result is the greatest of its parts: how like the fingerprint the listing is, and each model's risk. They
measure different things, so nothing is added up: whatever is most telling puts the listing before a reviewer, and the
parts stand beside it. A model that tells classes apart (whose brand is it?) gives reasons and never raises a score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from alliance.names import BankId, Digest

HIT_BUCKETS = (1, 10, 100, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """`score` is 0 to 100; `fingerprint` is "<batch digest hex>:<row>"; `version` names the bank's contents.

    `tlp` says whom its publisher lets it be shown to.
    """

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
    tlp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What models say of a listing: `models` name each with its version, `scores` are 0 to 100 in their order.

    `risk` is the greatest score of a model that judges risk, None where none could.
    """

    risk: int | None = None
    models: tuple[str, ...] = ()
    scores: tuple[int, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A row of the result file; without a fingerprint, it is a model alone that listed the listing.

    `match_score` and `tlp` are the candidate's own; `models` and `model_scores` are `Judged`'s.
    """

    listing: str
    row: int
    score: int
    reasons: tuple[str, ...]
    fingerprint: str = ""
    bank: str = ""
    marks: str = ""
    brand: str = ""
    publisher: str = ""
    version: str = ""
    match_score: int | None = None
    models: tuple[str, ...] = ()
    model_scores: tuple[int, ...] = ()
    tlp: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """`matches` are listings with a candidate, `candidates` the pairs; `scored` those a model scored, `risks` those it
    listed; `problems` name row, field and reason of the first of `problem_count`.

    `versions` are those of the banks, `models` those of the models, by name.
    """

    listings: int = 0
    matches: int = 0
    candidates: int = 0
    scored: int = 0
    risks: int = 0
    images: int = 0
    fingerprints: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    problem_count: int = 0


def matched(candidate: Candidate, judged: Judged) -> Result:
    return Result(
        listing=candidate.listing,
        row=candidate.row,
        score=max(candidate.score, judged.risk or 0),
        reasons=(*candidate.reasons, *judged.reasons),
        fingerprint=candidate.fingerprint,
        bank=candidate.bank,
        marks=candidate.marks,
        brand=candidate.brand,
        publisher=candidate.publisher,
        version=candidate.version,
        match_score=candidate.score,
        models=judged.models,
        model_scores=judged.scores,
        tlp=candidate.tlp,
    )


def flagged(listing: str, row: int, judged: Judged) -> Result:
    return Result(
        listing=listing,
        row=row,
        score=judged.risk or 0,
        reasons=judged.reasons,
        models=judged.models,
        model_scores=judged.scores,
    )


def image_score(distance: int, radius: int) -> int:
    """PDQ distance to a score: 100 for the same picture, 50 at the edge of a match."""
    return round(100 - 50 * distance / radius) if radius else 100


def text_score(cosine: float) -> int:
    return round(100 * min(1.0, max(0.0, cosine)))


def hit_bucket(count: int) -> int:
    """How often a fingerprint matched, as it may be told: the number of its bucket, 1 to 4."""
    return sum(count >= least for least in HIT_BUCKETS)


def model_score(probability: float) -> int:
    return round(100 * min(1.0, max(0.0, probability)))


Hits = Counter[tuple[BankId, Digest, int]]
"""How often each fingerprint, by bank, batch and row, matched."""


def hits(results: Iterable[Result]) -> Hits:
    """Those of the results that have a fingerprint."""
    counted: Hits = Counter()
    for one in results:
        if one.fingerprint:
            head, _, row = one.fingerprint.partition(":")
            counted[(BankId(one.bank), Digest(bytes.fromhex(head)), int(row))] += 1
    return counted
