"""Epochs and wraps as the hub sees them: signed, sealed, opaque."""

from __future__ import annotations

from collections.abc import Sequence
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
    previous_sealed: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrap:
    group: GroupId
    epoch: int
    recipient: MemberId
    sender: MemberId
    commitment: bytes
    sealed: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupKeyState:
    """How a group's key stands for one member: `wrap` is its own, `members` those that are active."""

    members: Sequence[MemberId]
    epoch: Epoch | None = None
    wrap: Wrap | None = None
    lacking: Sequence[MemberId] = ()
    rotation_due: bool = False
