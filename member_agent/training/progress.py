"""How a round stands, as a member sees it: counts of slots without names, its own slot, times, figures once released.

Pure. What it shows of the others is how many; the hub tells a member no more.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from alliance.v1 import federation_pb2 as pb
from member_agent.training.consents import Uplift

ENDED: Final = frozenset({"released", "failed", "cancelled"})
_REPORTED: Final = ("reported", "refused", "evaluated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A round at a moment.

    Args:
        since: when its state was first seen here.
        slots: members by the state of their slot.
        slot, slot_reason: this member's own, "" where it has none.
        metrics: once released, what the round's members got, by name of the metric.
        own: once released, what this member got, if it took part.
    """

    round: str
    detector: str
    number: int
    state: str
    quorum: int
    now: dt.datetime
    since: dt.datetime
    deadline: dt.datetime
    slots: Mapping[str, int]
    slot: str
    slot_reason: str
    reason: str
    metrics: Sequence[pb.MetricSummary] = ()
    own: Sequence[Uplift] = ()

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def asked(self) -> int:
        """Members that are asked for an answer in this phase; in a round that has ended, those that had a slot."""
        if self.state == "evaluating":
            return self.slots.get("reported", 0) + self.slots.get("evaluated", 0)
        return sum(self.slots.values())

    @property
    def answered(self) -> int:
        """How many of them answered, whether or not it counted."""
        if self.state in ("evaluating", "released"):
            return self.slots.get("evaluated", 0)
        return sum(self.slots.get(state, 0) for state in _REPORTED)

    @property
    def seconds(self) -> float:
        """In this state, as far as it was watched."""
        return (self.now - self.since).total_seconds()

    @property
    def seconds_left(self) -> float:
        """Until the phase's deadline; 0 once the round has ended."""
        return 0.0 if self.ended else max(0.0, (self.deadline - self.now).total_seconds())

    def same_as(self, before: Progress | None) -> bool:
        """Whether nothing changed but the time."""
        return before is not None and replace(before, now=self.now) == self

    def line(self) -> str:
        """For people."""
        parts = [f"{self.round} {self.detector.partition('/')[2]} {self.state}"]
        if self.slots:
            parts.append(f"{self.answered} of {self.asked} answered")
        elif not self.ended:
            parts.append(f"quorum {self.quorum}")
        if self.slot:
            parts.append(f"here {self.slot}" + (f" ({self.slot_reason})" if self.slot_reason else ""))
        if self.reason:
            parts.append(self.reason)
        if not self.ended:
            parts.append(f"{self.seconds:.0f} s, {self.seconds_left:.0f} s left")
        return ", ".join(parts)

    def row(self) -> dict[str, object]:
        """For programs."""
        return {
            "time": self.now.isoformat(timespec="milliseconds"),
            "round": self.round,
            "detector": self.detector,
            "number": self.number,
            "state": self.state,
            "answered": self.answered,
            "asked": self.asked,
            "slots": dict(self.slots),
            "slot": self.slot,
            "quorum": self.quorum,
            "seconds": round(self.seconds, 1),
            "seconds_left": round(self.seconds_left, 1),
            "reason": self.reason or self.slot_reason,
            "metrics": self.figures(),
        }

    def figures(self) -> list[dict[str, object]]:
        """A released round's metrics over its members, and this member's own."""
        own = {one.metric: one for one in self.own}
        return [
            {
                "metric": one.name,
                "members": one.members,
                "federated_mean": round(one.federated_mean, 4),
                "federated_least": round(one.federated_least, 4),
                "local_mean": round(one.local_mean, 4),
                "members_not_worse": one.members_not_worse,
                "here": round(own[one.name].federated, 4) if one.name in own else None,
                "here_alone": round(own[one.name].local, 4) if one.name in own else None,
            }
            for one in self.metrics
        ]


def progress(
    found: pb.Round, before: Progress | None = None, *, now: dt.datetime, own: Sequence[Uplift] = ()
) -> Progress:
    """How a round stands now, where it stood like `before`."""
    state = pb.RoundState.Name(found.state).removeprefix("ROUND_STATE_").lower()
    mine = found.participants[0] if found.participants else pb.Participant()
    return Progress(
        round=found.name,
        detector=found.detector,
        number=found.number,
        state=state,
        quorum=found.quorum,
        now=now,
        since=before.since if before is not None and before.state == state else now,
        deadline=found.deadline_time.ToDatetime(tzinfo=dt.UTC),
        slots={_slot_state(one.state): one.members for one in found.slots},
        slot=_slot_state(mine.state) if found.participants else "",
        slot_reason=mine.reason,
        reason=found.reason,
        metrics=tuple(found.metrics),
        own=tuple(own),
    )


def _slot_state(state: pb.ParticipantState) -> str:
    return pb.ParticipantState.Name(state).removeprefix("PARTICIPANT_STATE_").lower()
