"""When rounds are due: pure. What was missed while the hub was down or paused is not made up."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hub.federation.model import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Start rounds of this schedule for the time it was due, and store its next time."""

    schedule: Schedule
    due_time: int


def due(schedule: Schedule, now: int) -> Due | None:
    """At most one start per schedule, however long the hub was away; the rhythm is kept."""
    if schedule.paused or now < schedule.next_time:
        return None
    missed = (now - schedule.next_time) // schedule.interval
    due_time = schedule.next_time + missed * schedule.interval
    return Due(schedule=replace(schedule, next_time=due_time + schedule.interval), due_time=due_time)


def resumed(schedule: Schedule, now: int) -> Schedule:
    """Goes on at the next beat of its rhythm after `now`."""
    behind = max(0, now - schedule.next_time)
    skipped = -(-behind // schedule.interval) if behind else 0
    return replace(schedule, paused=False, next_time=schedule.next_time + skipped * schedule.interval)
