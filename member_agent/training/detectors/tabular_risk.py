"""tabular-risk: a logistic model over numeric columns that are standardised by the alliance's own statistics.

The first round gathers statistics, the others train. Each member sends, for every column, the share of rows that
have it, their mean and their mean square, and a constant 1, all times 2^-100. An average of these gives the
statistics of all rows; so does what FedAdam, FedYogi and FedAdagrad make of them, because a step far below their
tau is linear: every entry is scaled by one factor, which the constant shows (docs/adr/0012). Later rounds send the
statistics back as they came, so that further momentum scales all entries alike and the quotients stay.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from alliance.tensors import Arrays, ArraySpec
from member_agent.catalog.readers.records import Record
from member_agent.training import logistic, metrics, reasons
from member_agent.training.dataset import LABEL, Cells, Dataset, Refusals, cells, row_error
from member_agent.training.detector import Settings, Trained, writable
from member_agent.training.reasons import Explained
from member_agent.training.url_rows import binary_label

_SCALE = 2.0**-100
_GREATEST = 1e9
"""Greatest number in a cell: its square times the scale stays far below any tau."""
_CLIP = 8.0
_LEAST_DEVIATION = 1e-6
_MISSING = frozenset({"", "?", "na", "nan", "null", "none"})


class TabularRisk:
    """Columns have the roles `x1` ... `xN` and an empty cell is the mean; label 1 means risk.

    Arrays: `w` float32 (N,), `b` float32 (1,), `moments` float64 (3, N), `unit` float64 (1,).
    """

    name = "tabular-risk"
    metrics: Sequence[str] = ("accuracy", "pr_auc", "f1", "false_positive_rate")
    settings: ClassVar[Settings] = {"columns": 10.0, **logistic.DEFAULTS, "epochs": 2.0, "batch": 16.0, "l2": 1e-3}

    def roles(self, settings: Settings) -> Sequence[str]:
        return (*_columns(settings), LABEL)

    def specs(self, settings: Settings) -> tuple[ArraySpec, ...]:
        count = int(settings["columns"])
        return (
            ArraySpec(name="w", dtype="float32", shape=(count,)),
            ArraySpec(name="b", dtype="float32", shape=(1,)),
            ArraySpec(name="moments", dtype="float64", shape=(3, count)),
            ArraySpec(name="unit", dtype="float64", shape=(1,)),
        )

    def initial(self, settings: Settings) -> Arrays:
        return {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.specs(settings)}

    def read(self, rows: Iterable[Record], columns: Mapping[str, str], settings: Settings) -> Dataset:
        """Features are the numbers as they are, NaN where missing; rows without a `group` are their own group."""
        refused = Refusals()
        roles = _columns(settings)
        features, labels, groups, parts = [], [], [], []
        for row in cells(rows, columns, (*roles, LABEL), refused):
            numbers, label = _numbers(row, roles, refused), binary_label(row.values[LABEL])
            if numbers is None:
                continue
            if label is None:
                refused.add(row_error(row.number, LABEL, "LABEL_UNKNOWN", "neither 0 nor 1"))
                continue
            features.append(numbers)
            labels.append(label)
            groups.append(row.group(f"row {row.number}"))
            parts.append(row.part)
        return Dataset(
            features=np.array(features, dtype=np.float64).reshape(len(features), len(roles)),
            labels=np.array(labels, dtype=np.int64),
            groups=np.array(groups, dtype=np.uint64),
            parts=np.array(parts, dtype=np.int8),
            refused=tuple(refused.kept),
            refusals=refused.count,
        )

    def train(self, arrays: Arrays, data: Dataset, settings: Settings, rng: np.random.Generator) -> Trained:
        made = writable(arrays)
        if made["unit"][0] == 0:
            made["unit"][:] = _SCALE
            made["moments"][:] = _moments(data.features) * _SCALE
        else:
            x = _standardised(data.features, arrays)
            logistic.fit(x, data.labels, made["w"], made["b"], logistic.Fit.of(settings), rng)
        return Trained(arrays=made, examples=len(data))

    def evaluate(self, arrays: Arrays, data: Dataset, settings: Settings) -> dict[str, float]:
        found = metrics.binary(data.labels, _risk(data.features, arrays))
        return {name: found[name] for name in self.metrics}

    def blend(self, shared: Arrays, own: Arrays) -> Arrays:
        """Both models on the alliance's statistics; once there are none, on the member's own."""
        frame = shared if shared["unit"][0] else own
        return {**frame, **logistic.halfway(_weights(shared), _weights(_restated(own, frame)))}

    def score(
        self, arrays: Arrays, rows: Iterable[Record], columns: Mapping[str, str], settings: Settings
    ) -> NDArray[np.float64]:
        refused = Refusals()
        roles = _columns(settings)
        listed = list(rows)
        out = np.full((len(listed), 1), np.nan)
        for place, row in enumerate(listed):
            for found in cells([row], columns, roles, refused):
                numbers = _numbers(found, roles, refused)
                if numbers is not None:
                    out[place, 0] = _risk(np.array([numbers]), arrays)[0]
        return out

    def explain(
        self,
        arrays: Arrays,
        rows: Iterable[Record],
        columns: Mapping[str, str],
        settings: Settings,
        labels: Iterable[str],
    ) -> list[Explained]:
        """The columns that moved a row's score most, by the member's own names, with what stands in them."""
        roles = _columns(settings)
        found: list[Explained] = []
        for row in rows:
            refused = Refusals()
            numbers = [n for one in cells([row], columns, roles, refused) if (n := _numbers(one, roles, refused))]
            if not numbers:
                found.append(refused.kept[0])
                continue
            moved = (_standardised(np.array(numbers), arrays) * arrays["w"])[0]
            names = [f"{columns[role]} = {row.cells[columns[role]].strip()[:40]}" for role in roles]
            found.append(reasons.strongest(moved, names.__getitem__))
        return found


def _columns(settings: Settings) -> list[str]:
    return [f"x{place}" for place in range(1, int(settings["columns"]) + 1)]


def _numbers(row: Cells, roles: Sequence[str], refused: Refusals) -> list[float] | None:
    """The row's numbers, NaN where a cell is empty; None, and a refusal, where one is no number."""
    found = []
    for role in roles:
        text = row.values[role]
        try:
            number = math.nan if text.lower() in _MISSING else float(text)
        except ValueError:
            refused.add(row_error(row.number, role, "NUMBER_UNREADABLE", f"{text[:40]!r} is not a number"))
            return None
        if abs(number) > _GREATEST:
            refused.add(row_error(row.number, role, "NUMBER_TOO_LARGE", f"{text[:40]!r} is beyond {_GREATEST:.0e}"))
            return None
        found.append(number)
    return found


