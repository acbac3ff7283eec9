"""Two sets of real URLs dealt to members so that they differ, no registrable domain to two of them.

A domain goes to one member, drawn with that member's own share of what the domain mostly holds (label or brand): a
Dirichlet draw for each kind, so members differ in size and in what they see. Nothing here resolves a URL.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from member_agent.training.dataset import host, registrable_domain

_LINE = re.compile(r'"(.*)",\s*([01])\.0\s*$')


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """`part` is "" where the member's own hash is to split."""

    url: str
    label: str
    part: str = ""


def phishstorm(folder: Path) -> list[Labelled]:
    """Marchal et al., IEEE TNSM 2014: label 1 is phishing."""
    lines = (line for path in sorted(folder.glob("*.csv")) for line in path.open(encoding="utf-8", errors="replace"))
    return [Labelled(url=found[1], label=found[2]) for line in lines if (found := _LINE.match(line))]


def jpcert(folder: Path, *, brands: int, first_held_back: str) -> list[Labelled]:
    """The most frequent brands of the training months; months from `first_held_back` (YYYYMM) on are held back.

    Held-back rows whose domain occurs in a training month are left out, and so are repeated URLs.
    """
    rows = list(_months(folder))
    early = [(url, brand) for month, url, brand in rows if month < first_held_back]
    kept = {brand for brand, _ in Counter(brand for _, brand in early).most_common(brands)}
    known = {registrable_domain(host(url)) for url, _ in early}
    found: dict[str, Labelled] = {}
    for month, url, brand in rows:
        late = month >= first_held_back
        if brand in kept and not (late and registrable_domain(host(url)) in known):
            found.setdefault(url, Labelled(url=url, label=brand, part="held-back" if late else "train"))
    return list(found.values())


def _months(folder: Path) -> Iterator[tuple[str, str, str]]:
    for path in sorted(folder.glob("*/*.csv")):
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            for row in csv.DictReader(file):
                url, brand = (row.get("URL") or "").strip(), (row.get("description") or "").strip()
                if url and brand and host(url):
                    yield path.stem, url, brand


def thin(rows: Sequence[Labelled], every: int) -> list[Labelled]:
    """Every `every`-th domain with all of its rows."""
    domains = [registrable_domain(host(row.url)) for row in rows]
    kept = set(sorted(set(domains))[::every])
    return [row for row, domain in zip(rows, domains, strict=True) if domain in kept]


def deal(rows: Sequence[Labelled], *, members: int, concentration: float, seed: int) -> list[list[Labelled]]:
    """Each member's rows; the smaller the concentration, the more members differ."""
    domains: dict[str, list[Labelled]] = defaultdict(list)
    for row in rows:
        domains[registrable_domain(host(row.url))].append(row)
    rng = np.random.default_rng(seed)
    kinds = {name: Counter(row.label for row in found).most_common(1)[0][0] for name, found in domains.items()}
    shares = {kind: rng.dirichlet([concentration] * members) for kind in sorted(set(kinds.values()))}
    dealt: list[list[Labelled]] = [[] for _ in range(members)]
    for name in sorted(domains):
        dealt[int(rng.choice(members, p=shares[kinds[name]]))].extend(domains[name])
    return dealt
