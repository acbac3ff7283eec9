"""Logistic models, binary and multi-class, by mini-batches with Adagrad's step sizes (Duchi et al., JMLR 2011).

Rare n-grams get long steps and frequent ones short, which suits hashed text; accumulators start anew at each round,
so that nothing but the model leaves a member. Deterministic at equal inputs and generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alliance.tensors import Arrays
from member_agent.training.detector import PROXIMAL_MU, Settings

DEFAULTS: Settings = {"epochs": 1.0, "batch": 64.0, "rate": 0.1, "l2": 1e-6}
_FLOOR = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How long and how fast: passes over the rows, rows a step, step size, weight decay, and FedProx's mu, which
    holds the weights near the model they started from (Li et al., MLSys 2020)."""

    epochs: int
    batch: int
    rate: float
    l2: float
    mu: float

    @classmethod
    def of(cls, settings: Settings) -> Fit:
        return cls(
            epochs=max(1, int(settings["epochs"])),
            batch=max(1, int(settings["batch"])),
            rate=settings["rate"],
            l2=settings["l2"],
            mu=settings.get(PROXIMAL_MU, 0.0),
        )


def fit(
    features: Any,
    labels: NDArray[np.int64],
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    how: Fit,
    rng: np.random.Generator,
    *,
    offset: NDArray[np.float32] | float = 0.0,
) -> None:
    """Trains `weights` (d,) or (d, classes) and `bias` (1,) or (classes,) in place, on (n, d) features.

    Args:
        offset: added to every row's logits, and not trained.
    """
    start_w, start_b = weights.copy(), bias.copy()
    seen_w, seen_b = np.zeros_like(weights), np.zeros_like(bias)
    for _ in range(how.epochs):
        order = rng.permutation(len(labels))
        for at in range(0, len(order), how.batch):
            rows = order[at : at + how.batch]
            x = features[rows]
            wrong = _wrong(x @ weights + bias + offset, labels[rows]) / np.float32(len(rows))
            step = np.asarray(x.T @ wrong, dtype=np.float32)
            if how.l2:
                step += np.float32(how.l2) * weights
            if how.mu:
                step += np.float32(how.mu) * (weights - start_w)
            _descend(weights, step, seen_w, how.rate)
            step_b = wrong.sum(axis=0).reshape(bias.shape).astype(np.float32) + np.float32(how.mu) * (bias - start_b)
            _descend(bias, step_b, seen_b, how.rate)


def halfway(one: Arrays, other: Arrays) -> Arrays:
    """The model whose logits are the mean of two models' logits, on features that are the same for both."""
    return {name: (values + other[name]) / np.asarray(2, dtype=values.dtype) for name, values in one.items()}


def probabilities(
    features: Any, weights: NDArray[Any], bias: NDArray[Any], *, offset: NDArray[np.float32] | float = 0.0
) -> NDArray[np.float64]:
    """(n,) for a binary model, (n, classes) otherwise."""
    logits = np.asarray(features @ weights + bias + offset, dtype=np.float64)
    return _softmax(logits) if logits.ndim == 2 else _sigmoid(logits)


def _wrong(logits: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Derivative of the log loss by the logits."""
    if logits.ndim == 1:
        return np.asarray(_sigmoid(logits) - labels, dtype=np.float32)
    out = _softmax(logits)
    out[np.arange(len(labels)), labels] -= 1
    return np.asarray(out, dtype=np.float32)


def _descend(values: NDArray[Any], step: NDArray[Any], seen: NDArray[Any], rate: float) -> None:
    seen += step * step
    values -= np.float32(rate) * step / (np.sqrt(seen) + np.float32(_FLOOR))


def _sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    small = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits >= 0, 1, small) / (1 + small))


def _softmax(logits: NDArray[Any]) -> NDArray[Any]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
