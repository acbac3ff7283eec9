"""A round's files as its aggregation reads them: the model, and each update, checked as it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from alliance import tensors
from alliance.errors import AllianceError, Corrupt
from alliance.tensors import Piece
from hub.federation.model import Spec
from hub.federation.validate import Check


class Model:
    """The model the updates are of, by pieces."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._kept: dict[int, NDArray[Any]] = {}

    def read(self, piece: Piece) -> NDArray[Any]:
        """Kept until it is forgotten. Raises: Corrupt."""
        if piece.offset not in self._kept:
            self._kept[piece.offset] = tensors.read_piece(self._file, piece)
        return self._kept[piece.offset]

    def forget(self, group: Iterable[Piece]) -> None:
        for piece in group:
            self._kept.pop(piece.offset, None)


class Submitted:
    """One member's update. `problem` is the first thing that was found wrong with it.

    Pieces are read as often as one likes; each is checked the first time. There is no file where the model has no
    arrays.
    """

    def __init__(self, file: BinaryIO | None, spec: Spec, model: Model) -> None:
        self.problem: AllianceError | None = None
        self._file, self._model, self._check = file, model, Check(spec)
        self._checked: set[int] = set()
        if file is not None:
            self._examine(lambda: tensors.check_head(file, spec.arrays))

    def read(self, piece: Piece) -> NDArray[Any]:
        """The values; zeros where the file has no more."""
        assert self._file is not None
        try:
            values = tensors.read_piece(self._file, piece)
        except Corrupt as error:
            self.problem = self.problem or error
            return np.zeros(piece.spec.shape, piece.spec.dtype)
        if piece.offset not in self._checked:
            self._checked.add(piece.offset)
            self._examine(lambda: self._check.piece(piece, values, lambda: self._model.read(piece)))
        return values

    def see(self, group: Iterable[Piece]) -> None:
        """Checks what nobody has read of these pieces."""
        for piece in group:
            if piece.offset not in self._checked:
                self.read(piece)

    def finish(self) -> None:
        """After the last piece."""
        self._examine(self._check.finish)

    def _examine(self, check: Callable[[], None]) -> None:
        if self.problem is None:
            try:
                check()
            except AllianceError as error:
                self.problem = error
