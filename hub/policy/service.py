"""The policy in force, and its changes. Who asks reads it in its own transaction, so that a change holds at once."""

from __future__ import annotations

from sqlalchemy import Connection

from hub.audit.service import AuditService
from hub.policy import store
from hub.policy.model import Policy, Revision, change_digest, changes
from hub.runtime.caller import Caller
from hub.runtime.clock import Clock, micros

SUBJECT = "policy"


class PolicyService:
    """`initial` is what the hub's settings say: it holds until the first change, and never again after that."""

    def __init__(self, *, initial: Policy, audit: AuditService, clock: Clock) -> None:
        self._initial = Revision(number=0, policy=initial)
        self._audit = audit
        self._clock = clock

    def current(self, tx: Connection) -> Policy:
        return self.revision(tx).policy

    def revision(self, tx: Connection) -> Revision:
        return store.newest(tx) or self._initial

    def update(self, tx: Connection, caller: Caller, wanted: Policy, *, etag: str) -> Revision:
        """Raises: InvalidInput, Conflict where the policy is not what `etag` says."""
        before = self.revision(tx)
        before.require_seen(etag)
        after, now = before.changed(wanted), micros(self._clock())
        if before.number == 0:
            store.add(tx, before, now=now)
        store.add(tx, after, now=now)
        self._audit.record(
            tx,
            event=f"policy_changed:{after.number}:{changes(before.policy, after.policy)}",
            actor=caller.name,
            subject=SUBJECT,
            digest=change_digest(before.policy, after.policy),
        )
        return after


def changed(tx: Connection) -> Revision | None:
    """The newest change, None before the first: for whoever has no hub's settings at hand."""
    return store.newest(tx)


def history(tx: Connection) -> list[Revision]:
    """Every revision, oldest first. Raises: ValueError for a stored one that is none."""
    return store.revisions(tx)
