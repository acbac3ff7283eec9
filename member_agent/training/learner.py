"""One member's part in one detector: its rows, read once and split, and what it would reach alone.

Alone means the same detector from its initial arrays on the member's own training rows, trained as long as the shared
model: as many times in a row as the round's number says, judged on the same held-back rows. Blended is halfway
between the two, which a member can make for itself: what all learnt, without giving up what is particular to its own
rows ("mixture of global and local models", Hanzely and Richtarik 2020; docs/adr/0012 says why halfway).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from alliance.tensors import Arrays
from member_agent.training.dataset import Dataset, split
from member_agent.training.detector import PROXIMAL_MU, SERVER_ROUND, Detector, Settings, Trained, settle

MOST_ALONE = 100
"""Trainings of the own model at most: it has long settled, and a process that starts anew does them all at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The shared model, the member's own, and the blend of them on the member's held-back rows."""

    examples: int
    shared: Mapping[str, float]
    alone: Mapping[str, float]
    blended: Mapping[str, float]


class Learner:
    """Reads the rows at the first task, and again only if the detector's own settings change.

    Args:
        read: gives the data set for the detector's settings.
        seed: the member's own; with the round's number it seeds every training.
        alone_rounds: how many times the own model is trained, where it is not for a round's number to say.
    """

    def __init__(
        self,
        detector: Detector,
        read: Callable[[Settings], Dataset],
        *,
        seed: int = 0,
        alone_rounds: int | None = None,
    ) -> None:
        self.detector = detector
        self._read = read
        self._seed = seed
        self._alone_rounds = alone_rounds
        self._own: dict[str, float] | None = None
        self._data: tuple[Dataset, Dataset] | None = None
        # After how many trainings, and what they made.
        self._alone: tuple[int, Arrays] | None = None

    def train(self, arrays: Arrays, given: Settings, number: int) -> Trained:
        """Raises: InvalidInput, FailedPrecondition (NO_DATA)."""
        settings, (rows, _) = self._prepare(given)
        rng = np.random.default_rng((self._seed, number))
        return self.detector.train(arrays, rows, settings, rng)

    def evaluate(self, arrays: Arrays, given: Settings) -> Evaluation:
        """Raises: InvalidInput, FailedPrecondition (NO_DATA)."""
        settings, (_, held_back) = self._prepare(given)
        return Evaluation(
            examples=len(held_back),
            shared=self.detector.evaluate(arrays, held_back, settings),
            alone=self.detector.evaluate(self.alone(given), held_back, settings),
            blended=self.detector.evaluate(self.blended(arrays, given), held_back, settings),
        )

    def alone(self, given: Settings) -> Arrays:
        """The member's own model, from where an earlier round left it; without FedProx's term, the federation's."""
        settings, (rows, _) = self._prepare(given)
        own = {name: value for name, value in settings.items() if name != PROXIMAL_MU}
        rounds = self._alone_rounds
        if rounds is None:
            rounds = min(int(given.get(SERVER_ROUND, 0)), MOST_ALONE)
        if self._alone is None or self._alone[0] > rounds:
            self._alone = 0, self.detector.initial(own)
        done, arrays = self._alone
        for number in range(done + 1, rounds + 1):
            rng = np.random.default_rng((self._seed, number))
            arrays = self.detector.train(arrays, rows, own, rng).arrays
        self._alone = rounds, arrays
        return arrays

    def blended(self, shared: Arrays, given: Settings) -> Arrays:
        """Halfway between the shared model and the member's own."""
        return self.detector.blend(shared, self.alone(given))

    def data(self, given: Settings) -> tuple[Dataset, Dataset]:
        """Training rows and held-back rows."""
        return self._prepare(given)[1]

    def _prepare(self, given: Settings) -> tuple[dict[str, float], tuple[Dataset, Dataset]]:
        settings = settle(self.detector, given)
        own = {name: value for name, value in settings.items() if name not in (PROXIMAL_MU, SERVER_ROUND)}
        if self._data is None or self._own != own:
            self._data, self._own, self._alone = split(self._read(own)), own, None
        return settings, self._data
