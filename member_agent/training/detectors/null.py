"""A detector without arrays, for measuring what a round costs when nothing is trained; no entry point names it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from alliance.tensors import Arrays, ArraySpec
from member_agent.catalog.readers.records import Record
from member_agent.training.dataset import HELD_BACK_SHARE, Dataset
from member_agent.training.detector import Settings, Trained
from member_agent.training.reasons import Explained


class NullDetector:
    """Learns nothing and scores every row 0; its one metric is always 1."""

    name = "null"
    metrics: Sequence[str] = ("nothing",)
    settings: ClassVar[Settings] = {}

    def roles(self, settings: Settings) -> Sequence[str]:
        return ()

    def specs(self, settings: Settings) -> tuple[ArraySpec, ...]:
        return ()

    def initial(self, settings: Settings) -> Arrays:
        return {}

    def read(self, rows: Iterable[Record], columns: Mapping[str, str], settings: Settings) -> Dataset:
        count = sum(row.error is None for row in rows)
        every = round(1 / HELD_BACK_SHARE)
        back = (np.arange(count) + 1) % every == 0
        return Dataset(
            features=np.zeros((count, 0)),
            labels=np.zeros(count, dtype=np.int64),
            groups=np.arange(count, dtype=np.uint64),
            parts=np.where(back, 2, 1).astype(np.int8),
        )

    def train(self, arrays: Arrays, data: Dataset, settings: Settings, rng: np.random.Generator) -> Trained:
        return Trained(arrays={}, examples=len(data))

    def evaluate(self, arrays: Arrays, data: Dataset, settings: Settings) -> dict[str, float]:
        return {"nothing": 1.0}

    def blend(self, shared: Arrays, own: Arrays) -> Arrays:
        return {}

    def score(
        self, arrays: Arrays, rows: Iterable[Record], columns: Mapping[str, str], settings: Settings
    ) -> NDArray[np.float64]:
        return np.zeros((sum(1 for _ in rows), 1))

    def explain(
        self,
        arrays: Arrays,
        rows: Iterable[Record],
        columns: Mapping[str, str],
        settings: Settings,
        labels: Iterable[str],
    ) -> list[Explained]:
        return [() for _ in rows]
