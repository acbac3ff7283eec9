"""Four hospitals' records of heart disease, with the official split, as four members' tables.

FLamby's Fed-Heart-Disease (Ogier du Terrail et al., NeurIPS 2022): columns 10 to 12 dropped, rows with a missing value
dropped, chest pain and resting ECG as dummies without their first level, 13 columns; label: any disease. The split
is scikit-learn's stratified one at `random_state=43`, restated here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo.world import Training, write_table

CENTRES = ("cleveland", "hungarian", "switzerland", "va")
_COLUMNS = tuple(f"x{place}" for place in range(1, 14))
_TABLE = (*_COLUMNS, "label", "part")
_TRAIN_SHARE = 0.66
_DROPPED = (10, 11, 12)
_CATEGORIES = (2, 6)


def training(source: Path, members: Sequence[str], folder: Path) -> Training:
    """Writes one centre's rows into each of four members' folders: the detector `tabular-risk` on them."""
    files = {
        member: write_table(folder / member / "records.csv", _table(rows), _TABLE)
        for member, rows in zip(members, centres(source), strict=True)
    }
    return Training(
        detector="tabular-risk",
        source=f"heart disease records of {len(CENTRES)} hospitals, official split",
        metric="accuracy",
        rounds=8,
        columns=_TABLE,
        settings=(f"columns={len(_COLUMNS)}", "l2=0.01"),
        files=files,
    )


def _table(rows: NDArray[np.float64]) -> list[dict[str, str]]:
    labels = (rows[:, -1] > 0).astype(np.int64)
    parts = np.where(official_split(labels), "train", "held-back")
    return [
        dict(zip(_TABLE, (*(f"{value:g}" for value in row[:-1]), str(label), str(part)), strict=True))
        for row, label, part in zip(rows, labels, parts, strict=True)
    ]


def centres(source: Path) -> list[NDArray[np.float64]]:
    """(n, 14) for each centre: 13 columns and the label, by severity."""
    raw = [_rows(source / f"processed.{name}.data") for name in CENTRES]
    together = np.concatenate(raw)
    levels = {column: np.unique(together[:, column])[1:] for column in _CATEGORIES}
    plain = [column for column in range(10) if column not in _CATEGORIES]
    return [
        np.column_stack(
            [
                rows[:, plain],
                *(rows[:, column] == level for column, values in levels.items() for level in values),
                rows[:, -1],
            ]
        ).astype(np.float64)
        for rows in raw
    ]


def _rows(path: Path) -> NDArray[np.float64]:
    lines = [line.strip().split(",") for line in path.read_text().splitlines() if line.strip()]
    kept = [[cell for place, cell in enumerate(line) if place not in _DROPPED] for line in lines]
    return np.array([[float(cell) for cell in line] for line in kept if not {"?", "NaN"} & set(line)])


def official_split(y: NDArray[np.int64]) -> NDArray[np.bool_]:
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
