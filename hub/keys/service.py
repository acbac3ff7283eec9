"""Accepts one epoch winner, stores wraps, tells who lacks one. It checks who, never what: it cannot open any.

The signatures are checked here too, so that a broken agent is refused at once; recipients check them again,
and against the log, because the hub may lie.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from alliance import canonical
from alliance.errors import Conflict, FailedPrecondition, InvalidInput, NotPermitted
from alliance.names import GroupId, MemberId
from hub.audit.service import AuditService
from hub.keys import store
from hub.keys.model import Epoch, GroupKeyState, Wrap
from hub.membership.service import MembershipService
from hub.runtime.caller import Caller
from hub.runtime.clock import Clock

MAX_WRAPS = 1000
MAX_SEALED = 256
# A secret and the tag over it.
SEALED_LINK = canonical.EPOCH_SECRET_SIZE + 16


class KeyService:
    def __init__(self, *, membership: MembershipService, audit: AuditService, clock: Clock) -> None:
        self._membership = membership
        self._audit = audit
        self._clock = clock

    def state(self, tx: Connection, caller: Caller, group: GroupId, number: int) -> GroupKeyState:
        """The epoch (0: the newest), the caller's wrap of it, active members, and those without a wrap."""
        self._membership.require_in_group(tx, group, caller.member)
        epoch = store.find_epoch(tx, group, number or None)
        members = self._active(tx, group)
        if epoch is None:
            return GroupKeyState(members=members)
        have = store.wrapped(tx, group, epoch.number)
        return GroupKeyState(
            epoch=epoch,
            wrap=store.find_wrap(tx, epoch, caller.member),
            members=members,
            lacking=[m for m in members if m not in have],
            rotation_due=not have <= set(self._membership.group(tx, group).members),
        )

    def create_epoch(self, tx: Connection, caller: Caller, epoch: Epoch, wraps: Sequence[Wrap]) -> Epoch:
        """Raises: Conflict, where another member won; InvalidInput; NotPermitted."""
        self._membership.require_in_group(tx, epoch.group, caller.member)
        newest = store.find_epoch(tx, epoch.group)
        if epoch.number != (newest.number if newest else 0) + 1:
            raise Conflict(
                f"{epoch.group} is at epoch {newest.number if newest else 0}",
                reason="EPOCH_TAKEN",
                remedy="fetch the group's key and use that",
            )
        if len(epoch.previous_sealed) not in (0, SEALED_LINK):
            raise InvalidInput("a link to the epoch before has 48 bytes", field="previous_sealed")
        signed = canonical.epoch_bytes(epoch.group, epoch.number, caller.member, epoch.commitment)
        self._membership.require_signed(tx, caller.member, signed, epoch.signature)
        store.add_epoch(tx, epoch)
        self._audit.record(
            tx,
            event=f"epoch_created:{epoch.number}",
            actor=caller.name,
            subject=epoch.group,
            digest=epoch.commitment,
        )
        self._store(tx, caller, epoch, wraps)
        return epoch

    def add_wraps(self, tx: Connection, caller: Caller, wraps: Sequence[Wrap]) -> int:
        """Stores wraps of one current epoch that the caller holds. Raises: InvalidInput, FailedPrecondition."""
        if not wraps:
            return 0
        group = wraps[0].group
        self._membership.require_in_group(tx, group, caller.member)
        epoch = store.find_epoch(tx, group)
        if epoch is None or any((w.group, w.epoch) != (epoch.group, epoch.number) for w in wraps):
            raise FailedPrecondition(
                "not the group's current epoch", reason="EPOCH_STALE", remedy="fetch the key again"
            )
        if store.find_wrap(tx, epoch, caller.member) is None:
            raise NotPermitted("the caller does not hold this epoch", reason="EPOCH_NOT_HELD")
        return self._store(tx, caller, epoch, wraps)

    def group_state(self, tx: Connection, group: GroupId) -> str:
        return store.state(tx, group)

    def current_epoch(self, tx: Connection, group: GroupId) -> int:
        """0 while no member has started one."""
        epoch = store.find_epoch(tx, group)
        return epoch.number if epoch else 0

    def _store(self, tx: Connection, caller: Caller, epoch: Epoch, wraps: Sequence[Wrap]) -> int:
        if len(wraps) > MAX_WRAPS:
            raise InvalidInput(f"at most {MAX_WRAPS} wraps", field="wraps", remedy="send the rest with AddWraps")
        active = set(self._active(tx, epoch.group))
        new: dict[MemberId, Wrap] = {}
        have = store.wrapped(tx, epoch.group, epoch.number)
        for wrap in wraps:
            of_epoch = (wrap.group, wrap.epoch, wrap.commitment) == (epoch.group, epoch.number, epoch.commitment)
            if not of_epoch or wrap.sender != caller.member or len(wrap.sealed) > MAX_SEALED:
                raise InvalidInput("the wrap is not of this epoch and sender", reason="WRAP_INVALID", field="wraps")
            if wrap.recipient not in active:
                raise InvalidInput(f"{wrap.recipient} is not in {epoch.group}", field="wraps.recipient")
            signed = canonical.wrap_bytes(
                wrap.group, wrap.epoch, wrap.sender, wrap.recipient, wrap.commitment, wrap.sealed
            )
            self._membership.require_signed(tx, caller.member, signed, wrap.signature)
            # Whoever changed its identity wraps the key to itself again; nobody else's wrap is replaced.
            if wrap.recipient not in have or wrap.recipient == caller.member:
                new[wrap.recipient] = wrap
        store.save_wraps(tx, list(new.values()))
        for wrap in new.values():
            self._audit.record(
                tx,
                event=f"key_wrapped:{epoch.group}:{epoch.number}",
                actor=caller.name,
                subject=wrap.recipient,
                digest=canonical.sha256(wrap.sealed),
            )
        return len(new)

    def _active(self, tx: Connection, group: GroupId) -> list[MemberId]:
        members = self._membership.group(tx, group).members
        return [m for m in members if self._membership.get(tx, m).takes_part]
