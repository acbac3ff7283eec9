"""The four hospitals of FLamby's Fed-Heart-Disease as arrays, and what FLamby published of them.

Rows, columns and split are those of `demo.heart`, which restates FLamby's own: 199/104, 172/89, 30/16, 85/45 rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo.heart import CENTRES, centres, official_split

SIZES = ((199, 104), (172, 89), (30, 16), (85, 45))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Centre:
    """`x` (n, 13), `y` (n,) of 0 and 1, `train` (n,) by the official split."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.int64]
    train: NDArray[np.bool_]


def load(folder: Path) -> list[Centre]:
    found = []
    for name, rows in zip(CENTRES, centres(folder), strict=True):
        y = (rows[:, -1] > 0).astype(np.int64)
        found.append(Centre(name=name, x=rows[:, :-1], y=y, train=official_split(y)))
    sizes = tuple((int(c.train.sum()), int((~c.train).sum())) for c in found)
    assert sizes == SIZES, f"not the official split: {sizes}"
    return found


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