def _moments(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, columns): share present, and sums of values and of squares, each over all rows."""
    there = np.where(np.isnan(x), 0.0, x)
    return np.stack([(~np.isnan(x)).mean(axis=0), there.mean(axis=0), (there * there).mean(axis=0)])


def _standardised(x: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
    """Mean 0 and deviation 1 by the alliance's statistics; a missing value is the mean."""
    if arrays["unit"][0] == 0:
        return np.where(np.isnan(x), 0.0, x)
    mean, deviation = _statistics(arrays)
    return np.clip(np.where(np.isnan(x), 0.0, (x - mean) / deviation), -_CLIP, _CLIP)


def _statistics(arrays: Arrays) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and deviations of the columns; a deviation is 1 where a column is constant."""
    present, sums, squares = np.asarray(arrays["moments"]) / float(arrays["unit"][0])
    present = np.maximum(present, np.finfo(np.float64).tiny)
    mean = sums / present
    deviation = np.sqrt(np.maximum(squares / present - mean * mean, 0.0))
    return mean, np.where(deviation > _LEAST_DEVIATION, deviation, 1.0)


def _restated(arrays: Arrays, frame: Arrays) -> Arrays:
    """The same model for columns standardised by the statistics of `frame`; missing values are then its means."""
    if arrays["unit"][0] == 0 or frame["unit"][0] == 0:
        return arrays
    (mean, deviation), (to_mean, to_deviation) = _statistics(arrays), _statistics(frame)
    slope = arrays["w"] / deviation
    w, b = slope * to_deviation, arrays["b"] + (slope * (to_mean - mean)).sum()
    return {**arrays, "w": w.astype(np.float32), "b": b.astype(np.float32)}


def _weights(arrays: Arrays) -> Arrays:
    return {name: arrays[name] for name in ("w", "b")}


def _risk(x: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
    return logistic.probabilities(_standardised(x, arrays), arrays["w"], arrays["b"])
