"""Every update is checked before a strategy sees it; a refusal names its reason (docs/explanation/rounds.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from alliance import tensors
from alliance.errors import InvalidInput
from hub.federation.model import Spec

# Blocks keep the check's extra memory small beside the model.
_BLOCK = 1 << 20


def update(file: BinaryIO, spec: Spec, model: Mapping[str, NDArray[Any]]) -> None:
    """Checks a submitted update's file, one array in memory at a time; closes it.

    Raises:
        Corrupt: TENSORS_UNEXPECTED: other names, dtypes or shapes than the detector's.
        InvalidInput: NOT_FINITE, UPDATE_TOO_LARGE (its distance from the model).
    """
    squared = 0.0
    with file:
        tensors.check_head(file, spec.arrays)
        for name, (array_spec, offset) in tensors.places(spec.arrays).items():
            flat = tensors.read_array(file, array_spec, offset).reshape(-1)
            base = model[name].reshape(-1)
            for at in range(0, flat.size, _BLOCK):
                block = flat[at : at + _BLOCK]
                if not np.isfinite(block).all():
                    raise InvalidInput(f"array {name} has NaN or infinity", reason="NOT_FINITE", field="update")
                if spec.max_update_norm:
                    difference = block.astype(np.float64) - base[at : at + _BLOCK]
                    squared += float(difference @ difference)
    if spec.max_update_norm and squared > spec.max_update_norm**2:
        raise InvalidInput(
            f"the update is {squared**0.5:.4g} from the model, {spec.max_update_norm:.4g} is allowed",
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
