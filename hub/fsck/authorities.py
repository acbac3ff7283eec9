"""Authorities against the leaves by which one took over from another, and against each other's signatures.

Not in the log, so not checked: the sealed key, which opens under its own name only, and the overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from sqlalchemy import Connection, Row

from alliance import anchors
from alliance.canonical import AuditEvent
from alliance.chain import UNREADABLE
from alliance.errors import AllianceError
from hub.fsck.findings import Finding, Told, rows, timed
from hub.pki.model import Phase


@dataclass(slots=True)
class Authorities:
    """Anchors and issuers by the digest of their certificate, activations by name; in the log's order."""

    added: dict[bytes, Told] = field(default_factory=dict)
    installed: dict[bytes, Told] = field(default_factory=dict)
    retired: dict[bytes, Told] = field(default_factory=dict)
    activated: dict[str, Told] = field(default_factory=dict)

    def read(self, leaf: AuditEvent, index: int) -> None:
        told = Told(digest=leaf.digest, actor=leaf.actor, time=leaf.time, leaf=index)
        match leaf.event:
            case "ca_added":
                self.added[leaf.digest] = told
            case "ca_issuer_installed":
                self.installed[leaf.digest] = told
            case "ca_activated":
                self.activated[leaf.subject] = told
            case "ca_retired":
                self.retired[leaf.digest] = told
            case _:
                pass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A row whose certificates can be read; `told` is the leaf that brought it in, None for the home's own."""

    row: Row[Any]
    anchor: x509.Certificate
    issuer: x509.Certificate
    told: Told | None

    @property
    def root(self) -> bytes:
        return anchors.digest_of(self.anchor)


def authorities(tx: Connection, said: Authorities, first: tuple[bytes, bytes]) -> Iterator[Finding]:
    """`first` is the anchor and the issuer of the home, DER; the table has them since the first rotation."""
    stored: list[_Stored] = []
    names = set()
    for row in rows(tx, "authority"):
        names.add(row.name)
        found = _read(row, said, first)
        if isinstance(found, Finding):
            yield found
        else:
            stored.append(found)
    for one in stored:
        # Whoever vouches may be in a row that cannot be relied on; that one is named already.
        if len(stored) == len(names):
            yield from _vouched(one, stored)
        yield from _moved(one, said, stored)
    roots = {one.root for one in stored}
    for digest, told in {**said.added, **said.installed}.items():
        name = f"authorities/{digest.hex()[:40]}"
        if digest not in roots and name not in names:
            yield Finding(table="authority", key=name, problem=f"is missing, leaf {told.leaf} says it was made")


def _read(row: Row[Any], said: Authorities, first: tuple[bytes, bytes]) -> _Stored | Finding:
    """The row's certificates, if they are those of a leaf, or of the home."""

    def wrong(problem: str) -> Finding:
        return Finding(table="authority", key=row.name, problem=problem)

    try:
        anchor, issuer = (x509.load_der_x509_certificate(bytes(der)) for der in (row.anchor, row.issuer))
        anchors.digest_of(anchor), anchor.public_key(), issuer.public_key()
    except UNREADABLE as error:
        return wrong(f"its certificates cannot be read: {error}")
    if row.name != anchors.name_of(issuer):
        return wrong(f"its issuer is {anchors.name_of(issuer)}")
    if (bytes(row.anchor), bytes(row.issuer)) == first:
        return _Stored(row=row, anchor=anchor, issuer=issuer, told=None)
    told = said.installed.get(anchors.digest_of(issuer)) or said.added.get(anchors.digest_of(anchor))
    if told is None:
        return wrong(f"its anchor is {anchors.digest_of(anchor).hex()}, of which the log says nothing")
    if issuer != anchor and not anchors.issued(issuer, anchor):
        return wrong("its issuer is not signed by its anchor")
    return _Stored(row=row, anchor=anchor, issuer=issuer, told=told)


def _vouched(one: _Stored, stored: Sequence[_Stored]) -> Iterator[Finding]:
    """The anchor's cross certificate is by another; the home's own anchor has none."""
    cross, roots = bytes(one.row.cross_certificate), {each.root for each in stored if each.told is None}
    try:
        if one.root not in roots:
            anchors.require_vouched(one.anchor, cross, [each.anchor for each in stored if each.root != one.root])
        elif cross:
            raise ValueError("nothing vouches for the first anchor")
    except (AllianceError, ValueError) as error:
        yield Finding(table="authority", key=one.row.name, problem=f"its cross certificate is wrong: {error}")


def _moved(one: _Stored, said: Authorities, stored: Sequence[_Stored]) -> Iterator[Finding]:
    """The phase, and when it and the authority began."""
    name, phase = one.row.name, one.row.phase
    wanted, since = _phase(one, said, stored)
    if phase not in wanted:
        says = f"leaf {since.leaf}" if since else "the log"
        problem = f"its phase is {phase}, {says} says {' or '.join(sorted(wanted))}"
        yield Finding(table="authority", key=name, problem=problem)
    elif since is not None:
        yield from timed("authority", name, "phase_time", one.row.phase_time, since)
    if one.told is not None:
        yield from timed("authority", name, "announce_time", one.row.announce_time, one.told)


def _phase(one: _Stored, said: Authorities, stored: Sequence[_Stored]) -> tuple[set[Phase], Told | None]:
    """What phases the log allows, and the leaf since which."""
    order = list(said.activated)
    place = -1 if one.told is None else order.index(one.row.name) if one.row.name in said.activated else None
    if place is None:
        return {Phase.ANNOUNCED}, one.told
    if place == len(order) - 1:
        return {Phase.ACTIVE}, said.activated[order[place]] if place >= 0 else None
    # Of several under one anchor, only the last has a leaf when it is retired.
    several = any(other.root == one.root and other is not one for other in stored)
    if (retired := said.retired.get(one.root)) is not None:
        return {Phase.RETIRED}, None if several else retired
    if several:
        return {Phase.OUTGOING, Phase.RETIRED}, None
    return {Phase.OUTGOING}, said.activated[order[place + 1]]
