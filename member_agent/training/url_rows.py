"""Rows that hold a URL and a label, as data sets of hashed features; what the URL detectors share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from member_agent.catalog.model import RowError
from member_agent.catalog.readers.records import Record
from member_agent.training import logistic, urls
from member_agent.training.dataset import LABEL, Dataset, Refusals, cells, host, registrable_domain, row_error
from member_agent.training.reasons import Explained

URL = "url"
_LONGEST = 8192
_TRUE, _FALSE = frozenset({"1", "1.0", "true", "yes"}), frozenset({"0", "0.0", "false", "no"})


def binary_label(text: str) -> int | None:
    """1 or 0; None for anything else."""
    low = text.lower()
    return 1 if low in _TRUE else 0 if low in _FALSE else None


def read(
    rows: Iterable[Record],
    columns: Mapping[str, str],
    bits: int,
    label: Callable[[str], int | None],
    *,
    key: bytes,
) -> Dataset:
    """Rows without a host, or with a label that `label` refuses, are refused; groups are registrable domains."""
    refused = Refusals()
    texts, labels, groups, parts = [], [], [], []
    for row in cells(rows, columns, (URL, LABEL), refused):
        text, value = row.values[URL], label(row.values[LABEL])
        if not _readable(text):
            refused.add(_unreadable(row.number))
        elif value is None:
            refused.add(row_error(row.number, LABEL, "LABEL_UNKNOWN", "not a label this detector knows"))
        else:
            texts.append(text)
            labels.append(value)
            groups.append(row.group(registrable_domain(host(text))))
            parts.append(row.part)
    return Dataset(
        features=urls.features(texts, bits=bits, key=key),
        labels=np.array(labels, dtype=np.int64),
        groups=np.array(groups, dtype=np.uint64),
        parts=np.array(parts, dtype=np.int8),
        refused=tuple(refused.kept),
        refusals=refused.count,
    )


def score(
    rows: Iterable[Record],
    columns: Mapping[str, str],
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    *,
    key: bytes,
) -> NDArray[np.float64]:
    """(rows, outputs) in the order of the rows, NaN where a row cannot be read."""
    texts = [_text(row, columns) for row in rows]
    good = np.array([_readable(text) for text in texts], dtype=bool)
    bits = int(weights.shape[0]).bit_length() - 1
    hashed = urls.features([t for t in texts if _readable(t)], bits=bits, key=key)
    made = logistic.probabilities(hashed, weights, bias)
    out = np.full((len(texts), weights.shape[1] if weights.ndim == 2 else 1), np.nan)
    out[good] = made.reshape(int(good.sum()), out.shape[1])
    return out


def explain(
    rows: Iterable[Record], columns: Mapping[str, str], reasons: Callable[[str], Sequence[str]]
) -> list[Explained]:
    """What `reasons` says of each row's URL, or why there is none."""
    found: list[Explained] = []
    for row in rows:
        text = _text(row, columns)
        found.append(reasons(text) if _readable(text) else row.error or _unreadable(row.number))
    return found


def _text(row: Record, columns: Mapping[str, str]) -> str:
    return row.cells.get(columns[URL], "").strip() if row.error is None else ""


def _unreadable(number: int) -> RowError:
    return row_error(number, URL, "URL_UNREADABLE", "not a URL with a host")


def _readable(text: str) -> bool:
    name = host(text) if len(text) <= _LONGEST else ""
    return bool(name) and not any(c.isspace() for c in name)
