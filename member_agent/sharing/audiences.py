"""Who reads a bank, and what it may hold: pinned by the audit log, and held to at both ends.

The hub cannot open a batch, so labels are the agents' to enforce: a publisher seals nothing that is stricter than the
bank's ceiling, a reader leaves out what another's agent let through. A bank's group and ceiling are in the log from its
creation on. A hub that shows the bank under another group would have values sealed for that group's eyes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alliance.audience import Audience, Tlp
from alliance.errors import Corrupt, InvalidInput
from alliance.names import BankId, bank_id, group_id
from alliance.v1 import fingerprint_pb2 as pb
from member_agent.audit_log import AuditLog
from member_agent.hub_client import HubClient
from member_agent.sharing.rows import Rows

_EVENT = "bank_created"
# Rows of one batch that a problem names.
_NAMED = 10


class Audiences:
    """Compares the banks that a hub shows with those that the log has."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def require(self, hub: HubClient, shown: pb.Bank) -> Audience:
        """The audience of a bank as it was created; waits a moment for the hub to log it.

        Raises: Corrupt, AUDIENCE_CHANGED where the hub shows another, LOG_MISSING where the log has none; InvalidInput
        for names that are none.
        """
        bank = bank_id(shown.name)
        logged = self._log.await_event(hub, event=_EVENT, subject=bank)
        if not logged:
            raise Corrupt(
                f"the log says nothing of {_EVENT} for {bank}",
                reason="LOG_MISSING",
                remedy="try again; if it stays, tell the alliance",
            )
        return _same(bank, shown, logged)

    def rehearsed(self, shown: pb.Bank) -> Audience:
        """As the hub shows it, to publish nothing by; where the log as held has it, they must be the same.

        Raises: Corrupt, InvalidInput.
        """
        bank = bank_id(shown.name)
        return _same(bank, shown, self._log.find(event=_EVENT, subject=bank))


def _same(bank: BankId, shown: pb.Bank, logged: Sequence[tuple[str, bytes]]) -> Audience:
    """The one audience that all leaves on a bank, and the hub, say it has. Raises: Corrupt."""
    told = f"{group_id(shown.group)}:{_label(shown.tlp)}"
    first, *others = [*(Audience.of_detail(event.partition(":")[2]).detail() for event, _ in logged), told]
    for other in others:
        if other != first:
            raise Corrupt(
                f"{bank} was created for {first}, the hub now shows it for {other}",
                reason="AUDIENCE_CHANGED",
                remedy="publish nothing into it, keep this agent's home as evidence, tell the alliance",
            )
    return Audience.of_detail(first)


def require_label(label: Tlp, bank: BankId, ceiling: Tlp) -> None:
    """Whether rows with this label may go into the bank. Raises: InvalidInput."""
    if label is Tlp.RED:
        raise InvalidInput(
            "RED is for the eyes of named persons, and every member of its group reads a bank",
            reason="TLP_RED",
            field="tlp",
            remedy="do not publish it; tell those persons by other means, or label it amber_strict",
        )
    if label > ceiling:
        raise InvalidInput(
            f"{bank} holds {ceiling.label} at most, these rows are {label.label}",
            reason="TLP_TOO_STRICT",
            field="tlp",
            remedy=f"publish into a bank that may hold {label.label}, or ask the operator to create one",
        )


def effective(rows: Rows) -> NDArray[np.uint8]:
    """Every row's label; a variant shows its base value too, so that the stricter of the two counts."""
    base = rows.variant_of.astype(np.int64)
    own = rows.tlp.astype(np.uint8)
    return np.where(base >= 0, np.maximum(own, own[np.maximum(base, 0)]), own)


def told_stricter(labels: NDArray[np.uint8], alive: NDArray[np.bool_], ceiling: Tlp) -> tuple[NDArray[np.bool_], str]:
    """Which rows that count are stricter than their bank's ceiling, and that in words; "" for none."""
    over = alive & (labels > ceiling)
    found = np.flatnonzero(over).tolist()
    if not found:
        return over, ""
    named = ", ".join(map(str, found[:_NAMED])) + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
    return over, f"left out, labelled stricter than {ceiling.label}, which is all the bank may hold: row {named}"


def _label(code: int) -> str:
    """Of a number in the contract, also one that is no label; unsaid is amber."""
    code = code or Tlp.AMBER
    return Tlp(code).label if code in set(Tlp) else f"label {code}"
