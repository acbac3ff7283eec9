"""Who may read what: TLP 2.0 labels, and the audience of a bank as the audit log has it.

Labels are those of FIRST, Traffic Light Protocol 2.0: who may be told. Of each stricter one fewer may, so they compare:
CLEAR anybody, GREEN the community, AMBER the recipient's organisation and its clients that need to know, AMBER_STRICT
the recipient's organisation only, RED named persons only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from alliance.errors import Corrupt, InvalidInput
from alliance.names import GroupId, group_id


class Tlp(IntEnum):
    """As in the rows of a batch and, by the same numbers, in the contract; a greater one is stricter."""

    CLEAR = 1
    GREEN = 2
    AMBER = 3
    AMBER_STRICT = 4
    RED = 5

    @property
    def label(self) -> str:
        """As it is typed, logged and shown: "amber_strict"."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Of a bank, for its whole life: the group that reads it, and the strictest label that it may hold."""

    group: GroupId
    ceiling: Tlp

    def detail(self) -> str:
        """What stands in the log behind `bank_created:`."""
        return f"{self.group}:{self.ceiling.label}"

    @classmethod
    def of_detail(cls, detail: str) -> Audience:
        """The inverse; what has no label was logged before banks had one. Raises: Corrupt."""
        group, _, label = detail.partition(":")
        try:
            return cls(group=group_id(group), ceiling=ceiling(tlp(label) if label else 0))
        except InvalidInput as error:
            raise Corrupt(f"{detail[:100]!r} is no audience of a bank", reason="LEAF_MALFORMED") from error


def tlp(label: str, *, field: str = "tlp") -> Tlp:
    """Parses a label, "amber_strict" or "AMBER+STRICT". Raises: InvalidInput."""
    try:
        return Tlp[label.upper().replace("+", "_")]
    except KeyError:
        known = ", ".join(one.label for one in Tlp)
        raise InvalidInput(
            f"{label[:40]!r} is no TLP 2.0 label", reason="TLP_UNKNOWN", field=field, remedy=f"use one of {known}"
        ) from None


def ceiling(code: int, *, field: str = "tlp") -> Tlp:
    """The strictest label of a bank, from the contract's number; 0 is amber. Raises: InvalidInput."""
    if code == 0:
        return Tlp.AMBER
    if code not in set(Tlp):
        raise InvalidInput(
            f"{code} is no TLP 2.0 label",
            reason="TLP_UNKNOWN",
            field=field,
            remedy="use a label of the contract, or ask the operator to upgrade the hub",
        )
    if code == Tlp.RED:
        raise InvalidInput(
            "RED is for the eyes of named persons, a bank is read by every member of its group",
            reason="TLP_RED",
            field=field,
            remedy="use amber_strict at most; tell those persons by other means",
        )
    return Tlp(code)
