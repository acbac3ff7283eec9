"""Scoring in the training process: a released model read once and checked, then rows in, risks and reasons out.

`open` tells what a model needs and gives, `score` the figures of many rows, `explain` the reasons of a few. Every
frame says which file the model is, so a process that starts anew needs nothing told again. What a detector's code
answers is bounded here, whatever it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from alliance import tensors
from alliance.errors import AllianceError, Corrupt, FailedPrecondition, NotFound
from alliance.tensors import Arrays
from member_agent.catalog.model import RowError
from member_agent.catalog.readers.records import Record
from member_agent.training import dataset
from member_agent.training.dataset import LABEL
from member_agent.training.detector import Detector, keyed, settle

KINDS = frozenset({"open", "score", "explain"})
MAX_REASONS = 8
MAX_TEXT = 200
_MAX_LABELS = 50_000
_KEPT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A model ready to score: `outputs` is 1 for a risk, else the number of classes."""

    code: Detector
    arrays: Arrays
    settings: Mapping[str, float]
    outputs: int


class Labels:
    """What a member calls its classes: labels in its own training rows, read once, if ever, and those it was told."""

    def __init__(self, told: Sequence[str], own: Callable[[], Iterable[str]]) -> None:
        self._told, self._own = told, own
        self._read: list[str] | None = None

    def __iter__(self) -> Iterator[str]:
        if self._read is None:
            found: dict[str, None] = {}
            for text in chain(self._own(), self._told):
                if len(found) == _MAX_LABELS:
                    break
                found[text] = None
            self._read = list(found)
        return iter(self._read)


class Models:
    """The latest few models that were asked for; `code_of` gives a detector's code by its name."""

    def __init__(self, code_of: Callable[[str], Detector]) -> None:
        self._code_of = code_of
        self._kept: dict[tuple[object, ...], Opened] = {}
        self._labels: dict[tuple[object, ...], Labels] = {}

    def answer(self, header: dict[str, Any], body: bytes | bytearray) -> tuple[dict[str, Any], bytes]:
        """What a frame asks, as header and body. Raises: AllianceError, and whatever the detector's code does."""
        model = self._of(header)
        if header["kind"] == "open":
            roles = [role for role in model.code.roles(model.settings) if role != LABEL]
            return {"outputs": model.outputs, "roles": roles}, b""
        asked = json.loads(body)
        columns: dict[str, str] = header["columns"]
        rows = [Record(number, dict(zip(columns.values(), cells, strict=True))) for number, cells in asked["rows"]]
        if header["kind"] == "score":
            return {}, self._scores(model, rows, columns)
        told = model.code.explain(model.arrays, rows, columns, model.settings, self._known(header, asked["labels"]))
        if len(told) != len(rows):
            raise _unlike(model.code, f"{len(told)} explanations of {len(rows)} rows")
        return {}, json.dumps([_explained(one) for one in told]).encode()

    def _scores(self, model: Opened, rows: Sequence[Record], columns: Mapping[str, str]) -> bytes:
        """The risk of each row, or the greatest of its shares, as float64; NaN where it cannot be read."""
        made = np.asarray(model.code.score(model.arrays, rows, columns, model.settings), dtype=np.float64)
        if made.shape != (len(rows), model.outputs):
            raise _unlike(model.code, f"scores of shape {made.shape} for {len(rows)} rows")
        best = np.clip(made.max(axis=1), 0.0, 1.0) if model.outputs else np.full(len(rows), np.nan)
        return best.astype("<f8").tobytes()

    def _of(self, header: dict[str, Any]) -> Opened:
        """Raises: NotFound (MODEL_NOT_HELD, CODE_NOT_INSTALLED), FailedPrecondition, Corrupt, InvalidInput."""
        settings = tuple(sorted(header["settings"].items()))
        place = (header["model"], header["digest"], header["detector"], header["key"], settings)
        if place not in self._kept:
            self._kept[place] = self._open(header)
            if len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
        return self._kept[place]

    def _open(self, header: dict[str, Any]) -> Opened:
        code, path = keyed(self._code_of(header["detector"]), bytes.fromhex(header["key"])), Path(header["model"])
        settings = settle(code, header["settings"])
        if not path.is_file():
            raise NotFound(
                f"the model {path.name} is not in its place",
                reason="MODEL_NOT_HELD",
                remedy='run "alliance-agent sync" to fetch it',
            )
        data = path.read_bytes()
        specs = code.specs(settings)
        if hashlib.sha256(data).hexdigest() != header["digest"]:
            raise _damaged(path, "has another digest")
        arrays = tensors.decode(memoryview(data), specs) if specs else {}
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise _damaged(path, "has values that are no numbers")
        outputs = code.score(arrays, (), {}, settings).shape[1]
        return Opened(code=code, arrays=arrays, settings=settings, outputs=int(outputs))

    def _known(self, header: dict[str, Any], told: Sequence[str]) -> Labels:
        """The labels of this member, kept as long as it tells the same and names the same training rows."""
        path, columns = header["rows"], header["trained"]
        key = (path, columns.get(LABEL), tuple(told))
        if key not in self._labels:
            self._labels = {key: Labels(told, lambda: _own_labels(Path(path), columns))}
        return self._labels[key]


def _own_labels(path: Path, columns: Mapping[str, str]) -> Iterator[str]:
    """The labels in a member's training rows; none where the file has gone, for names are all they are wanted for."""
    if LABEL not in columns or not path.is_file():
        return
    try:
        for row in dataset.records(path):
            if text := row.cells.get(columns[LABEL], "").strip():
                yield text
    except AllianceError:
        return


def _explained(one: Any) -> list[str] | dict[str, Any]:
    if isinstance(one, RowError):
        return {"field": one.field[:MAX_TEXT], "reason": one.reason[:MAX_TEXT], "message": one.message[:MAX_TEXT]}
    texts = [str(text)[:MAX_TEXT] for text in list(one)[:MAX_REASONS]]
    return [text if text.isprintable() else ascii(text)[1:-1] for text in texts]


def _unlike(code: Detector, what: str) -> FailedPrecondition:
    return FailedPrecondition(f"{code.name} gave {what}", reason="SCORES_UNEXPECTED", remedy="tell its author")


def _damaged(path: Path, how: str) -> Corrupt:
    return Corrupt(
        f"the model {path} {how}", reason="MODEL_DAMAGED", remedy='remove it, then run "alliance-agent sync"'
    )
