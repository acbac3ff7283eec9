"""Agents and certificates against the leaves that tell of enrolments, renewals and revocations.

A leaf names no serial number, so a certificate is held against the leaf of the moment it was issued in, and against all
that revokes it. Not in the log, so not checked: the serial number and the issuer, which the certificate itself names.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row

from alliance.canonical import AuditEvent
from hub.fsck.findings import TOLERANCE, Finding, Told, key_of, rows, timed

# A certificate's own times have no fractions.
SECOND = 1_000_000
# Whose certificate: a member or console user, and the agent; the first agent of a member is named by no leaf.
Holder = tuple[str, str]


@dataclass(slots=True)
class Certificates:
    """What was issued and revoked, by holder; what is revoked of all of a subject's has no agent."""

    first: dict[str, Told] = field(default_factory=dict)
    enrolled: dict[Holder, Told] = field(default_factory=dict)
    issued: dict[Holder, list[Told]] = field(default_factory=lambda: defaultdict(list))
    renewed: dict[Holder, list[Told]] = field(default_factory=lambda: defaultdict(list))
    revoked: dict[Holder, list[Told]] = field(default_factory=lambda: defaultdict(list))
    # The time of the newest leaf.
    until: int = 0

    def read(self, leaf: AuditEvent, index: int) -> None:
        event, _, detail = leaf.event.partition(":")
        told, subject = Told(digest=leaf.digest, actor=leaf.actor, time=leaf.time, leaf=index), leaf.subject
        self.until = max(self.until, leaf.time)
        match event:
            case "member_enrolled":
                self.first[subject] = told
            case "agent_enrolled":
                self.enrolled.setdefault((subject, detail), told)
                self.issued[subject, detail].append(told)
            case "operator_certified":
                self.issued[subject, ""].append(told)
            case "certificate_renewed":
                holder = _holder(subject)
                self.issued[holder].append(told)
                # An operator's older certificates stay good.
                if holder[1]:
                    self.renewed[holder].append(told)
            case "agent_revoked":
                self.revoked[subject, detail].append(told)
            case "member_expelled" | "member_left" | "operator_revoked":
                self.revoked[subject, ""].append(told)
            case _:
                pass

    def why_revoked(self, holder: Holder, issue_time: int) -> Told | None:
        """The leaf that revokes what was issued then and is not renewed meanwhile."""
        subject, _ = holder
        leaves = [*self.revoked.get(holder, []), *self.revoked.get((subject, ""), [])]
        return next((told for told in leaves if told.time >= issue_time), None)


def agents(tx: Connection, said: Certificates) -> Iterator[Finding]:
    """Each was enrolled, is revoked where the log says so, and has the certificate that it is known by."""
    seen, firsts, ends = set(), dict(said.first), _ends(tx)
    for row in rows(tx, "agent"):
        holder = (row.member, row.name)
        key, revoked, told = key_of(holder), said.revoked.get(holder, []), said.enrolled.get(holder)
        seen.add(holder)
        first = firsts.get(row.member)
        # An agent that came back has a leaf of its own too, of a later time.
        if told is None or abs(row.create_time - told.time) > TOLERANCE:
            if first is not None and abs(row.create_time - first.time) <= TOLERANCE:
                del firsts[row.member]
            elif told is None:
                yield Finding(table="agent", key=key, problem="the log says nothing of it")
                continue
            else:
                yield from timed("agent", key, "create_time", row.create_time, told)
        if revoked and row.revoke_time is None:
            yield Finding(table="agent", key=key, problem=f"is not revoked, leaf {revoked[0].leaf} says it is")
        elif revoked:
            yield from timed("agent", key, "revoke_time", row.revoke_time, revoked[0])
        elif row.revoke_time is not None:
            yield Finding(table="agent", key=key, problem="is revoked, the log says nothing of that")
        # What ended before the log's last leaf may have been forgotten.
        if row.expire_time > said.until and not any(one >= row.expire_time - SECOND for one in ends[holder]):
            yield Finding(table="agent", key=key, problem=f"no certificate of it lasts until {row.expire_time}")
    for holder in sorted(set(said.enrolled) - seen):
        problem = f"is missing, leaf {said.enrolled[holder].leaf} says it was made"
        yield Finding(table="agent", key=key_of(holder), problem=problem)


def certificates(tx: Connection, said: Certificates) -> Iterator[Finding]:
    """Each was issued by a leaf of its moment, one by each, and is revoked if and only if something revokes it."""
    retired = {row.name for row in rows(tx, "authority") if row.phase == "retired"}
    by_holder: dict[Holder, list[Row[Any]]] = defaultdict(list)
    for row in rows(tx, "certificate"):
        by_holder[row.subject, row.agent].append(row)
    firsts = dict(said.first)
    for holder, listed in by_holder.items():
        leaves = deque(sorted(said.issued.get(holder, []), key=lambda told: told.time))
        for row in sorted(listed, key=lambda row: row.issue_time):
            while leaves and leaves[0].time < row.issue_time - TOLERANCE:
                leaves.popleft()
            first = firsts.get(row.subject)
            if leaves and leaves[0].time <= row.issue_time + TOLERANCE:
                leaves.popleft()
            elif first is not None and abs(row.issue_time - first.time) <= TOLERANCE:
                del firsts[row.subject]
            else:
                problem = f"the log knows no issue to {key_of(holder)} then"
                yield Finding(table="certificate", key=row.serial, problem=problem)
                continue
            yield from _revocation(row, holder, said, retired)


def _ends(tx: Connection) -> dict[Holder, list[int]]:
    """When the certificates of each agent end."""
    found: dict[Holder, list[int]] = defaultdict(list)
    for row in rows(tx, "certificate"):
        found[row.subject, row.agent].append(row.not_after)
    return found


def _revocation(row: Row[Any], holder: Holder, said: Certificates, retired: set[str]) -> Iterator[Finding]:
    cause = said.why_revoked(holder, row.issue_time)
    if row.revoke_time is None and cause is not None:
        problem = f"is not revoked, leaf {cause.leaf} revokes all of {key_of(holder)}"
        yield Finding(table="certificate", key=row.serial, problem=problem)
    elif row.revoke_time is None or cause is not None:
        return
    elif row.issuer not in retired and not any(told.time > row.issue_time for told in said.renewed.get(holder, [])):
        yield Finding(table="certificate", key=row.serial, problem="is revoked, the log says nothing of that")


def _holder(subject: str) -> Holder:
    """Of `members/acme/agents/0a1b`, or `operators/dana`."""
    who, mark, agent = subject.partition("/agents/")
    return who, f"agents/{agent}" if mark else ""
