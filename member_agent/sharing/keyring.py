"""Group keys: made by a member, sealed to members, checked against the log, changed in time; the hub only relays.

Whoever first finds a group without an epoch makes its secret; whoever holds it wraps newcomers in; whoever finds
that a member has gone since, or that the epoch is old, starts the next. A wrap counts only if its sender signed it,
the epoch's creator signed the commitment, the secret gives that commitment, and the audit log has it: a hub cannot
put in a key of its own. Each epoch seals the secret of the one before: who joins later reads what is there.
"""

from __future__ import annotations

import datetime as dt
import os
import time
import uuid
from collections.abc import Iterable, Sequence

import structlog

from alliance import canonical
from alliance.errors import Conflict, Corrupt, FailedPrecondition
from alliance.names import GroupId, MemberId, group_id, member_id
from alliance.v1 import key_pb2 as pb
from alliance.v1 import membership_pb2
from member_agent import audit_log
from member_agent.audit_log import AuditLog
from member_agent.clock import Clock, utc_now
from member_agent.directory import Directory
from member_agent.hub_client import HubClient
from member_agent.identity import Identity
from member_agent.sharing.group_log import GroupHistory, GroupLog
from member_agent.sharing.held_keys import GroupKey, HeldKeys

log = structlog.get_logger()
# The most that one message to the hub may carry.
MAX_WRAPS = 1000


