"""What the demo found, and the document `--json` writes; its shape is `result.schema.json`, beside this file."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from alliance import release
from alliance.errors import InvalidInput
from demo.agent_cli import Gain
from demo.at_the_hub import AtTheHub
from demo.scoring import ImageScore, TextScore

SCHEMA = Path(__file__).with_name("result.schema.json")
_ROUND = 4
_NAMED_VERSIONS = ("cryptography", "flwr", "grpcio", "numpy", "pillow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member, what it holds in words, and the bytes that left its agent by type."""

    name: str
    role: str
    holds: str
    sent: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Screening:
    """A marketplace's listings against one bank: `matches` of them have a candidate; `file` has all the `pairs`."""

    member: str
    bank: str
    listings: int
    matches: int
    pairs: int
    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What each member gained by a detector; `source` says in words what its rows are.

    `pooled` is what a model of all their rows in one place would have reached, which the demo alone can make: the mean
    over members, as that of `gains`.
    """

    detector: str
    source: str
    rounds: int
    metric: str
    gains: Mapping[str, Gain]
    pooled: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The audit log as the regulator saw it; `root` in hex."""

    size: int
    verified: bool
    root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All of it. `published` counts fingerprints by bank; of `matched` their publishers were told, in buckets."""

    generated: bool
    source: str
    members: Sequence[Member]
    published: Mapping[str, int]
    screenings: Sequence[Screening]
    text: TextScore
    images: ImageScore
    matched: int
    learnt: Sequence[Learnt]
    log: Log
    at_the_hub: AtTheHub
    seconds: float

    @property
    def sent(self) -> dict[str, int]:
        """Bytes that left any agent, by type, most first."""
        total: Counter[str] = Counter()
        for member in self.members:
            total.update(member.sent)
        return dict(total.most_common())


def document(outcome: Outcome) -> dict[str, Any]:
    """The result as JSON values."""
    return {
        "generated": outcome.generated,
        "seconds": round(outcome.seconds, 1),
        "versions": {"alliance": release.VERSION, "python": platform.python_version()}
        | {name: version(name) for name in _NAMED_VERSIONS},
        "members": [{"name": f"members/{one.name}", "role": one.role} for one in outcome.members],
        "fingerprints_published": sum(outcome.published.values()),
        "listings_screened": sum(one.listings for one in outcome.screenings),
        "matches": sum(one.matches for one in outcome.screenings),
        "text": {
            "pc": round(outcome.text.pc, _ROUND),
            "pq": round(outcome.text.pq, _ROUND),
            "candidates": outcome.text.candidates,
        },
        "images": {
            "recall": round(outcome.images.recall, _ROUND),
            "false_matches": outcome.images.false_matches,
            "by_transform": {name: round(share, _ROUND) for name, share in outcome.images.by_transform.items()},
        },
        "federation": {one.detector: _federation(one) for one in outcome.learnt},
        "audit": {"size": outcome.log.size, "verified": outcome.log.verified},
        "egress": {"bytes": sum(outcome.sent.values()), "by_type": outcome.sent},
    }


def _federation(learnt: Learnt) -> dict[str, Any]:
    return {
        "rounds": learnt.rounds,
        "metric": learnt.metric,
        "members": {
            f"members/{name}": {at: round(getattr(gain, at), _ROUND) for at in ("local", "federated", "blended")}
            for name, gain in learnt.gains.items()
        },
        "pooled": round(learnt.pooled, _ROUND),
    }


def writable(path: Path) -> Path:
    """The absolute path. Raises: InvalidInput, before minutes of work rather than after them."""
    target = path.absolute()
    if not target.parent.is_dir() or target.is_dir():
        raise InvalidInput(f"cannot write {path}", field="--json", remedy="name a file in a folder that exists")
    return target


def write(outcome: Outcome, path: Path) -> None:
    path.write_text(json.dumps(document(outcome), indent=2) + "\n", "utf-8")
