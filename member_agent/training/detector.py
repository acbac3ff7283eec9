"""What a detector is, and how an installed one is found.

A detector turns a member's own rows into features and learns on them. It names its arrays, so that every member
trains the same model, and its settings, numbers that a proposal may choose. A member runs only code it installed:
`load` knows the entry points of the group `alliance.detectors` and nothing that the hub could name beside them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from alliance.errors import FailedPrecondition, InvalidInput, NotFound
from alliance.tensors import Arrays, ArraySpec
from member_agent.catalog.readers.records import Record
from member_agent.training.dataset import Dataset
from member_agent.training.reasons import Explained

GROUP = "alliance.detectors"
# What strategies tell every participant beside the detector's own settings, in Flower's spelling.
PROXIMAL_MU = "proximal-mu"
# The setting of a keyed detector: the group's epoch whose key its features have; 0 for none, as in a benchmark.
KEY_EPOCH = "key_epoch"
SERVER_ROUND = "server-round"
Settings = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """An update: every array of the detector, the examples it is of, and metrics if the code reports any."""

    arrays: Arrays
    examples: int
    metrics: Mapping[str, float] = field(default_factory=dict)


class Detector(Protocol):
    """A model and how it learns; stateless, deterministic at equal arrays, rows, settings and generator."""

    @property
    def name(self) -> str: ...

    @property
    def metrics(self) -> Sequence[str]:
        """Names of what `evaluate` gives, the judged one first; alliance.gains says which way each is better."""

    @property
    def settings(self) -> Settings:
        """Every setting with its default."""

    def roles(self, settings: Settings) -> Sequence[str]:
        """What a column map must name for training, by role; scoring needs all but `label`."""

    def specs(self, settings: Settings) -> tuple[ArraySpec, ...]: ...

    def initial(self, settings: Settings) -> Arrays: ...

    def read(self, rows: Iterable[Record], columns: Mapping[str, str], settings: Settings) -> Dataset:
        """Features and labels of the rows that can be read; the others are in `refused`, each with its reason.

        Args:
            columns: role -> the member's own column name. Two roles are optional everywhere: `group` (rows with an
                equal value are never split) and `part` ("train" or "held-back", the member's own split).
        """

    def train(self, arrays: Arrays, data: Dataset, settings: Settings, rng: np.random.Generator) -> Trained:
        """Some steps from `arrays`, which are only read; FedProx's mu is in `settings` under "proximal-mu"."""

    def evaluate(self, arrays: Arrays, data: Dataset, settings: Settings) -> dict[str, float]: ...

    def blend(self, shared: Arrays, own: Arrays) -> Arrays:
        """A model halfway between the shared one and the member's own, for the member's use; `shared` itself where
        the mean of two models means nothing."""

    def score(
        self, arrays: Arrays, rows: Iterable[Record], columns: Mapping[str, str], settings: Settings
    ) -> NDArray[np.float64]:
        """(rows, outputs): risk in [0, 1], or a probability for each class; NaN for a row that cannot be read."""

    def explain(
        self,
        arrays: Arrays,
        rows: Iterable[Record],
        columns: Mapping[str, str],
        settings: Settings,
        labels: Iterable[str],
    ) -> Sequence[Explained]:
        """For each row why `score` gives what it gives, in words for a reviewer; or why the row cannot be read.

        Args:
            labels: labels that this member knows, read only if they are asked for: for whom classes have no names.
        """


@runtime_checkable
class Keyed(Protocol):
    """A detector whose features are hashed under a key of the sharing group's, so that a hub that sees weights cannot
    tell of what they are. It has the setting `KEY_EPOCH`, which a proposal sets."""

    def with_key(self, key: bytes) -> Detector:
        """The same under this key, 32 bytes."""


def keyed(code: Detector, key: bytes) -> Detector:
    """The detector as a member runs it. Raises: FailedPrecondition for one that wants a key and gets none."""
    if not isinstance(code, Keyed):
        return code
    if not key:
        raise FailedPrecondition(
            f"{code.name} hashes its features under a key of the group's, and this proposal names none",
            reason="FEATURE_KEY_MISSING",
            remedy='have it proposed anew with "alliance-agent detector propose", which names the key',
        )
    return code.with_key(key)


def load(name: str) -> Detector:
    """The installed detector of this name. Raises: NotFound (CODE_NOT_INSTALLED)."""
    for found in entry_points(group=GROUP, name=name):
        return cast(Detector, found.load()())
    raise NotFound(
        f"no detector {name[:64]!r} is installed here",
        reason="CODE_NOT_INSTALLED",
        remedy=f"install the package that has it; installed are: {', '.join(installed()) or 'none'}",
    )


def installed() -> list[str]:
    return sorted({found.name for found in entry_points(group=GROUP)})


def load_path(path: str) -> Detector:
    """A detector by "module:class", for code that the caller chose itself. Raises: NotFound."""
    module, _, name = path.partition(":")
    try:
        return cast(Detector, getattr(importlib.import_module(module), name)())
    except (ImportError, AttributeError) as error:
        raise NotFound(
            f"there is no {path!r}: {error}", reason="CODE_NOT_INSTALLED", remedy="name it module:class"
        ) from error


def settle(detector: Detector, given: Settings) -> dict[str, float]:
    """The detector's settings with what was given over the defaults. Raises: InvalidInput for an unknown name."""
    unknown = set(given) - set(detector.settings) - {PROXIMAL_MU, SERVER_ROUND}
    if unknown:
        raise InvalidInput(
            f"{detector.name} has no setting {', '.join(sorted(unknown))}",
            reason="SETTING_UNKNOWN",
            field="settings",
            remedy=f"use {', '.join(detector.settings) or 'none'}",
        )
    return {**detector.settings, **given}


def writable(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Copies in this machine's byte order."""
    return {name: np.array(array, dtype=array.dtype.newbyteorder("=")) for name, array in arrays.items()}
