"""How one authority takes over from another: announced, active, outgoing, retired; each step is a leaf of the log.

`advance` is called again and again and moves what is due; nothing waits in memory, so that a hub that was killed,
or another hub process over the same database, goes on where this one was.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from sqlalchemy import Connection

from alliance import anchors
from alliance.chain import UNREADABLE
from alliance.errors import Conflict, Corrupt, FailedPrecondition, InvalidInput, NotFound
from hub.audit.service import AuditService
from hub.pki import model, store
from hub.pki.model import Authority, Phase
from hub.pki.service import OPERATOR_LIFETIME, PkiService
from hub.runtime.clock import Clock, micros

# Hub processes look once a second: all of them trust an announced authority before it issues.
SHORTEST = dt.timedelta(seconds=3)
LONGEST = dt.timedelta(days=366)
_DER = serialization.Encoding.DER


class RotationService:
    """`overlap` is how long an authority is announced, and the one before it outgoing, where a call does not say."""

    def __init__(self, *, pki: PkiService, audit: AuditService, clock: Clock, overlap: dt.timedelta) -> None:
        self._pki, self._audit, self._clock, self._overlap = pki, audit, clock, overlap

    def bundle(self, tx: Connection) -> list[Authority]:
        """What members may trust, the active one first."""
        order = (Phase.ACTIVE, Phase.ANNOUNCED, Phase.OUTGOING)
        known = [one for one in self._pki.authorities(tx) if one.phase is not Phase.RETIRED]
        return sorted(known, key=lambda one: order.index(one.phase))

    def live_certificates(self, tx: Connection) -> dict[str, int]:
        """Authority name to how many certificates of it are good now."""
        return store.live_by_issuer(tx, micros(self._clock()))

    def rotate(self, tx: Connection, actor: str, overlap_seconds: int) -> Authority:
        """Makes and announces a new authority. Raises: FailedPrecondition, InvalidInput."""
        known = self._startable(tx)
        before = model.active(known)
        if before.issuer != before.anchor:
            raise FailedPrecondition(
                "the root of this alliance is offline: the hub cannot sign its successor",
                reason="OFFLINE_ROOT",
                remedy='use "alliance-hub ca request", and "ca sign" where the root is',
            )
        made = self._pki.new_successor(before, now=self._clock(), overlap=self._asked(overlap_seconds))
        return self._announce(tx, actor, made)

    def request(self, tx: Connection, actor: str) -> bytes:
        """A PKCS#10 request for the offline root. Raises: FailedPrecondition where there is none."""
        if not self._pki.has_offline_root:
            raise FailedPrecondition(
                "this alliance has no offline root", reason="NO_OFFLINE_ROOT", remedy='use "alliance-hub ca rotate"'
            )
        self._audit.record(tx, event="ca_requested", actor=actor, subject="hub")
        return self._pki.new_request(tx)

    def install(self, tx: Connection, actor: str, certificates: Sequence[bytes], overlap_seconds: int) -> Authority:
        """Takes what the offline root signed. Raises: FailedPrecondition, InvalidInput."""
        known, now = self._startable(tx), micros(self._clock())
        issuer, anchor, cross = _installable(certificates, model.anchors_of(known))
        new_root = anchor not in model.anchors_of(known)
        made = Authority(
            anchor=anchor.public_bytes(_DER),
            issuer=issuer.public_bytes(_DER),
            # Under the same root, what vouched for it still does.
            cross=cross or (b"" if new_root else next(one.cross for one in known if one.anchor_certificate == anchor)),
            sealed_key=self._pki.take_key(tx, issuer),
            phase=Phase.ANNOUNCED,
            announce_time=now,
            phase_time=now,
            overlap=int(self._asked(overlap_seconds).total_seconds() * 1_000_000),
        )
        if new_root:
            return self._announce(tx, actor, made)
        self._audit.record(
            tx,
            event="ca_issuer_installed",
            actor=actor,
            subject=anchors.name_of(anchor),
            digest=anchors.digest_of(issuer),
        )
        store.add_authority(tx, made)
        self._move(tx, known, model.activated(known, made, now), actor)
        return made.to(Phase.ACTIVE, now)

    def retire(self, tx: Connection, actor: str, name: str) -> tuple[Authority, int]:
        """Retires an outgoing authority now; its certificates that are still good are revoked, and counted.

        Raises: NotFound, FailedPrecondition.
        """
        now, known = micros(self._clock()), self._pki.authorities(tx)
        one = next((one for one in known if one.name == name), None)
        if one is None:
            raise NotFound("no such authority", reason="AUTHORITY_UNKNOWN", field="name", remedy='see "ca show"')
        if one.phase is not Phase.OUTGOING:
            raise FailedPrecondition(
                f"the authority is {one.phase}",
                reason="AUTHORITY_NOT_OUTGOING",
                field="name",
                remedy="only one that another has followed can be retired",
            )
        revoked, retired = store.revoke_issuer(tx, name, now=now), one.to(Phase.RETIRED, now)
        self._move(tx, known, [retired], actor)
        return retired, revoked

    def renew_operator(self, tx: Connection, operator: str, request: bytes) -> list[bytes]:
        """Raises: InvalidInput."""
        self._audit.record(tx, event="certificate_renewed", actor=operator, subject=operator)
        return self._pki.issue_operator(tx, request=request, operator=operator, lifetime=OPERATOR_LIFETIME)

    def is_due(self, tx: Connection) -> bool:
        """Whether `advance` has something to do."""
        return bool(self._due(tx, self._pki.authorities(tx)))

    def advance(self, tx: Connection) -> None:
        """Moves what is due."""
        known = self._pki.authorities(tx)
        self._move(tx, known, self._due(tx, known), "hub")

    def _due(self, tx: Connection, known: Sequence[Authority]) -> list[Authority]:
        if all(one.phase in (Phase.ACTIVE, Phase.RETIRED) for one in known):
            return []
        return model.due(known, micros(self._clock()), self.live_certificates(tx))

    def _announce(self, tx: Connection, actor: str, made: Authority) -> Authority:
        store.add_authority(tx, made)
        anchor = made.anchor_certificate
        self._audit.record(
            tx,
            event="ca_added",
            actor=actor,
            subject=anchors.name_of(anchor),
            digest=anchors.digest_of(anchor),
        )
        return made

    def _move(self, tx: Connection, known: Sequence[Authority], changed: Sequence[Authority], actor: str) -> None:
        was = {one.name: one.phase for one in known} | {
            one.name: Phase.ANNOUNCED for one in changed if one.phase is Phase.ACTIVE
        }
        for one in changed:
            if not store.move(tx, one, was=was[one.name]):
                raise Conflict("another hub process moved the authorities", reason="CA_MOVED", remedy="look again")
            if one.phase is Phase.ACTIVE:
                self._audit.record(tx, event="ca_activated", actor=actor, subject=one.name)
        after = [next((new for new in changed if new.name == one.name), one) for one in known]
        for gone in dict.fromkeys(one.anchor_certificate for one in changed if one.phase is Phase.RETIRED):
            if gone not in model.anchors_of(after):
                subject, digest = anchors.name_of(gone), anchors.digest_of(gone)
                self._audit.record(tx, event="ca_retired", actor=actor, subject=subject, digest=digest)

    def _startable(self, tx: Connection) -> Sequence[Authority]:
        """The authorities, all in the database; none is on its way in. Raises: FailedPrecondition."""
        known = self._pki.authorities(tx)
        if any(one.phase is Phase.ANNOUNCED for one in known):
            raise FailedPrecondition(
                "an authority is announced and not active yet",
                reason="CA_ROTATION_RUNNING",
                remedy='wait; "alliance-hub ca show" says how long',
            )
        if not store.authorities(tx):
            for one in known:
                store.add_authority(tx, one)
                store.claim_unnamed(tx, one.name)
        return known

    def _asked(self, seconds: int) -> dt.timedelta:
        if seconds == 0:
            return self._overlap
        if not SHORTEST.total_seconds() <= seconds <= LONGEST.total_seconds():
            raise InvalidInput(
                f"an overlap lasts {SHORTEST.seconds} seconds to {LONGEST.days} days",
                field="overlap_seconds",
                remedy="leave it out for the hub's setting",
            )
        return dt.timedelta(seconds=seconds)


def _installable(
    certificates: Sequence[bytes], trusted: Sequence[x509.Certificate]
) -> tuple[x509.Certificate, x509.Certificate, bytes]:
    """Issuer, anchor and cross certificate, checked against each other and what is trusted. Raises: InvalidInput."""
    try:
        issuer, anchor, *others = [x509.load_der_x509_certificate(der) for der in certificates]
        issuer.verify_directly_issued_by(anchor)
        anchor.verify_directly_issued_by(anchor)
        limits = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        if (limits.ca, limits.path_length) != (True, anchors.INTERMEDIATE_PATH) or len(others) > 1:
            raise ValueError("the first is no issuing authority")
        cross = others[0].public_bytes(_DER) if others else b""
        if anchor not in trusted:
            anchors.require_vouched(anchor, cross, trusted)
        elif cross:
            raise ValueError("the root is trusted already")
    except (*UNREADABLE, InvalidSignature, x509.ExtensionNotFound, Corrupt) as error:
        raise InvalidInput(
            f"these certificates make no authority of this alliance: {error}"[:300],
            reason="CA_CERTIFICATES_INVALID",
            field="certificates",
            remedy='give what "alliance-hub ca sign" wrote',
        ) from error
    return issuer, anchor, cross
