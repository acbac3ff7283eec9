"""brand-attribution: whom does this URL impersonate? A multi-class logistic model over hashed n-grams.

Members need no common list of brands: a brand's class is a hash of its name (NFKC, case folded), so members that
name it equally train the same class. Two brands may fall into one class; `salt` lets a proposer choose a hash that
keeps those apart which it knows of. Who reads a score looks for the classes of the brands it is interested in.

Members see different mixes of brands, and a shared model that learnt the mixes would suit none of them. So each
member adds the logarithm of its own shares to the logits, in training and when judging ("logit adjustment", Menon et
al., ICLR 2021): what is shared is what a URL says, and how frequent a brand is stays with the member.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from alliance.tensors import Arrays, ArraySpec
from member_agent.catalog.model import RowError
from member_agent.catalog.readers.records import Record
from member_agent.training import logistic, metrics, url_rows
from member_agent.training.dataset import LABEL, Dataset
from member_agent.training.detector import KEY_EPOCH, Settings, Trained, writable
from member_agent.training.reasons import Explained
from member_agent.training.siphash import KEY_SIZE

_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BrandAttribution:
    """Arrays `w` float32 (2^bits, classes) and `b` float32 (classes,). Features and names are hashed under `key`."""

    key: bytes = field(default=b"", repr=False)
    name: ClassVar[str] = "brand-attribution"
    metrics: ClassVar[Sequence[str]] = ("accuracy", "macro_f1")
    settings: ClassVar[Settings] = {
        "bits": 14.0,
        "classes": 256.0,
        "salt": 0.0,
        KEY_EPOCH: 0.0,
        **logistic.DEFAULTS,
        "rate": 0.3,
    }

    def with_key(self, key: bytes) -> BrandAttribution:
        return BrandAttribution(key=key)

    def roles(self, settings: Settings) -> Sequence[str]:
        return (url_rows.URL, LABEL)

    def specs(self, settings: Settings) -> tuple[ArraySpec, ...]:
        classes = int(settings["classes"])
        return (
            ArraySpec(name="w", dtype="float32", shape=(1 << int(settings["bits"]), classes)),
            ArraySpec(name="b", dtype="float32", shape=(classes,)),
        )

    def initial(self, settings: Settings) -> Arrays:
        return {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.specs(settings)}

    def read(self, rows: Iterable[Record], columns: Mapping[str, str], settings: Settings) -> Dataset:
        def label(text: str) -> int | None:
            return brand_class(text, settings, self.key) if text else None

        return url_rows.read(rows, columns, int(settings["bits"]), label, key=self.key[:KEY_SIZE])

    def train(self, arrays: Arrays, data: Dataset, settings: Settings, rng: np.random.Generator) -> Trained:
        made = writable(arrays)
        logistic.fit(
            data.features,
            data.labels,
            made["w"],
            made["b"],
            logistic.Fit.of(settings),
            rng,
            offset=_mix(data, settings),
        )
        return Trained(arrays=made, examples=len(data))

    def evaluate(self, arrays: Arrays, data: Dataset, settings: Settings) -> dict[str, float]:
        offset = _mix(data, settings)
        said = logistic.probabilities(data.features, arrays["w"], arrays["b"], offset=offset).argmax(axis=1)
        return {"accuracy": float((said == data.labels).mean()), "macro_f1": metrics.macro_f1(data.labels, said)}

    def blend(self, shared: Arrays, own: Arrays) -> Arrays:
        return logistic.halfway(shared, own)

    def score(
        self, arrays: Arrays, rows: Iterable[Record], columns: Mapping[str, str], settings: Settings
    ) -> NDArray[np.float64]:
        return url_rows.score(rows, columns, arrays["w"], arrays["b"], key=self.key[:KEY_SIZE])

    def explain(
        self,
        arrays: Arrays,
        rows: Iterable[Record],
        columns: Mapping[str, str],
        settings: Settings,
        labels: Iterable[str],
    ) -> list[Explained]:
        """The likeliest brands; a class is named by the labels of this member that fall into it."""
        listed = list(rows)
        names: dict[int, dict[str, str]] = {}
        for label in labels:
            names.setdefault(brand_class(label, settings, self.key), {}).setdefault(label.casefold(), label)
        scored = self.score(arrays, listed, columns, settings)

        def brands(shares: NDArray[np.float64]) -> list[str]:
            likeliest = np.argsort(-shares, kind="stable")[:_NAMED].tolist()
            return [f"{_named(place, names)} {shares[place]:.2f}" for place in likeliest]

        found = url_rows.explain(listed, columns, lambda url: ())
        return [
            brands(shares) if not isinstance(one, RowError) else one for one, shares in zip(found, scored, strict=True)
        ]


def _named(place: int, names: Mapping[int, Mapping[str, str]]) -> str:
    known = [label[:64] for label in names.get(place, {}).values()]
    return f"brand {' or '.join(known[:_NAMED])}" if known else f"a brand not known here (class {place})"


def _mix(data: Dataset, settings: Settings) -> NDArray[np.float32]:
    """Logarithms of the classes' shares among the member's training rows, one more row for each class."""
    labels = data.labels if data.seen is None else data.seen
    counts = np.bincount(labels, minlength=int(settings["classes"])) + 1.0
    return np.asarray(np.log(counts / counts.sum()), dtype=np.float32)


def brand_class(brand: str, settings: Settings, key: bytes = b"") -> int:
    """The class of a brand's name, in [0, classes); `key`: up to 64 bytes."""
    plain = " ".join(unicodedata.normalize("NFKC", brand).casefold().split())
    salted = f"alliance/brand-class/v1/{int(settings['salt'])}/{plain}"
    return int.from_bytes(hashlib.blake2b(salted.encode(), digest_size=8, key=key).digest(), "big") % int(
        settings["classes"]
    )
