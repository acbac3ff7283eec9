"""URLs with labels, dealt to members so that they differ and never share a domain.

Two hosts with the same last two labels go to the same member. That is coarser than what registries sell (all of
`co.uk` is one), so it keeps too much together rather than too little; each agent's own split then keeps a registrable
domain on one side, training or held back.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from alliance.errors import InvalidInput
from demo.world import Training, write_table

METRIC: Final = "pr_auc"
_LINE = re.compile(r'"(.*)",\s*([01])\.0\s*$')
_SEED = 1994
_ALIKE = 2.0
_MOST_OF_A_DOMAIN = 60


class Labelled(NamedTuple):
    """`label` is "1" where the URL is a risk, "0" where not."""

    url: str
    label: str


def phishstorm(folder: Path) -> list[Labelled]:
    """Marchal et al., IEEE TNSM 2014: 1 is phishing. The quotes are no CSV's: backslashes stand before some commas.

    Raises:
        InvalidInput: no line has a URL and a label.
    """
    lines = (line for path in sorted(folder.glob("*.csv")) for line in path.read_text("utf-8", "replace").splitlines())
    rows = [Labelled(found[1], found[2]) for line in lines if (found := _LINE.match(line))]
    if not rows:
        raise InvalidInput(f"{folder} has no labelled URLs", reason="DATA_EMPTY", remedy="restore the data set")
    return rows


def thin(rows: Sequence[Labelled], count: int) -> list[Labelled]:
    """About `count` rows of domains drawn at random, of each domain no more than a few dozen."""
    domains = _by_domain(rows)
    names = sorted(domains)
    random.Random(_SEED).shuffle(names)
    kept: list[Labelled] = []
    for name in names:
        if len(kept) >= count:
            break
        kept += domains[name][:_MOST_OF_A_DOMAIN]
    return kept


def deal(rows: Sequence[Labelled], members: Sequence[str]) -> dict[str, list[Labelled]]:
    """Each member's rows: a domain goes to a member drawn with that member's own share of such domains.

    The shares are drawn from a Dirichlet distribution for each label, so members differ in size and in their mix.
    """
    rng = random.Random(_SEED)
    domains = _by_domain(rows)
    shares = {label: [rng.gammavariate(_ALIKE, 1.0) for _ in members] for label in ("0", "1")}
    dealt: dict[str, list[Labelled]] = {name: [] for name in members}
    for domain in sorted(domains):
        mostly = Counter(row.label for row in domains[domain]).most_common(1)[0][0]
        (member,) = rng.choices(members, shares[mostly])
        dealt[member] += domains[domain]
    return dealt


def training(dealt: dict[str, list[Labelled]], folder: Path, *, source: str) -> Training:
    """Writes each member's rows into its folder: the detector `url-risk` on them."""
    columns = ("url", "label")
    return Training(
        detector="url-risk",
        source=source,
        metric=METRIC,
        rounds=4,
        columns=columns,
        settings=("bits=16", "epochs=3"),
        files={
            name: write_table(folder / name / "urls.csv", (row._asdict() for row in rows), columns)
            for name, rows in dealt.items()
        },
    )


def domain(url: str) -> str:
    """The last two labels of the host, in lower case."""
    host = re.split(r"[/?#\\]", url.partition("://")[2] if "://" in url else url, maxsplit=1)[0]
    name = host.rpartition("@")[2].partition(":")[0].strip(".").lower()
    return ".".join(name.split(".")[-2:])


def _by_domain(rows: Sequence[Labelled]) -> dict[str, list[Labelled]]:
    found: defaultdict[str, list[Labelled]] = defaultdict(list)
    for row in rows:
        found[domain(row.url)].append(row)
    return dict(found)
