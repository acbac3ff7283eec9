"""A strategy's moments between rounds: encoded arrays, `m_t.w` and `v_t.w` for an array `w` of the model.

Old ones are read piece by piece, as the model is; new ones are held until the aggregate is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from alliance import tensors
from alliance.tensors import Arrays, ArraySpec, Piece
from hub.federation.flower import MOMENTS

_MOST_ARRAYS = len(MOMENTS) * tensors.MAX_ARRAYS + 1
# Bytes that hold the head of so many arrays, names and shapes as long as they may be.
_HEAD = 1 << 20


class Reader:
    """What the round before left in `file`; without one, nothing."""

    def __init__(self, file: BinaryIO | None, specs: Sequence[ArraySpec]) -> None:
        self._file, self._starts = file, dict(zip((s.name for s in specs), tensors.starts(specs), strict=True))
        self._held: dict[str, tuple[ArraySpec, int]] = {}
        if file is not None:
            found = tensors.read_specs(file.read(_HEAD), most=_MOST_ARRAYS)
            self._held = {s.name: (s, start) for s, start in zip(found, tensors.starts(found), strict=True)}

    def read(self, group: Sequence[Piece]) -> Arrays:
        """These pieces' moments, as `StrategyRound` takes them. Raises: Corrupt."""
        found: Arrays = {}
        for moment in MOMENTS:
            for piece in group:
                name = piece.spec.name
                if self._file is None or f"{moment}.{name}" not in self._held:
                    continue
                spec, start = self._held[f"{moment}.{name}"]
                flat = ArraySpec(name=spec.name, dtype=spec.dtype, shape=piece.spec.shape)
                offset = start + _index(piece, self._starts) * np.dtype(spec.dtype).itemsize
                found[f"{moment}/{name}"] = tensors.read_piece(self._file, Piece(spec=flat, offset=offset))
        return found


class Writer:
    """What this round leaves.

    Args:
        owner: names detector and round, so that no two ever leave the same bytes, and these can go when they are old.
    """

    def __init__(self, specs: Sequence[ArraySpec], owner: str) -> None:
        self._owner = owner
        self._specs = {spec.name: spec for spec in specs}
        self._starts = dict(zip(self._specs, tensors.starts(specs), strict=True))
        self._made: dict[str, NDArray[Any]] = {}

    def add(self, group: Sequence[Piece], state: Arrays) -> None:
        for moment in MOMENTS:
            for piece in group:
                values = state.get(f"{moment}/{piece.spec.name}")
                if values is None:
                    continue
                name, spec = f"{moment}.{piece.spec.name}", self._specs[piece.spec.name]
                if name not in self._made:
                    self._made[name] = np.zeros(int(np.prod(spec.shape, dtype=np.int64)), values.dtype)
                first = _index(piece, self._starts)
                self._made[name][first : first + values.size] = values

    @property
    def any(self) -> bool:
        """Whether the strategy has moments."""
        return bool(self._made)

    def write(self, append: Callable[[bytes | memoryview], object]) -> None:
        arrays = {**self._made, self._owner: np.zeros(0)}
        specs = tensors.specs_of(arrays)
        append(head := tensors.head(specs))
        at = len(head)
        for start, array in zip(tensors.starts(specs), arrays.values(), strict=True):
            append(bytes(start - at))
            append(array.astype(array.dtype.newbyteorder("<"), copy=False).view(np.uint8).data)
            at = start + array.nbytes


def _index(piece: Piece, starts: dict[str, int]) -> int:
    """The number of a piece's first value in its array."""
    return (piece.offset - starts[piece.spec.name]) // np.dtype(piece.spec.dtype).itemsize
