"""A member's rows as a detector learns on them: features, labels, and a split that keeps a group together.

Held back are the rows whose group's hash falls into a fixed share, so the split needs no state, is the same at every
round and on every machine, and no group (for URLs the registrable domain) is ever on both sides. A member that has
a split of its own names it in the column of role `part`.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alliance.errors import FailedPrecondition, InvalidInput
from member_agent.catalog.model import RowError
from member_agent.catalog.readers import delimited, encoding
from member_agent.catalog.readers.records import Record

LABEL, GROUP, PART = "label", "group", "part"
HELD_BACK_SHARE = 0.25
MAX_REFUSED = 1000
"""Row errors kept; beyond, only their number counts."""
_HASHED, _TRAIN, _HELD_BACK = 0, 1, 2
_PARTS: Mapping[str, int] = {"": _HASHED, "train": _TRAIN, "held-back": _HELD_BACK}
# Labels under two-letter country domains that registries sell names beneath ("example.co.uk").
_PUBLIC_SECOND = frozenset(
    {
        "ac",
        "co",
        "com",
        "ed",
        "edu",
        "go",
        "gob",
        "gouv",
        "gov",
        "gv",
        "ltd",
        "me",
        "mil",
        "ne",
        "net",
        "nom",
        "or",
        "org",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """n rows: `features` (n, d) dense float64 or CSR float32, `labels` int64 (n,), `groups` uint64 (n,) hashes,
    `parts` int8 (n,) of the member's own split, `refused` at most `MAX_REFUSED` of `refusals`. After the split, `seen`
    are the labels of the training rows, on either side: what a member knows of its own mix of labels."""

    features: Any
    labels: NDArray[np.int64]
    groups: NDArray[np.uint64]
    parts: NDArray[np.int8]
    seen: NDArray[np.int64] | None = None
    refused: tuple[RowError, ...] = ()
    refusals: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Dataset:
        return Dataset(
            features=self.features[chosen],
            labels=self.labels[chosen],
            groups=self.groups[chosen],
            parts=self.parts[chosen],
            seen=self.seen,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """A row's cells by role, stripped, with what the split needs; `label` is not parsed yet."""

    number: int
    values: Mapping[str, str]
    part: int

    def group(self, otherwise: str) -> int:
        return group_hash(self.values.get(GROUP) or otherwise)


class Refusals:
    """Collects what was wrong with rows, without growing for ever."""

    def __init__(self) -> None:
        self.kept: list[RowError] = []
        self.count = 0

    def add(self, error: RowError) -> None:
        self.count += 1
        if len(self.kept) < MAX_REFUSED:
            self.kept.append(error)


def records(path: Path) -> Iterator[Record]:
    """The rows of a delimited text file, as the catalogue reads them. Raises: InvalidInput, NotFound."""
    found = encoding.survey(path, None).encoding
    dialect = delimited.Dialect(encoding=found, delimiter=delimited.sniff(path, found))
    return delimited.DelimitedReader(path, dialect).records()


def cells(
    rows: Iterable[Record], columns: Mapping[str, str], roles: Iterable[str], refused: Refusals
) -> Iterator[Cells]:
    """Each readable row's cells by role; a broken row goes to `refused`.

    Raises:
        InvalidInput: COLUMN_UNMAPPED for a role without a column, COLUMN_MISSING for a column the rows do not have.
    """
    wanted = {role: columns[role] for role in (*roles, GROUP, PART) if role in columns}
    for role in roles:
        if role not in wanted:
            raise InvalidInput(
                f"no column is named for {role}",
                reason="COLUMN_UNMAPPED",
                field=role,
                remedy="add it to the column map",
            )
    for row in rows:
        if row.error is not None:
            refused.add(row.error)
            continue
        for role, column in wanted.items():
            if column not in row.cells:
                raise InvalidInput(
                    f"there is no column {column!r} (there are: {', '.join(list(row.cells)[:30])})",
                    reason="COLUMN_MISSING",
                    field=role,
                    remedy="mend the column map",
                )
        values = {role: row.cells[column].strip() for role, column in wanted.items()}
        part = _PARTS.get(values.get(PART, ""))
        if part is None:
            refused.add(row_error(row.number, PART, "PART_UNKNOWN", 'neither "train", "held-back" nor empty'))
            continue
        yield Cells(number=row.number, values=values, part=part)


def row_error(number: int, role: str, reason: str, message: str) -> RowError:
    return RowError(row=number, field=role, reason=reason, message=message)


def split(data: Dataset) -> tuple[Dataset, Dataset]:
    """Training rows and held-back rows; no group is in both, unless the member's own split has it so.

    Raises:
        FailedPrecondition: NO_DATA where a side would be empty.
    """
    hashed = data.groups < np.uint64(HELD_BACK_SHARE * 2.0**64)
    back = np.where(data.parts == _HASHED, hashed, data.parts == _HELD_BACK)
    if not len(data) or back.all() or not back.any():
        raise FailedPrecondition(
            f"{len(data)} usable rows do not give rows to train on and rows to hold back",
            reason="NO_DATA",
            remedy="give more rows, of more groups",
        )
    known = replace(data, seen=data.labels[~back])
    return known.take(~back), known.take(back)


def group_hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")


def host(url: str) -> str:
    """The host in lower case, without user, port and scheme; "" where there is none."""
    rest = url.partition("://")[2] if "://" in url else url
    for end in "/?#\\":
        rest = rest.partition(end)[0]
    name = rest.rpartition("@")[2].lower()
    if name.startswith("["):
        return name.partition("]")[0][1:]
    return name.partition(":")[0].strip(".")


def registrable_domain(name: str) -> str:
    """The domain a registry sold, by a small rule: an address is itself; otherwise the last two labels, three
    where the second-last is one that country registries sell beneath (co.uk). Hosting platforms count as one
    domain (all of blogspot.com), which keeps too much together rather than too little."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        labels = name.split(".")
    deep = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _PUBLIC_SECOND
    return ".".join(labels[-3:] if deep else labels[-2:])
