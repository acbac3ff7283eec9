"""What the log says of models and of the policy: which model is released, which the next round begins from; pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from alliance.canonical import AuditEvent
from alliance.errors import AllianceError
from hub.federation.release import NOTHING, Release, ReleaseMode


class Leaf(NamedTuple):
    digest: bytes
    number: int


@dataclass(slots=True)
class Decided:
    """By the name of the detector, models in the order of their versions; policies by their revision."""

    releases: dict[str, Release] = field(default_factory=lambda: defaultdict(lambda: NOTHING))
    # The newest leaf that bears on a detector's release.
    last: dict[str, int] = field(default_factory=dict)
    models: dict[str, list[Leaf]] = field(default_factory=lambda: defaultdict(list))
    detector_of: dict[str, str] = field(default_factory=dict)
    policies: dict[int, Leaf] = field(default_factory=dict)

    def read(self, event: str, detail: str, leaf: AuditEvent, index: int) -> None:
        subject = leaf.subject
        match event:
            case "detector_proposed":
                self.models[subject] = [Leaf(leaf.digest, index)]
                self._release(subject, NOTHING, index)
            case "detector_approved" | "model_release" if detail in set(ReleaseMode):
                self._release(subject, replace(self.releases[subject], mode=ReleaseMode(detail)), index)
            case "round_planned" if detail:
                self.detector_of[subject] = detail
            case "round_released" if subject in self.detector_of:
                detector = self.detector_of[subject]
                self.models[detector].append(Leaf(leaf.digest, index))
                self._release(detector, self.releases[detector].trained(), index)
            case "model_promoted":
                self._promoted(subject, int(detail), leaf, index)
            case "policy_changed":
                self.policies[int(detail.partition(":")[0])] = Leaf(leaf.digest, index)
            case _:
                pass

    def _promoted(self, detector: str, version: int, leaf: AuditEvent, index: int) -> None:
        """What the hub would have refused, or another model than its round's, leaves the release as no row says it."""
        try:
            release = self.releases[detector].promoted(version)
        except AllianceError:
            release = replace(self.releases[detector], released=-1)
        else:
            if self.models[detector][version].digest != leaf.digest:
                release = replace(release, released=-1)
        self._release(detector, release, index)

    def _release(self, detector: str, release: Release, index: int) -> None:
        self.releases[detector] = release
        self.last[detector] = index
