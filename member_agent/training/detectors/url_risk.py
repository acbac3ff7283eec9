"""url-risk: is this URL an impersonating shop or a phishing page? A logistic model over hashed n-grams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from alliance.tensors import Arrays, ArraySpec
from member_agent.catalog.readers.records import Record
from member_agent.training import logistic, metrics, reasons, url_rows
from member_agent.training.dataset import LABEL, Dataset
from member_agent.training.detector import KEY_EPOCH, Settings, Trained, writable
from member_agent.training.reasons import Explained
from member_agent.training.siphash import KEY_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlRisk:
    """Arrays `w` float32 (2^bits,) and `b` float32 (1,); label 1 means risk. Features are hashed under `key`."""

    key: bytes = field(default=b"", repr=False)
    name: ClassVar[str] = "url-risk"
    metrics: ClassVar[Sequence[str]] = metrics.BINARY
    settings: ClassVar[Settings] = {"bits": 18.0, KEY_EPOCH: 0.0, **logistic.DEFAULTS, "rate": 0.5}

    def with_key(self, key: bytes) -> UrlRisk:
        return UrlRisk(key=key[:KEY_SIZE])

    def roles(self, settings: Settings) -> Sequence[str]:
        return (url_rows.URL, LABEL)

    def specs(self, settings: Settings) -> tuple[ArraySpec, ...]:
        return (
            ArraySpec(name="w", dtype="float32", shape=(1 << int(settings["bits"]),)),
            ArraySpec(name="b", dtype="float32", shape=(1,)),
        )

    def initial(self, settings: Settings) -> Arrays:
        return {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.specs(settings)}

    def read(self, rows: Iterable[Record], columns: Mapping[str, str], settings: Settings) -> Dataset:
        return url_rows.read(rows, columns, int(settings["bits"]), url_rows.binary_label, key=self.key)

    def train(self, arrays: Arrays, data: Dataset, settings: Settings, rng: np.random.Generator) -> Trained:
        made = writable(arrays)
        logistic.fit(data.features, data.labels, made["w"], made["b"], logistic.Fit.of(settings), rng)
        return Trained(arrays=made, examples=len(data))

    def evaluate(self, arrays: Arrays, data: Dataset, settings: Settings) -> dict[str, float]:
        return metrics.binary(data.labels, logistic.probabilities(data.features, arrays["w"], arrays["b"]))

    def blend(self, shared: Arrays, own: Arrays) -> Arrays:
        return logistic.halfway(shared, own)

    def score(
        self, arrays: Arrays, rows: Iterable[Record], columns: Mapping[str, str], settings: Settings
    ) -> NDArray[np.float64]:
        return url_rows.score(rows, columns, arrays["w"], arrays["b"], key=self.key)

    def explain(
        self,
        arrays: Arrays,
        rows: Iterable[Record],
        columns: Mapping[str, str],
        settings: Settings,
        labels: Iterable[str],
    ) -> list[Explained]:
        """The pieces of a URL that moved its score most."""
        return url_rows.explain(rows, columns, lambda url: reasons.of_url(url, arrays["w"], self.key))
