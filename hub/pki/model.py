"""Authorities and how one takes over from another, by time: pure.

announced -> active -> outgoing -> retired. Whoever verifies trusts all but the retired ones; the active one issues.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from cryptography import x509

from alliance import anchors


class Phase(StrEnum):
    ANNOUNCED = "announced"
    ACTIVE = "active"
    OUTGOING = "outgoing"
    RETIRED = "retired"


class Issued(NamedTuple):
    """A certificate that this hub issued, to whom."""

    subject: str
    agent: str
    revoked: bool


@dataclass(frozen=True, kw_only=True)
class Authority:
    """`anchor`, `issuer`, `cross`: DER; `issuer` is the anchor itself where there is no offline root, `cross` is empty
    for the first. Times and the overlap are in microseconds; `sealed_key` is empty where the key is the home's
    ca.key.
    """

    anchor: bytes
    issuer: bytes
    cross: bytes = b""
    sealed_key: bytes = b""
    phase: Phase
    announce_time: int = 0
    phase_time: int = 0
    overlap: int = 0

    @cached_property
    def anchor_certificate(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.anchor)

    @cached_property
    def issuer_certificate(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.issuer)

    @cached_property
    def name(self) -> str:
        return anchors.name_of(self.issuer_certificate)

    @property
    def above_leaf(self) -> tuple[bytes, ...]:
        """What a chain carries above the leaf: the intermediate, and what the anchor before has signed."""
        return tuple(der for der in (self.issuer if self.issuer != self.anchor else b"", self.cross) if der)

    def to(self, phase: Phase, now: int) -> Authority:
        return replace(self, phase=phase, phase_time=now)


def active(authorities: Sequence[Authority]) -> Authority:
    return next(one for one in authorities if one.phase is Phase.ACTIVE)


def due(authorities: Sequence[Authority], now: int, in_use: Collection[str]) -> list[Authority]:
    """The authorities that change phase now, as they are then; `in_use` names those with certificates still good."""
    changed: list[Authority] = []
    for one in authorities:
        over = now >= one.phase_time + one.overlap
        if one.phase is Phase.ANNOUNCED and over:
            changed += activated(authorities, one, now)
        elif one.phase is Phase.OUTGOING and over and one.name not in in_use:
            changed.append(one.to(Phase.RETIRED, now))
    return changed


def activated(authorities: Sequence[Authority], successor: Authority, now: int) -> list[Authority]:
    """The successor issues from now on; the one before keeps its trust for at least the successor's overlap."""
    before = replace(active(authorities), overlap=successor.overlap)
    return [before.to(Phase.OUTGOING, now), successor.to(Phase.ACTIVE, now)]


def anchors_of(authorities: Sequence[Authority]) -> list[x509.Certificate]:
    """Every anchor to trust, each once."""
    return list(dict.fromkeys(one.anchor_certificate for one in authorities if one.phase is not Phase.RETIRED))
