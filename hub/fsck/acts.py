"""Proposed actions, members' consents to detectors and reports of hits, against the leaves that tell of them.

Not in the log, so not checked: the response that an approved call gave, and the bucket of a hit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection

from alliance.canonical import AuditEvent, sha256
from hub.fsck.findings import TOLERANCE, Finding, Told, absent, by, key_of, rows, timed


@dataclass(slots=True)
class Acts:
    """By the key of the object that the store must have."""

    proposed: dict[str, Told] = field(default_factory=dict)
    # The RPC's own name.
    rpcs: dict[str, str] = field(default_factory=dict)
    decided: dict[str, tuple[str, Told]] = field(default_factory=dict)
    # Detector and member, from the leaf since which it has consented.
    consents: dict[tuple[str, str], Told] = field(default_factory=dict)
    # Bank and reporter; each report once.
    hits: dict[tuple[str, str], list[Told]] = field(default_factory=lambda: defaultdict(list))

    def read(self, leaf: AuditEvent, index: int) -> None:
        event, _, detail = leaf.event.partition(":")
        told = Told(digest=leaf.digest, actor=leaf.actor, time=leaf.time, leaf=index)
        match event:
            case "action_proposed":
                self.proposed[leaf.subject], self.rpcs[leaf.subject] = told, detail
            case "action_approved":
                self.decided[leaf.subject] = "approved", told
            case "action_rejected":
                self.decided[leaf.subject] = "rejected", told
            case "detector_joined":
                self.consents.setdefault((leaf.subject, leaf.actor), told)
            case "detector_left":
                self.consents.pop((leaf.subject, leaf.actor), None)
            case "hits_reported":
                self.hits[leaf.subject, leaf.actor].append(told)
            case _:
                pass


def actions(tx: Connection, said: Acts) -> Iterator[Finding]:
    """Who proposed what, and who decided how."""
    seen = set()
    for row in rows(tx, "action"):
        key = f"actions/{row.id}"
        seen.add(key)
        told = said.proposed.get(key)
        if told is None:
            yield Finding(table="action", key=key, problem="the log says nothing of it")
            continue
        state, decided = said.decided.get(key, ("open", None))
        claims = [
            ("method", row.method.rpartition("/")[2], said.rpcs[key], told),
            ("request", sha256(bytes(row.request)).hex(), told.digest.hex(), told),
            ("proposer", row.proposer, told.actor, told),
            ("state", row.state, state, decided or told),
            ("decider", row.decider, decided.actor if decided else "", decided or told),
        ]
        for what, found, wanted, leaf in claims:
            if found != wanted:
                problem = f"its {what} is {found or 'none'}, {by(leaf)} says {wanted or 'none'}"
                yield Finding(table="action", key=key, problem=problem)
        yield from timed("action", key, "propose_time", row.propose_time, told)
        if decided is not None:
            yield from timed("action", key, "decide_time", row.decide_time, decided)
        elif row.decide_time:
            yield Finding(table="action", key=key, problem="it has a decide_time, the log knows no decision")
    yield from absent("action", set(said.proposed) - seen, said.proposed)


def consents(tx: Connection, said: Acts) -> Iterator[Finding]:
    """Who takes part in training which detector."""
    seen = set()
    for row in rows(tx, "detector_consent"):
        key = (row.detector, row.member)
        seen.add(key)
        if (told := said.consents.get(key)) is None:
            yield Finding(table="detector_consent", key=key_of(key), problem="the log says nothing of it")
        else:
            yield from timed("detector_consent", key_of(key), "time", row.time, told)
    yield from absent("detector_consent", set(said.consents) - seen, said.consents)


def hits(tx: Connection, said: Acts) -> Iterator[Finding]:
    """Each hit is of a report, and of a row of a batch in its bank."""
    counts = {(row.bank, bytes(row.batch_digest)): row.row_count for row in rows(tx, "bank_entry") if row.batch_digest}
    for row in rows(tx, "fingerprint_hit"):
        key = key_of((row.bank, bytes(row.batch_digest).hex(), row.row, row.reporter))
        reports = said.hits.get((row.bank, row.reporter), [])
        if not any(abs(row.time - told.time) <= TOLERANCE for told in reports):
            problem = f"the log knows no report of {row.reporter} at {row.time}"
            yield Finding(table="fingerprint_hit", key=key, problem=problem)
        if not 0 <= row.row < counts.get((row.bank, bytes(row.batch_digest)), 0):
            yield Finding(table="fingerprint_hit", key=key, problem="the bank has no such row")
