"""Which way a figure of merit is better: said here, and nowhere else.

Greater is better, except for the names in `LESS_IS_BETTER`. A detector that reports a figure of which less is better
gives it one of these names.
"""

from __future__ import annotations

LESS_IS_BETTER = frozenset({"false_positive_rate", "false_negative_rate", "log_loss", "brier_score"})


def gain(metric: str, value: float, against: float) -> float:
    """How much better `value` is than `against`, in the metric's own unit; negative where it is worse."""
    return against - value if metric in LESS_IS_BETTER else value - against
