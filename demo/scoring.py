"""How well screening did, against what is known to be true; pure.

Text, as entity resolution measures candidate generation (Papadakis et al.; Christen, Data Matching, 2012): pair
completeness PC = true pairs among the candidates / all true pairs, pair quality PQ = true pairs among the candidates /
candidates. Pictures: recall for each transform, and false matches, where any match of a picture nobody published and
any match with another product's picture is false.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Pair(NamedTuple):
    """A listing and the product it offers, or is said to offer, by their owners' own keys."""

    product: str
    listing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScore:
    """`found` of the `true_pairs` are among `candidates` distinct pairs."""

    true_pairs: int
    candidates: int
    found: int

    @property
    def pc(self) -> float:
        return _share(self.found, self.true_pairs)

    @property
    def pq(self) -> float:
        return _share(self.found, self.candidates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """An altered picture put up for screening. `photo` is the published product it shows, "" if nobody published it."""

    listing: str
    transform: str
    photo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageScore:
    """`found` and `copies` count copies of published pictures, by transform; `false_matches` counts pairs."""

    found: dict[str, int]
    copies: dict[str, int]
    strangers: int
    false_matches: int

    @property
    def recall(self) -> float:
        return _share(sum(self.found.values()), sum(self.copies.values()))

    @property
    def by_transform(self) -> dict[str, float]:
        return {name: _share(self.found[name], copies) for name, copies in self.copies.items()}


def score_text(candidates: Iterable[Pair], truth: Collection[Pair]) -> TextScore:
    """Scores distinct candidate pairs against the pairs known to be true."""
    distinct, true = set(candidates), set(truth)
    return TextScore(true_pairs=len(true), candidates=len(distinct), found=len(distinct & true))


def score_images(matches: Iterable[Pair], copies: Sequence[Copy]) -> ImageScore:
    """Scores distinct matches of copies. A match of a listing that is no copy is false, like any unexpected one."""
    distinct = set(matches)
    expected = {Pair(copy.photo, copy.listing): copy.transform for copy in copies if copy.photo}
    hits = Counter(expected[pair] for pair in distinct if pair in expected)
    shown = Counter(expected.values())
    return ImageScore(
        found={name: hits[name] for name in sorted(shown)},
        copies=dict(sorted(shown.items())),
        strangers=sum(1 for copy in copies if not copy.photo),
        false_matches=sum(1 for pair in distinct if pair not in expected),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
