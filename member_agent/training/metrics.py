"""Figures of merit on a member's own held-back rows; all finite, whatever the rows are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINARY = ("pr_auc", "f1", "accuracy", "false_positive_rate")


def average_precision(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    """Area under the precision-recall steps; equal scores are one threshold; 0 without positive rows."""
    positives = int(labels.sum())
    if not positives:
        return 0.0
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order])
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    recall = np.diff(hits[last] / positives, prepend=0.0)
    return float(np.sum(recall * hits[last] / (last + 1)))


def binary(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> dict[str, float]:
    """`BINARY` at the threshold 0.5; `labels` are 0 and 1."""
    said = scores >= 0.5
    true, false = int((said & (labels == 1)).sum()), int((said & (labels == 0)).sum())
    negatives, positives = int((labels == 0).sum()), int((labels == 1).sum())
    return {
        "pr_auc": average_precision(labels, scores),
        "f1": 2 * true / max(1, true + false + positives),
        "accuracy": (true + negatives - false) / max(1, len(labels)),
        "false_positive_rate": false / max(1, negatives),
    }


def macro_f1(labels: NDArray[np.int64], said: NDArray[np.int64]) -> float:
    """Mean F1 over the classes that occur in `labels`."""
    each = [
        2 * int(((said == c) & (labels == c)).sum()) / int((said == c).sum() + (labels == c).sum())
        for c in np.unique(labels)
    ]
    return float(np.mean(each)) if each else 0.0
