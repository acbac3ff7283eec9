"""What a runner is given to aggregate under a lease, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from alliance.names import MemberId
from hub.blobs.model import StoredBlob
from hub.federation.model import Detector, Round

# A runner that has not renewed its lease for so long is taken for dead; if it is not, it saves nothing.
LEASE = 60 * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the runner aggregates: the round and its detector as they were, and the lease's epoch."""

    round: Round
    detector: Detector
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it: the new model and the strategy's state, or the reason it failed; `refused` by member."""

    model: StoredBlob | None = None
    state: StoredBlob | None = None
    refused: tuple[tuple[MemberId, str], ...] = ()
    failure: str = ""
