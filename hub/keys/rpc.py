"""KeyService: parse, call, render."""

from __future__ import annotations

from sqlalchemy import Connection

from alliance.names import digest, group_id, member_id
from alliance.v1 import key_pb2 as pb
from hub.keys.model import Epoch, Wrap
from hub.keys.service import KeyService
from hub.runtime.caller import Caller
from hub.runtime.clock import Clock, micros, timestamp


class KeyRpc:
    def __init__(self, service: KeyService, clock: Clock) -> None:
        self._service = service
        self._clock = clock

    def get_group_key(self, tx: Connection, caller: Caller, request: pb.GetGroupKeyRequest) -> pb.GetGroupKeyResponse:
        state = self._service.state(tx, caller, group_id(request.group), request.epoch)
        response = pb.GetGroupKeyResponse(
            members_without_wrap=state.lacking, members=state.members, rotation_due=state.rotation_due
        )
        if state.epoch is not None:
            response.epoch.CopyFrom(_epoch(state.epoch))
        if (wrap := state.wrap) is not None:
            response.wrap.CopyFrom(
                pb.KeyWrap(
                    group=wrap.group,
                    epoch=wrap.epoch,
                    recipient=wrap.recipient,
                    sender=wrap.sender,
                    commitment=wrap.commitment,
                    sealed=wrap.sealed,
                    signature=wrap.signature,
                )
            )
        return response

    def create_epoch(self, tx: Connection, caller: Caller, request: pb.CreateEpochRequest) -> pb.CreateEpochResponse:
        epoch = Epoch(
            group=group_id(request.group),
            number=request.epoch,
            commitment=digest(request.commitment, field="commitment"),
            creator=caller.member,
            signature=request.signature,
            create_time=micros(self._clock()),
            previous_sealed=request.previous_sealed,
        )
        created = self._service.create_epoch(tx, caller, epoch, [_wrap(wrap) for wrap in request.wraps])
        return pb.CreateEpochResponse(epoch=_epoch(created))

    def add_wraps(self, tx: Connection, caller: Caller, request: pb.AddWrapsRequest) -> pb.AddWrapsResponse:
        stored = self._service.add_wraps(tx, caller, [_wrap(wrap) for wrap in request.wraps])
        return pb.AddWrapsResponse(stored=stored)


def _epoch(epoch: Epoch) -> pb.GroupKeyEpoch:
    return pb.GroupKeyEpoch(
        group=epoch.group,
        epoch=epoch.number,
        commitment=epoch.commitment,
        creator=epoch.creator,
        create_time=timestamp(epoch.create_time),
        signature=epoch.signature,
        previous_sealed=epoch.previous_sealed,
    )


def _wrap(wrap: pb.KeyWrap) -> Wrap:
    return Wrap(
        group=group_id(wrap.group, field="wraps.group"),
        epoch=wrap.epoch,
        recipient=member_id(wrap.recipient, field="wraps.recipient"),
        sender=member_id(wrap.sender, field="wraps.sender"),
        commitment=digest(wrap.commitment, field="wraps.commitment"),
        sealed=wrap.sealed,
        signature=wrap.signature,
    )