class Keyring:
    """`rotate` is how long an epoch may last; 0 for as long as nobody goes."""

    def __init__(
        self,
        keys: HeldKeys,
        groups: GroupLog,
        *,
        identity: Identity,
        log: AuditLog,
        directory: Directory,
        rotate: dt.timedelta = dt.timedelta(0),
        clock: Clock = utc_now,
    ) -> None:
        self._keys = keys
        self._groups = groups
        self._identity = identity
        self._log = log
        self._directory = directory
        self._rotate = rotate
        self._clock = clock

    def held(self, group: GroupId, epoch: int) -> GroupKey:
        """A key this agent holds. Raises: FailedPrecondition."""
        return self._keys.get(group, epoch)

    def rehearsed(self, group: GroupId) -> GroupKey:
        """A key to compute with and send nothing under: the newest held, else one made up for the moment."""
        if epochs := self._keys.epochs(group):
            return self.held(group, epochs[-1])
        return self._new(group, 1)

    def current(self, hub: HubClient, group: GroupId) -> GroupKey:
        """The newest epoch's key: held, opened, or made; newcomers are wrapped in on the way.

        Raises: FailedPrecondition while no holder has wrapped it to this member; Corrupt.
        """
        # Both read before asking: another process of this agent may come to know more while the hub answers.
        known, held = self._groups.history(group), max(self._keys.epochs(group), default=0)
        state = self._state(hub, group)
        known.require_no_rollback(state.epoch.epoch, held)
        if not state.HasField("epoch"):
            state = self._propose(hub, known, self._new(group, 1), previous=None, members=())
        self._settle(hub, state.epoch)
        key = self._newest(hub, state)
        due = self._is_due(hub, group, hinted=state.rotation_due)
        if key is None and not self._groups.history(group).is_orphaned:
            return self.held(group, state.epoch.epoch)
        if due:
            members = [member_id(name) for name in state.members]
            new = self._new(group, state.epoch.epoch + 1)
            state = self._propose(hub, known, new, previous=key, members=members)
            self._settle(hub, state.epoch)
            key = self._newest(hub, state)
            log.info("group_key_changed", group=group, epoch=state.epoch.epoch)
        if key is None:
            return self.held(group, state.epoch.epoch)
        self._wrap_in(hub, known, key, [member_id(name) for name in state.members_without_wrap])
        self._complete(hub, key, state.epoch)
        return key

    def current_all(self, hub: HubClient) -> dict[GroupId, GroupKey | FailedPrecondition]:
        """Keys of every group this member is in, or why there is none yet."""
        request = membership_pb2.ListGroupsRequest()
        found: dict[GroupId, GroupKey | FailedPrecondition] = {}
        for group in hub.pages(request, membership_pb2.ListGroupsResponse, lambda page: page.groups):
            try:
                found[group_id(group.name)] = self.current(hub, group_id(group.name))
            except FailedPrecondition as error:
                found[group_id(group.name)] = error
        return found

    def wrap_own(self, hub: HubClient) -> None:
        """Wraps the newest key of every group to this member's own identity, as it is now."""
        me = self._identity.public.member
        request = membership_pb2.ListGroupsRequest()
        for one in hub.pages(request, membership_pb2.ListGroupsResponse, lambda page: page.groups):
            group = group_id(one.name)
            state = self._state(hub, group)
            if state.epoch.epoch in self._keys.epochs(group):
                self._send_wraps(hub, [self._wrap(hub, self.held(group, state.epoch.epoch), me)])

    def _state(self, hub: HubClient, group: GroupId, epoch: int = 0) -> pb.GetGroupKeyResponse:
        """Raises: Corrupt for another group's key, under which this group's values would reach that group."""
        state = hub.call(pb.GetGroupKeyRequest(group=group, epoch=epoch), pb.GetGroupKeyResponse)
        if state.HasField("epoch") and (state.epoch.group != group or epoch not in (0, state.epoch.epoch)):
            raise Corrupt(
                f"asked for the key of {group}, the hub shows epoch {state.epoch.epoch} of {state.epoch.group}",
                reason="GROUP_MISMATCH",
                remedy="keep this agent's home as evidence, tell the alliance",
            )
        return state

    def _is_due(self, hub: HubClient, group: GroupId, *, hinted: bool) -> bool:
        """The log decides; where the hub hints at a departure, it has a moment to log it."""
        ends = time.monotonic() + audit_log.WAIT_SECONDS
        while not (due := self._groups.history(group).is_due(self._clock(), self._rotate)):
            if not hinted or time.monotonic() >= ends:
                break
            self._log.update_quietly(hub)
            time.sleep(0.05)
        return due

    def _settle(self, hub: HubClient, epoch: pb.GroupKeyEpoch) -> None:
        """Compares what is held with what the hub shows; a proposal of ours that lost is dropped.

        Raises: Corrupt, where a confirmed key's commitment is not the one shown.
        """
        group, commitment = group_id(epoch.group), bytes(epoch.commitment)
        known = self._keys.known(group, epoch.epoch)
        if known is None:
            return
        if known.commitment == commitment:
            if not known.confirmed:
                self._log.require(hub, event=f"epoch_created:{epoch.epoch}", subject=group, digest=commitment)
                self._keys.confirm(group, epoch.epoch)
        elif known.confirmed:
            raise Corrupt(
                f"the hub shows another commitment for {group}, epoch {epoch.epoch}",
                reason="COMMITMENT_MISMATCH",
                remedy="keep this agent's home as evidence, tell the alliance",
            )
        else:
            self._keys.forget(group, epoch.epoch)

    def _new(self, group: GroupId, epoch: int) -> GroupKey:
        return GroupKey(group=group, epoch=epoch, secret=os.urandom(canonical.EPOCH_SECRET_SIZE))

    def _propose(
        self,
        hub: HubClient,
        known: GroupHistory,
        key: GroupKey,
        *,
        previous: GroupKey | None,
        members: Iterable[MemberId],
    ) -> pb.GetGroupKeyResponse:
        """Starts an epoch for this member and `members`; where another member was faster, its epoch stands.

        Returns: whose epoch stands. Raises: Corrupt, where the hub then shows none of that number.
        """
        me = self._identity.public.member
        # Its own wrap lets another agent of this member, or a recovered one, come by the key.
        wraps = [self._wrap(hub, key, to) for to in [me, *self._counted(hub, known, members)]]
        request = pb.CreateEpochRequest(
            request_id=str(uuid.uuid4()),
            group=key.group,
            epoch=key.epoch,
            commitment=key.commitment,
            signature=self._identity.sign(canonical.epoch_bytes(key.group, key.epoch, me, key.commitment)),
            wraps=wraps[:MAX_WRAPS],
            previous_sealed=key.link(previous) if previous else b"",
        )
        # Kept before it is sent: a kill after the hub accepted it must not lose the only copy.
        self._keys.keep(key, confirmed=False)
        try:
            hub.call(request, pb.CreateEpochResponse)
        except Conflict as error:
            # A lost race is settled by looking again.
            if error.reason != "EPOCH_TAKEN":
                raise
        state = self._state(hub, key.group)
        known.require_no_rollback(state.epoch.epoch, key.epoch)
        return state

    def _newest(self, hub: HubClient, state: pb.GetGroupKeyResponse) -> GroupKey | None:
        """The shown epoch's key, held or accepted now; None while this member has no wrap of it. Raises: Corrupt."""
        group = group_id(state.epoch.group)
        if self._keys.known(group, state.epoch.epoch) is not None:
            return self.held(group, state.epoch.epoch)
        return self._accept(hub, state.epoch, state.wrap) if state.HasField("wrap") else None

    def _accept(self, hub: HubClient, epoch: pb.GroupKeyEpoch, wrap: pb.KeyWrap) -> GroupKey:
        """Opens a wrap and checks everything about it. Raises: Corrupt."""
        group, me = group_id(epoch.group), self._identity.public.member
        self._require_creator(hub, epoch)
        sender = self._directory.require(hub, member_id(wrap.sender), "a wrap")
        event, digest = f"key_wrapped:{group}:{epoch.epoch}", canonical.sha256(wrap.sealed)
        sender.verify(
            wrap.signature,
            canonical.wrap_bytes(group, epoch.epoch, sender.member, me, epoch.commitment, wrap.sealed),
            logged=self._directory.logged(event=event, subject=me, actor=sender.member, digest=digest),
        )
        secret = self._identity.open(wrap.sealed, canonical.wrap_info(group, epoch.epoch, me))
        return self._committed(hub, epoch, GroupKey(group=group, epoch=epoch.epoch, secret=secret))

    def _require_creator(self, hub: HubClient, epoch: pb.GroupKeyEpoch) -> None:
        group = group_id(epoch.group)
        creator = self._directory.require(hub, member_id(epoch.creator), "an epoch")
        self._require_joined(hub, group, creator.member)
        signed = canonical.epoch_bytes(group, epoch.epoch, creator.member, epoch.commitment)
        event, digest = f"epoch_created:{epoch.epoch}", bytes(epoch.commitment)
        logged = self._directory.logged(event=event, subject=group, actor=creator.member, digest=digest)
        creator.verify(epoch.signature, signed, logged=logged)

    def _committed(self, hub: HubClient, epoch: pb.GroupKeyEpoch, key: GroupKey) -> GroupKey:
        """Keeps a key that is the committed one, of an epoch that the log has. Raises: Corrupt."""
        if key.commitment != epoch.commitment:
            raise Corrupt(f"the wrapped key of {key.group} is not the committed one", reason="COMMITMENT_MISMATCH")
        self._log.require(hub, event=f"epoch_created:{key.epoch}", subject=key.group, digest=epoch.commitment)
        self._groups.history(key.group).require_creator(member_id(epoch.creator), key.epoch)
        self._keys.keep(key, confirmed=True)
        return key

    def _complete(self, hub: HubClient, key: GroupKey, epoch: pb.GroupKeyEpoch) -> None:
        """Walks back by the links to what is not held: batches of earlier epochs are read by them. Raises: Corrupt."""
        held = set(self._keys.epochs(key.group))
        for number in range(key.epoch - 1, 0, -1):
            if number in held:
                continue
            after = self.held(key.group, number + 1)
            link = epoch if after.epoch == epoch.epoch else self._state(hub, key.group, after.epoch).epoch
            if not link.previous_sealed:
                # Begun when nobody who was left held the one before.
                return
            epoch = self._state(hub, key.group, number).epoch
            self._require_creator(hub, epoch)
            self._committed(hub, epoch, after.previous(link.previous_sealed))

    def _counted(self, hub: HubClient, known: GroupHistory, members: Iterable[MemberId]) -> list[MemberId]:
        """Others, that members admitted and the log has in the group, and not as gone. Raises: Corrupt."""
        me = self._identity.public.member
        counted = [m for m in members if m != me and self._directory.newcomer(hub, m) is not None]
        for member in counted:
            self._require_joined(hub, known.group, member)
            known.require_present(member)
        return counted

    def _wrap_in(self, hub: HubClient, known: GroupHistory, key: GroupKey, newcomers: Sequence[MemberId]) -> None:
        self._send_wraps(hub, [self._wrap(hub, key, member) for member in self._counted(hub, known, newcomers)])

    def _send_wraps(self, hub: HubClient, wraps: Sequence[pb.KeyWrap]) -> None:
        for at in range(0, len(wraps), MAX_WRAPS):
            request = pb.AddWrapsRequest(request_id=str(uuid.uuid4()), wraps=wraps[at : at + MAX_WRAPS])
            hub.call(request, pb.AddWrapsResponse)

    def _require_joined(self, hub: HubClient, group: GroupId, member: MemberId) -> None:
        """The hub cannot quietly put anyone into a group: the log, which all members see, has it. Raises: Corrupt."""
        if not self._log.await_event(hub, event=f"group_joined:{group}", subject=member):
            raise Corrupt(
                f"the hub shows {member} in {group}, the log does not",
                reason="ADMISSION_MISSING",
                remedy="keep this agent's home as evidence, tell the alliance",
            )

    def _wrap(self, hub: HubClient, key: GroupKey, recipient: MemberId) -> pb.KeyWrap:
        me = self._identity.public
        to = me if recipient == me.member else self._directory.get(hub, recipient)
        sealed = to.seal(key.secret, canonical.wrap_info(key.group, key.epoch, recipient))
        signed = canonical.wrap_bytes(key.group, key.epoch, me.member, recipient, key.commitment, sealed)
        return pb.KeyWrap(
            group=key.group,
            epoch=key.epoch,
            recipient=recipient,
            sender=me.member,
            commitment=key.commitment,
            sealed=sealed,
            signature=self._identity.sign(signed),
        )
