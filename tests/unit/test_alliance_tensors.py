"""Arrays cut into pieces: every value once, in the order of its bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alliance import tensors
from alliance.errors import Corrupt
from alliance.tensors import ArraySpec

ARRAYS: tensors.Arrays = {
    "scalar": np.full((), 7, np.float32),
    "none": np.zeros((3, 0), np.float64),
    "w": np.arange(35, dtype=np.float32).reshape(5, 7),
    "wide": np.arange(11, dtype=np.float64),
}
SPECS = tensors.specs_of(ARRAYS)


@pytest.mark.parametrize("most", [1, 2, 5, 36, 1000])
def test_pieces_of_a_file_put_together_are_its_arrays(tmp_path: Path, most: int) -> None:
    path = tmp_path / "arrays"
    path.write_bytes(tensors.encode(ARRAYS))
    found: dict[str, list[float]] = {name: [] for name in ARRAYS}
    with path.open("rb") as file:
        for group in tensors.pieces(SPECS, most):
            assert 1 <= sum(piece.spec.shape[0] for piece in group) <= most
            assert len({piece.spec.name for piece in group}) == len(group)
            for piece in group:
                found[piece.spec.name] += tensors.read_piece(file, piece).tolist()
    assert found == {name: array.reshape(-1).tolist() for name, array in ARRAYS.items()}


@given(st.lists(st.tuples(st.sampled_from(["float32", "float64"]), st.integers(0, 9)), max_size=6), st.integers(1, 12))
def test_pieces_lie_where_the_arrays_do_and_do_not_overlap(shapes: list[tuple[str, int]], most: int) -> None:
    specs = [ArraySpec(name=f"a{n}", dtype=dtype, shape=(size,)) for n, (dtype, size) in enumerate(shapes)]
    at, groups = len(tensors.head(specs)), list(tensors.pieces(specs, most))
    for piece in (piece for group in groups for piece in group):
        assert at <= piece.offset < at + tensors.ALIGNMENT
        at = piece.offset + piece.spec.size
    assert at <= tensors.encoded_size(specs)
    assert sum(p.spec.size for group in groups for p in group) == sum(spec.size for spec in specs)


def test_a_piece_behind_the_end_of_its_file_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "arrays"
    path.write_bytes(tensors.encode(ARRAYS)[:-1])
    *_, (last,) = tensors.pieces(SPECS, 1)
    with path.open("rb") as file, pytest.raises(Corrupt) as caught:
        tensors.read_piece(file, last)
    assert caught.value.reason == "TENSORS_UNEXPECTED"
