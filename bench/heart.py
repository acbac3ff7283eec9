"""The four hospitals of FLamby's Fed-Heart-Disease, with FLamby's own preprocessing and split.

Ogier du Terrail et al., NeurIPS 2022 (datasets and benchmarks): columns 10 to 12 dropped, rows with a missing value
dropped, chest pain and resting ECG as dummies without their first level, 13 columns; label: any disease. The split
is scikit-learn's stratified one at `random_state=43`, restated here: 199/104, 172/89, 30/16 and 85/45 rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CENTRES = ("cleveland", "hungarian", "switzerland", "va")
SIZES = ((199, 104), (172, 89), (30, 16), (85, 45))
_TRAIN_SHARE = 0.66
_DROPPED = (10, 11, 12)
_CATEGORIES = (2, 6)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Centre:
    """`x` (n, 13), `y` (n,) of 0 and 1, `train` (n,) by the official split."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.int64]
    train: NDArray[np.bool_]


def load(folder: Path) -> list[Centre]:
    raw = {name: _rows(folder / f"processed.{name}.data") for name in CENTRES}
    together = np.concatenate(list(raw.values()))
    levels = {column: np.unique(together[:, column])[1:] for column in _CATEGORIES}
    found = []
    for name, rows in raw.items():
        plain = [c for c in range(10) if c not in _CATEGORIES]
        dummies = [rows[:, column] == level for column, values in levels.items() for level in values]
        x = np.column_stack([rows[:, plain], *dummies]).astype(np.float64)
        y = (rows[:, -1] > 0).astype(np.int64)
        found.append(Centre(name=name, x=x, y=y, train=_official_split(y)))
    sizes = tuple((int(c.train.sum()), int((~c.train).sum())) for c in found)
    assert sizes == SIZES, f"not the official split: {sizes}"
    return found


def _rows(path: Path) -> NDArray[np.float64]:
    lines = [line.strip().split(",") for line in path.read_text().splitlines() if line.strip()]
    kept = [[cell for c, cell in enumerate(line) if c not in _DROPPED] for line in lines]
    whole = [[float(cell) for cell in line] for line in kept if not {"?", "NaN"} & set(line)]
    return np.array(whole)


def _official_split(y: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True for training rows, as `train_test_split(stratify=y, random_state=43)` of scikit-learn draws them."""
    counts = np.bincount(y, minlength=2)
    train_size, test_size = int(np.floor(_TRAIN_SHARE * len(y))), int(np.ceil((1.0 - _TRAIN_SHARE) * len(y)))
    rng = np.random.RandomState(43)
    train = np.zeros(len(y), dtype=bool)
    if counts.min() <= 2:
        train[rng.permutation(len(y))[test_size : test_size + train_size]] = True
        return train
    of_train = _shares(counts, train_size, rng)
    _shares(counts - of_train, test_size, rng)
    for label, count in enumerate(of_train):
        rows = np.flatnonzero(y == label)
        train[rows[rng.permutation(len(rows))[:count]]] = True
    return train


def _shares(counts: NDArray[np.int64], draws: int, rng: np.random.RandomState) -> NDArray[np.int64]:
    """How many of each class, ties between equal remainders drawn."""
    exact = counts / counts.sum() * draws
    out: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    rest = exact - out
    missing = int(draws - out.sum())
    for value in np.sort(np.unique(rest))[::-1]:
        if missing <= 0:
            break
        tied = np.flatnonzero(rest == value)
        chosen = rng.choice(tied, size=min(len(tied), missing), replace=False)
        out[chosen] += 1
        missing -= len(chosen)
    return out


def published(folder: Path, method: str) -> float:
    """FLamby's own result: accuracy, mean of the four test clients over its five seeds."""
    import csv

    values: Sequence[float] = [
        float(row["Metric"])
        for path in sorted((folder / "published_results").glob("heart_seed*.csv"))
        for row in csv.DictReader(path.open(encoding="utf-8"))
        if row["Method"] == method and row["Test"].startswith("client_test_")
    ]
    return float(np.mean(values))
