"""One figure: ours beside a peer, with the target it is held to."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measured figure.

    `ratio` is ours / peer. `target` bounds `judged` ("ratio" or "ours") from below (`at_least`) or
    above (`at_most`); a figure without target, or whose target is defined only at full size in a quick
    run (`full_only`), holds nothing (`holds: null`).
    """

    name: str
    ours: float
    unit: str
    method: str
    peer: float | None = None
    peer_name: str = ""
    target: float | None = None
    judged: Literal["ratio", "ours"] = "ratio"
    bound: Literal["at_least", "at_most"] = "at_least"
    full_only: bool = False

    @property
    def ratio(self) -> float | None:
        return None if self.peer is None or self.peer == 0 else self.ours / self.peer

    def holds(self, *, quick: bool) -> bool | None:
        value = self.ratio if self.judged == "ratio" else self.ours
        if self.target is None or value is None or (quick and self.full_only):
            return None
        return value >= self.target if self.bound == "at_least" else value <= self.target

    def as_json(self, *, quick: bool) -> str:
        row = asdict(self)
        del row["full_only"]
        ratio = self.ratio
        row["ratio"] = None if ratio is None else round(ratio, 4)
        row["ours"] = round(self.ours, 6)
        row["holds"] = self.holds(quick=quick)
        row["quick"] = quick
        return json.dumps(row, sort_keys=True)
