"""Group keys: made by a member, sealed to members, checked against the log; the hub only relays.

Whoever first finds a group without an epoch makes its secret; whoever holds it wraps newcomers in. A wrap
counts only if its sender signed it, the epoch's creator signed the commitment, the secret gives that
commitment, and the audit log has it: a hub cannot put in a key of its own.
"""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Integer,
    LargeBinary,
    String,
    Table,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert

from alliance import canonical
from alliance.errors import Conflict, Corrupt, FailedPrecondition
from alliance.names import BankId, GroupId, MemberId, group_id, member_id
from alliance.v1 import key_pb2 as pb
from alliance.v1 import membership_pb2
from member_agent import keystore
from member_agent.audit_log import AuditLog
from member_agent.database import LocalDatabase
from member_agent.directory import Directory
from member_agent.hub_client import HubClient
from member_agent.identity import Identity
from member_agent.state import metadata

group_key_table = Table(
    "group_key",
    metadata,
    Column("group_name", String, primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("commitment", LargeBinary, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    # False from before an epoch of our own is proposed until the hub and the log have it.
    Column("confirmed", Boolean, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupKey:
    """An epoch's secret, and the keys derived from it per purpose."""

    group: GroupId
    epoch: int
    secret: bytes = field(repr=False)

    def bank_key(self, bank: BankId, salt: bytes) -> bytes:
        """The AES-256 key of one batch; the salt is the batch's own."""
        return self._derive(canonical.encode("alliance/v1/key/bank-values", bank, self.epoch), salt)

    def text_key(self) -> bytes:
        """Keys the term hashes of every text bank of the group in this epoch, 32 bytes."""
        return self._derive(canonical.encode("alliance/v1/key/text-sketch", self.group, self.epoch), None)

    def _derive(self, info: bytes, salt: bytes | None) -> bytes:
        return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(self.secret)


class Keyring:
    """`data_key` wraps the secrets in the agent's database."""

    def __init__(
        self, db: LocalDatabase, *, identity: Identity, data_key: bytes, log: AuditLog, directory: Directory
    ) -> None:
        self._db = db
        self._identity = identity
        self._data_key = data_key
        self._log = log
        self._directory = directory

    def held(self, group: GroupId, epoch: int) -> GroupKey:
        """A key this agent holds. Raises: FailedPrecondition."""
        with self._db.read() as tx:
            row = tx.execute(select(group_key_table.c.wrapped).where(*self._row(group, epoch))).first()
        if row is None:
            raise FailedPrecondition(
                f"no key of {group}, epoch {epoch}",
                reason="GROUP_KEY_MISSING",
                remedy='wait until another member\'s agent is online ("alliance-agent run"), then sync',
            )
        secret = keystore.unwrap(self._data_key, bytes(row.wrapped), self._context(group, epoch))
        return GroupKey(group=group, epoch=epoch, secret=secret)

    def rehearsed(self, group: GroupId) -> GroupKey:
        """A key to compute with and send nothing under: the newest held, else one made up for the moment."""
        with self._db.read() as tx:
            epoch = tx.execute(
                select(func.max(group_key_table.c.epoch)).where(group_key_table.c.group_name == group)
            ).scalar_one()
        if epoch is not None:
            return self.held(group, epoch)
        return GroupKey(group=group, epoch=1, secret=os.urandom(canonical.EPOCH_SECRET_SIZE))

    def current(self, hub: HubClient, group: GroupId) -> GroupKey:
        """The newest epoch's key: held, opened, or made; newcomers are wrapped in on the way.

        Raises: FailedPrecondition while no holder has wrapped it to this member; Corrupt.
        """
        state = self._state(hub, group)
        if not state.HasField("epoch"):
            self._start(hub, group)
            state = self._state(hub, group)
        epoch = state.epoch
        self._settle(hub, epoch)
        try:
            key = self.held(group, epoch.epoch)
        except FailedPrecondition:
            if not state.HasField("wrap"):
                raise
            key = self._accept(hub, epoch, state.wrap)
        if state.members_without_wrap:
            self._wrap_in(hub, key, [member_id(name) for name in state.members_without_wrap])
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

    def _state(self, hub: HubClient, group: GroupId) -> pb.GetGroupKeyResponse:
        """Raises: Corrupt for another group's key, under which this group's values would reach that group."""
        state = hub.call(pb.GetGroupKeyRequest(group=group), pb.GetGroupKeyResponse)
        if state.HasField("epoch") and state.epoch.group != group:
            raise Corrupt(
                f"asked for the key of {group}, the hub shows that of {state.epoch.group}",
                reason="GROUP_MISMATCH",
                remedy="keep this agent's home as evidence, tell the alliance",
            )
        return state

    def _settle(self, hub: HubClient, epoch: pb.GroupKeyEpoch) -> None:
        """Compares what is held with what the hub shows; a proposal of ours that lost is dropped.

        Raises: Corrupt, where a confirmed key's commitment is not the one shown.
        """
        group, commitment = group_id(epoch.group), bytes(epoch.commitment)
        with self._db.read() as tx:
            row = tx.execute(
                select(group_key_table.c.confirmed, group_key_table.c.commitment).where(*self._row(group, epoch.epoch))
            ).first()
        if row is None:
            return
        if row.commitment == commitment:
            if not row.confirmed:
                self._log.require(hub, event=f"epoch_created:{epoch.epoch}", subject=group, digest=commitment)
                self._confirm(group, epoch.epoch)
        elif row.confirmed:
            raise Corrupt(
                f"the hub shows another commitment for {group}, epoch {epoch.epoch}",
                reason="COMMITMENT_MISMATCH",
                remedy="keep this agent's home as evidence, tell the alliance",
            )
        else:
            self._forget(group, epoch.epoch)

    def _start(self, hub: HubClient, group: GroupId) -> None:
        """Makes the first epoch; where another member was faster, its epoch stands."""
        me = self._identity.public.member
        key = GroupKey(group=group, epoch=1, secret=os.urandom(canonical.EPOCH_SECRET_SIZE))
        commitment = canonical.epoch_commitment(group, key.epoch, key.secret)
        request = pb.CreateEpochRequest(
            request_id=str(uuid.uuid4()),
            group=group,
            epoch=key.epoch,
            commitment=commitment,
            signature=self._identity.sign(canonical.epoch_bytes(group, key.epoch, me, commitment)),
            # Its own wrap lets another agent of this member, or a restored one, come by the key.
            wraps=[self._wrap(hub, key, commitment, me)],
        )
        # Kept before it is sent: a kill after the hub accepted it must not lose the only copy.
        self._keep(key, commitment, confirmed=False)
        # A lost race is settled by looking again: whose epoch stands decides.
        with suppress(Conflict):
            hub.call(request, pb.CreateEpochResponse)

    def _accept(self, hub: HubClient, epoch: pb.GroupKeyEpoch, wrap: pb.KeyWrap) -> GroupKey:
        """Opens a wrap and checks everything about it. Raises: Corrupt."""
        group, me = group_id(epoch.group), self._identity.public.member
        creator = self._directory.get(hub, member_id(epoch.creator))
        self._require_admitted(hub, group, creator.member)
        creator.verify(epoch.signature, canonical.epoch_bytes(group, epoch.epoch, creator.member, epoch.commitment))
        sender = self._directory.get(hub, member_id(wrap.sender))
        sender.verify(
            wrap.signature,
            canonical.wrap_bytes(group, epoch.epoch, sender.member, me, epoch.commitment, wrap.sealed),
        )
        secret = self._identity.open(wrap.sealed, canonical.wrap_info(group, epoch.epoch, me))
        if canonical.epoch_commitment(group, epoch.epoch, secret) != epoch.commitment:
            raise Corrupt(f"the wrapped key of {group} is not the committed one", reason="COMMITMENT_MISMATCH")
        self._log.require(hub, event=f"epoch_created:{epoch.epoch}", subject=group, digest=epoch.commitment)
        key = GroupKey(group=group, epoch=epoch.epoch, secret=secret)
        self._keep(key, epoch.commitment, confirmed=True)
        return key

    def _wrap_in(self, hub: HubClient, key: GroupKey, newcomers: list[MemberId]) -> None:
        """Wraps the key to newcomers whose identity and admission to the group are in the log. Raises: Corrupt."""
        commitment = canonical.epoch_commitment(key.group, key.epoch, key.secret)
        for member in newcomers:
            self._require_admitted(hub, key.group, member)
        wraps = [self._wrap(hub, key, commitment, member) for member in newcomers]
        request = pb.AddWrapsRequest(request_id=str(uuid.uuid4()), wraps=wraps)
        hub.call(request, pb.AddWrapsResponse)

    def _require_admitted(self, hub: HubClient, group: GroupId, member: MemberId) -> None:
        """The hub cannot quietly put anyone into a group: the log, which all members see, has it. Raises: Corrupt."""
        if not self._log.await_event(hub, event=f"group_joined:{group}", subject=member):
            raise Corrupt(
                f"the hub shows {member} in {group}, the log does not",
                reason="ADMISSION_MISSING",
                remedy="keep this agent's home as evidence, tell the alliance",
            )

    def _wrap(self, hub: HubClient, key: GroupKey, commitment: bytes, recipient: MemberId) -> pb.KeyWrap:
        me = self._identity.public
        to = me if recipient == me.member else self._directory.get(hub, recipient)
        sealed = to.seal(key.secret, canonical.wrap_info(key.group, key.epoch, recipient))
        signed = canonical.wrap_bytes(key.group, key.epoch, me.member, recipient, commitment, sealed)
        return pb.KeyWrap(
            group=key.group,
            epoch=key.epoch,
            recipient=recipient,
            sender=me.member,
            commitment=commitment,
            sealed=sealed,
            signature=self._identity.sign(signed),
        )

    def _keep(self, key: GroupKey, commitment: bytes, *, confirmed: bool) -> None:
        wrapped = keystore.wrap(self._data_key, key.secret, self._context(key.group, key.epoch))
        values = {"commitment": commitment, "wrapped": wrapped, "confirmed": confirmed}
        statement = insert(group_key_table).values(group_name=key.group, epoch=key.epoch, **values)
        with self._db.write() as tx:
            tx.execute(statement.on_conflict_do_update(index_elements=["group_name", "epoch"], set_=values))

    def _confirm(self, group: GroupId, epoch: int) -> None:
        with self._db.write() as tx:
            tx.execute(update(group_key_table).where(*self._row(group, epoch)).values(confirmed=True))

    def _forget(self, group: GroupId, epoch: int) -> None:
        with self._db.write() as tx:
            tx.execute(delete(group_key_table).where(*self._row(group, epoch)))

    def _row(self, group: GroupId, epoch: int) -> tuple[ColumnElement[bool], ...]:
        return (group_key_table.c.group_name == group, group_key_table.c.epoch == epoch)

    def _context(self, group: GroupId, epoch: int) -> bytes:
        return canonical.encode("alliance/v1/stored-group-key", group, epoch)
