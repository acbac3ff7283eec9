"""Epochs and wraps as the hub sees them: signed, sealed, opaque."""

from __future__ import annotations

from dataclasses import dataclass

from alliance.names import GroupId, MemberId


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    group: GroupId
    number: int
    commitment: bytes
    creator: MemberId
    signature: bytes
    create_time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrap:
    group: GroupId
    epoch: int
    recipient: MemberId
    sender: MemberId
    commitment: bytes
    sealed: bytes
    signature: bytes
