"""Who takes part and what each has: files on disk, one folder a member, and what is known to be true of them.

`real_data` and `generated_data` lay a world out; `scenario` plays it and knows no other difference between them. A
member's processes are shown its own files only. The truth (pairs, copies) is never written where one could read it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo.scoring import Copy, Pair

# The two banks, the groups that share them, and the sources of a member's catalogue that are published into them.
TITLES: Final = "titles"
PHOTOS: Final = "photos"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberPlan:
    """One member, what it holds in words, and its files.

    catalogue: its products, published as text fingerprints.
    photos: a folder of its product photos, published as image fingerprints.
    listings: offers on its platform, screened against everybody's titles.
    offers: offers with pictures, screened against everybody's photos.
    """

    name: str
    role: str
    holds: str
    catalogue: Path | None = None
    photos: Path | None = None
    listings: Path | None = None
    offers: Path | None = None

    @property
    def groups(self) -> list[str]:
        """The groups it belongs to: those whose bank it publishes into or screens against."""
        shares = {TITLES: self.catalogue or self.listings, PHOTOS: self.photos or self.offers}
        return [group for group, path in shares.items() if path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A detector that members train together, each on its own file; all of them share the bank of titles.

    source: what the rows are, in words.
    metric: by which gains are told.
    columns: the files' columns, named as the detector names their roles.
    settings: of the detector's code, NAME=NUMBER.
    """

    detector: str
    source: str
    metric: str
    rounds: int
    columns: Sequence[str]
    settings: Sequence[str]
    files: Mapping[str, Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """`true_pairs` are between all catalogues and the listings of the member `scored`.

    Other listings have no known truth. `titles` are those of all catalogues.
    """

    generated: bool
    source: str
    members: Sequence[MemberPlan]
    scored: str
    true_pairs: frozenset[Pair]
    copies: Sequence[Copy]
    titles: Sequence[str]
    trainings: Sequence[Training]


def write_table(path: Path, rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> Path:
    """Writes these columns of the rows as CSV, making the folder. Returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path
