"""Scores rows by a model held here: what the agent sees of `scoring`, which runs in the training process.

The agent itself never loads a detector's code, nor reads a model. Rows go over in batches, so that a file of any length
takes as much memory as a batch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from alliance.errors import Corrupt, LimitExceeded, Unavailable
from member_agent.catalog.model import RowError
from member_agent.catalog.readers.records import Record
from member_agent.training.consents import Consent
from member_agent.training.models import Held
from member_agent.training.reasons import Explained
from member_agent.training.trainer import Trainer

BATCH_ROWS: Final = 2_000
BATCH_CHARACTERS: Final = 1 << 20


class Scorer:
    """One model, asked in the training process; opening it reads and checks it.

    Args:
        path: where the model's bytes are.
        consent: how this member trains the detector; names of classes come from its rows.
        key: what the detector's features are hashed under (`feature_keys`), none where it has no key.

    Raises:
        NotFound: MODEL_NOT_HELD, CODE_NOT_INSTALLED.
        FailedPrecondition: FEATURE_KEY_MISSING.
        Corrupt: MODEL_DAMAGED, TENSORS_UNEXPECTED.
        AllianceError: as `Trainer.train`; `score` and `explain` raise it too.
    """

    def __init__(self, trainer: Trainer, held: Held, path: Path, consent: Consent | None, *, key: bytes = b"") -> None:
        self._trainer = trainer
        self._header: dict[str, Any] = {
            "detector": held.code,
            "key": key.hex(),
            "settings": dict(held.settings),
            "model": str(path),
            "digest": held.asked.hex(),
            "rows": str(consent.path) if consent else "",
            "trained": dict(consent.columns) if consent else {},
        }
        opened, _ = trainer.ask({**self._header, "kind": "open"}, b"")
        self.is_risk: Final = opened["outputs"] == 1
        """Whether a score is a risk; otherwise it is the share of the likeliest class."""
        self.roles: Final = tuple(str(role) for role in opened["roles"])
        """What a column map must name."""

    def score(self, rows: Sequence[Record], columns: Mapping[str, str]) -> list[float | None]:
        """In [0, 1] for each row, None where it cannot be read."""
        found: list[float | None] = []
        for batch in _batches(rows, columns):
            _, body = self._ask("score", batch, columns)
            if len(body) != 8 * len(batch):
                raise _unlike()
            made = np.frombuffer(body, dtype="<f8").tolist()
            found += [None if math.isnan(value) else value for value in made]
        return found

    def explain(self, rows: Sequence[Record], columns: Mapping[str, str], labels: Sequence[str]) -> list[Explained]:
        """For each row its reasons, strongest first, or what is wrong with it; `labels` name classes."""
        found: list[Explained] = []
        for batch in _batches(rows, columns):
            _, body = self._ask("explain", batch, columns, labels=list(labels))
            told = json.loads(body)
            if len(told) != len(batch):
                raise _unlike()
            found += [_explained(one, row.number) for one, row in zip(told, batch, strict=True)]
        return found

    def _ask(
        self, kind: str, batch: Sequence[Record], columns: Mapping[str, str], **more: Any
    ) -> tuple[dict[str, Any], bytes]:
        wanted = {role: columns[role] for role in self.roles}
        cells = [(row.number, [row.cells.get(column, "") for column in wanted.values()]) for row in batch]
        header = {**self._header, "kind": kind, "columns": wanted}
        try:
            return self._trainer.ask(header, json.dumps({"rows": cells, **more}).encode())
        except (Unavailable, LimitExceeded) as error:
            # Of the detector's code, which a user of it cannot mend.
            raise type(error)(
                error.message, reason=error.reason, remedy=error.remedy or 'screen with "--no-models" meanwhile'
            ) from error


def _batches(rows: Sequence[Record], columns: Mapping[str, str]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    characters = 0
    for row in rows:
        batch.append(row)
        characters += sum(len(row.cells.get(column, "")) for column in columns.values())
        if len(batch) == BATCH_ROWS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _explained(told: Any, number: int) -> Explained:
    if isinstance(told, dict):
        return RowError(row=number, field=told["field"], reason=told["reason"], message=told["message"])
    return tuple(told)


def _unlike() -> Corrupt:
    return Corrupt("the training process answered for other rows", reason="FRAME_UNREADABLE", remedy="screen again")
