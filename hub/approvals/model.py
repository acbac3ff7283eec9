"""A proposed action and its transitions; pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum

from alliance.errors import FailedPrecondition, InvalidInput, NotPermitted

LIFETIME = 7 * 86_400 * 1_000_000


class State(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """`request` and `response` are serialised messages of `method`; times are microseconds since the epoch."""

    id: int
    method: str
    request: bytes
    state: State
    proposer: str
    propose_time: int
    decider: str = ""
    decide_time: int = 0
    response: bytes = b""

    @property
    def expire_time(self) -> int:
        return self.propose_time + LIFETIME

    def at(self, now: int) -> Action:
        """As it is seen at this moment: an open one expires by itself."""
        if self.state is State.OPEN and now >= self.expire_time:
            return replace(self, state=State.EXPIRED)
        return self

    def approve(self, by: str, now: int, *, request_digest: bytes) -> Action:
        """Raises: FailedPrecondition, NotPermitted for the proposer itself, InvalidInput for another request."""
        self._require_open()
        if by == self.proposer:
            raise NotPermitted(
                f"{by} proposed it", reason="OWN_ACTION", remedy="another admin approves what an admin proposed"
            )
        if request_digest != hashlib.sha256(self.request).digest():
            raise InvalidInput(
                "what was looked at is not what was proposed",
                reason="ACTION_CHANGED",
                field="request_digest",
                remedy='look again with "alliance-hub approval list"',
            )
        return replace(self, state=State.APPROVED, decider=by, decide_time=now)

    def reject(self, by: str, now: int) -> Action:
        """Raises: FailedPrecondition."""
        self._require_open()
        return replace(self, state=State.REJECTED, decider=by, decide_time=now)

    def _require_open(self) -> None:
        if self.state is not State.OPEN:
            raise FailedPrecondition(
                f"actions/{self.id} is {self.state}", reason="ACTION_CLOSED", remedy="propose it again"
            )
