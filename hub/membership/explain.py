"""What the hub thinks of a channel certificate, for whoever holds its key.

TLS refuses a bad certificate with a closed socket, so its holder cannot know why. What is told is what a call would be
told, in an order in which nothing is learned by forging: standing is looked up only for a certificate that leads to the
alliance's authority and, as far as the hub knows yet, was issued here, and only its key's holder asks.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from sqlalchemy import Connection

from alliance import canonical, tls
from alliance import chain as paths
from alliance.errors import InvalidInput, NotAuthenticated, NotFound, NotPermitted
from alliance.names import Digest, MemberId
from alliance.tls import Peer, PeerKind
from hub.membership.model import Member, Standing
from hub.membership.service import MembershipService
from hub.pki import model as authorities
from hub.pki.service import PkiService
from hub.runtime.clock import Clock, micros

# A signed question counts so long before and after the time in it.
WINDOW = dt.timedelta(minutes=5)
MAX_CERTIFICATE = 4096
_RENEW = 'run "alliance-agent renew", or start "alliance-agent run", which does it by itself'
_JOIN = "ask the operator for an invitation and join from an empty home"
_OPERATOR = "ask the operator of the hub"
_CLOCKS = "synchronise the clocks of this machine and the hub (NTP)"


class State(StrEnum):
    GOOD = "good"
    WRONG_USAGE = "wrong_usage"
    UNKNOWN_AUTHORITY = "unknown_authority"
    NO_IDENTITY = "no_identity"
    NEVER_ISSUED = "never_issued"
    MEMBER_EXPELLED = "member_expelled"
    MEMBER_LEFT = "member_left"
    REVOKED = "revoked"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    MEMBER_SUSPENDED = "member_suspended"
    MEMBER_UNADMITTED = "member_unadmitted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    state: State
    explanation: str = ""
    remedy: str = ""


class ExplainService:
    def __init__(self, *, alliance: str, pki: PkiService, membership: MembershipService, clock: Clock) -> None:
        self._alliance, self._pki, self._membership, self._clock = alliance, pki, membership, clock

    def now(self) -> int:
        """The hub's clock, in microseconds."""
        return micros(self._clock())

    def explain(self, tx: Connection, chain: Sequence[bytes], *, time: int, signature: bytes) -> Explanation:
        """Of the leaf of a DER chain. Raises: InvalidInput, NotPermitted for one who does not hold its key."""
        certificates = _parsed(chain)
        leaf, now = certificates[0], self._clock()
        self._require_holder(leaf, canonical.sha256(chain[0]), now, time=time, signature=signature)
        if not _is_for_clients(leaf):
            return _said(State.WRONG_USAGE, "the certificate is not for clients", _JOIN)
        if problem := self._path_problem(tx, certificates, now):
            return _said(State.UNKNOWN_AUTHORITY, problem, "join again, or renew, if the alliance's authority changed")
        try:
            peer = tls.peer_of(leaf, alliance=self._alliance)
        except NotAuthenticated as error:
            return _said(State.NO_IDENTITY, error.message, error.remedy)
        return self._of_peer(tx, peer, now)

    def _require_holder(
        self, leaf: x509.Certificate, digest: Digest, now: dt.datetime, *, time: int, signature: bytes
    ) -> None:
        if abs(time - micros(now)) > WINDOW / dt.timedelta(microseconds=1):
            raise InvalidInput(
                f"the question was signed at another time than now; the hub's clock says {now:%Y-%m-%d %H:%M:%S} UTC",
                reason="REQUEST_EXPIRED",
                field="request_time",
                remedy=_CLOCKS,
            )
        signed = canonical.explain_bytes(self._alliance, digest, time)
        key = leaf.public_key()
        try:
            if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
                raise InvalidSignature
            key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise NotPermitted(
                "not signed by the certificate's key",
                reason="NOT_THE_HOLDER",
                remedy="ask on the machine that holds the key",
            ) from None

    def _path_problem(self, tx: Connection, chain: Sequence[x509.Certificate], now: dt.datetime) -> str:
        """Why the path is refused at a time when the leaf itself is valid; empty where it is not."""
        trusted = authorities.anchors_of(self._pki.authorities(tx))
        last = chain[0].not_valid_after_utc - dt.timedelta(seconds=1)
        at = max(chain[0].not_valid_before_utc, min(now, last))
        try:
            paths.verify_client(chain, trusted, at=at)
        except NotAuthenticated as error:
            return error.message
        return ""

    def _of_peer(self, tx: Connection, peer: Peer, now: dt.datetime) -> Explanation:
        issued, expired = self._pki.issued(tx, peer.serial), now >= peer.not_after
        # What is known of a certificate is forgotten some time after its end.
        if (issued is None and not expired) or (issued and (issued.subject, issued.agent) != (peer.name, peer.agent)):
            return _said(State.NEVER_ISSUED, "this hub has no record of issuing the certificate", _JOIN)
        member = self._member(tx, peer)
        if member is not None and member.standing is Standing.EXPELLED:
            return _said(State.MEMBER_EXPELLED, f"{member.id} was expelled", _OPERATOR)
        if member is not None and member.standing is Standing.LEFT:
            return _said(State.MEMBER_LEFT, f"{member.id} left the alliance", _JOIN)
        if issued is not None and issued.revoked:
            remedy = f"{_RENEW}; if the agent was revoked, set up a new one" if member else "ask an admin for a new one"
            return _said(State.REVOKED, "the certificate was revoked", remedy)
        if expired:
            return _said(State.EXPIRED, f"it expired at {peer.not_after:%Y-%m-%d %H:%M:%S} UTC", _RENEW)
        if now < peer.not_before:
            return _said(State.NOT_YET_VALID, f"not valid before {peer.not_before:%Y-%m-%d %H:%M:%S} UTC", _CLOCKS)
        if member is not None and member.standing is Standing.SUSPENDED:
            return _said(State.MEMBER_SUSPENDED, f"{member.id} is suspended", _OPERATOR)
        if member is not None and not member.admitted:
            remedy = f'ask members to run "alliance-agent member admit {member.id}"'
            return _said(State.MEMBER_UNADMITTED, f"{member.id} waits to be admitted", remedy)
        return Explanation(state=State.GOOD)

    def _member(self, tx: Connection, peer: Peer) -> Member | None:
        """None for an operator's certificate."""
        if peer.kind is not PeerKind.MEMBER:
            return None
        try:
            return self._membership.get(tx, MemberId(peer.name))
        except NotFound:
            return None


def _said(state: State, explanation: str, remedy: str) -> Explanation:
    return Explanation(state=state, explanation=explanation, remedy=remedy)


def _parsed(chain: Sequence[bytes]) -> list[x509.Certificate]:
    try:
        if not 1 <= len(chain) <= 1 + paths.MAX_INTERMEDIATES or any(len(der) > MAX_CERTIFICATE for der in chain):
            raise ValueError("too few, too many, or too large")
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        # What is broken inside is found now.
        for certificate in certificates:
            certificate.public_key(), certificate.extensions, certificate.not_valid_after_utc
    except paths.UNREADABLE as error:
        raise InvalidInput(
            "these are no certificates", reason="CERTIFICATE_MALFORMED", field="certificate_chain", remedy="send DER"
        ) from error
    return certificates


def _is_for_clients(leaf: x509.Certificate) -> bool:
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return False
    return list(usages.value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
