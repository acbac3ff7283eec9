"""Every update is checked before a strategy sees it; a refusal names its reason (docs/explanation/rounds.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alliance.errors import InvalidInput
from alliance.tensors import Piece
from hub.federation.model import Spec


def finite(values: NDArray[Any]) -> bool:
    """Whether all of some values are; the extremes are not where any is not, and finding them takes no memory."""
    return bool(np.isfinite(values.min()) and np.isfinite(values.max()))


class Check:
    """One update's values, in as many pieces as the reader likes; `finish` after the last."""

    def __init__(self, spec: Spec) -> None:
        self._most = spec.max_update_norm
        self._squared = 0.0

    def piece(self, piece: Piece, values: NDArray[Any], model: Callable[[], NDArray[Any]]) -> None:
        """Checks a piece's values; `model` gives those of the model they are meant for.

        Raises: InvalidInput: NOT_FINITE.
        """
        if not finite(values):
            raise InvalidInput(f"array {piece.spec.name} has NaN or infinity", reason="NOT_FINITE", field="update")
        if self._most:
            difference = values.astype(np.float64) - model()
            self._squared += float(difference @ difference)

    def finish(self) -> None:
        """Raises: InvalidInput: UPDATE_TOO_LARGE (its distance from the model)."""
        if self._most and not self._squared <= self._most**2:
            raise InvalidInput(
                f"the update is {self._squared**0.5:.4g} from the model, {self._most:.4g} is allowed",
                reason="UPDATE_TOO_LARGE",
                field="update",
            )


def examples(claimed: int, spec: Spec) -> int:
    """What a claim counts for. Raises: InvalidInput for none or a negative number."""
    if claimed < 1:
        raise InvalidInput("an update is of at least one example", reason="NO_EXAMPLES", field="examples")
    return min(claimed, spec.max_examples)


def metrics(reported: Sequence[tuple[str, float]], spec: Spec) -> tuple[tuple[str, float], ...]:
    """The detector's metrics in its order. Raises: InvalidInput for unknown, repeated or non-finite ones."""
    values = dict(reported)
    if len(values) != len(reported) or set(values) - set(spec.metrics):
        raise InvalidInput("other metrics than the detector's", reason="METRICS_UNEXPECTED", field="metrics")
    if not all(np.isfinite(value) for value in values.values()):
        raise InvalidInput("a metric is NaN or infinity", reason="NOT_FINITE", field="metrics")
    return tuple((name, float(values[name])) for name in spec.metrics if name in values)
