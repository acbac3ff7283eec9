"""The only code that opens the CA key. `membership` asks it to sign members, `hub.pki.rotation` to sign successors.

The first authority is in the home (ca.key, sealed; ca.pem, the anchor; issuer.pem where the root is offline). Those
that follow are in the database, their keys sealed under the same passphrase, so that every hub process has them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from alliance import anchors, tls
from alliance.errors import AlreadyExists, Corrupt, FailedPrecondition, NotAuthenticated
from hub.pki import custody, model, store
from hub.pki import x509 as profile
from hub.pki.model import Authority, Issued, Phase
from hub.pki.offline import OfflineRoot
from hub.runtime.clock import Clock, micros
from hub.runtime.server import Identity

OPERATOR_LIFETIME = dt.timedelta(days=365)
_DER, _PEM = serialization.Encoding.DER, serialization.Encoding.PEM
KEY_FILES = ("ca.key", "log.key")


def create(
    folder: Path, alliance: str, now: dt.datetime, *, phrase: bytes, root: OfflineRoot | None = None
) -> x509.Certificate:
    """Makes the authority and the log key in `folder`; returns the anchor that members pin.

    Args:
        root: issues an intermediate, so that no key in `folder` can sign an authority.

    Raises: AlreadyExists rather than overwrite a CA.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (folder / "ca.key").exists():
        raise AlreadyExists(f"{folder} holds a CA already", reason="CA_EXISTS", remedy="choose another home")
    key = tls.new_channel_key()
    custody.write(folder / "ca.key", key, phrase)
    if root is None:
        anchor = profile.new_ca(alliance, key, now)
    else:
        anchor = root.certificate
        (folder / "issuer.pem").write_bytes(root.issue(key.public_key(), alliance, now).public_bytes(_PEM))
    (folder / "ca.pem").write_bytes(anchor.public_bytes(_PEM))
    custody.write(folder / "log.key", Ed25519PrivateKey.generate(), phrase)
    return anchor


def first_authority(folder: Path) -> Authority:
    """The home's own, as it began. Raises: FailedPrecondition, Corrupt."""
    anchor, path = _read_certificate(folder / "ca.pem"), folder / "issuer.pem"
    issuer = _read_certificate(path) if path.exists() else anchor
    return Authority(anchor=anchor.public_bytes(_DER), issuer=issuer.public_bytes(_DER), phase=Phase.ACTIVE)


def load_log_key(path: Path, phrase: bytes) -> Ed25519PrivateKey:
    """The key that signs checkpoints. Raises: FailedPrecondition, NotAuthenticated, Corrupt."""
    key = custody.read(path, phrase)
    if not isinstance(key, Ed25519PrivateKey):
        raise Corrupt(f"{path.name} is not an Ed25519 key", reason="KEYS_CORRUPT", remedy="restore it from a backup")
    return key


class PkiService:
    """`server` is the life of the hub's own certificate; `phrase` opens the keys."""

    def __init__(self, folder: Path, *, alliance: str, clock: Clock, server: dt.timedelta, phrase: bytes) -> None:
        self._alliance, self._clock, self._server, self._phrase = alliance, clock, server, phrase
        self._first = first_authority(folder)
        self.ca, issuer = self._first.anchor_certificate, self._first.issuer_certificate
        self.has_offline_root = issuer != self.ca
        key = custody.require_p256(custody.read(folder / "ca.key", phrase), "ca.key")
        if key.public_key() != issuer.public_key():
            raise Corrupt(
                "ca.key is not the authority's key", reason="KEYS_CORRUPT", remedy="restore ca/ from one backup"
            )
        self._keys = {self._first.name: key}

    @property
    def initial(self) -> Sequence[Authority]:
        """The home's own authority, as long as there was no other."""
        return (self._first,)

    def authorities(self, tx: Connection) -> Sequence[Authority]:
        """Every authority, retired ones too, oldest first."""
        return store.authorities(tx) or self.initial

    def issue_member(
        self, tx: Connection, *, request: bytes, member: str, agent: str, lifetime: dt.timedelta
    ) -> list[bytes]:
        """A channel certificate for one agent, `members/acme`, `agents/0a1b`. Raises: InvalidInput."""
        spiffe = tls.member_spiffe(self._alliance, member.partition("/")[2], agent.partition("/")[2])
        return self._issue(tx, request=request, spiffe=spiffe, subject=member, agent=agent, lifetime=lifetime)

    def renew_member(
        self, tx: Connection, *, request: bytes, member: str, agent: str, serial: int, lifetime: dt.timedelta
    ) -> list[bytes]:
        """A further certificate for an agent that asks with the one of `serial`. Raises: InvalidInput.

        The one that asked stays good to its end, since the answer may be lost on its way; what is older is revoked.
        """
        chain = self.issue_member(tx, request=request, member=member, agent=agent, lifetime=lifetime)
        store.revoke_older(tx, member, agent, serial=serial, now=micros(self._clock()))
        return chain

    def issue_operator(self, tx: Connection, *, request: bytes, operator: str, lifetime: dt.timedelta) -> list[bytes]:
        """Raises: InvalidInput."""
        spiffe = tls.operator_spiffe(self._alliance, operator.partition("/")[2])
        return self._issue(tx, request=request, spiffe=spiffe, subject=operator, agent="", lifetime=lifetime)

    def _issue(
        self, tx: Connection, *, request: bytes, spiffe: str, subject: str, agent: str, lifetime: dt.timedelta
    ) -> list[bytes]:
        now, issuer = self._clock(), model.active(self.authorities(tx))
        certificate = profile.leaf(
            issuer.issuer_certificate,
            self._key_of(issuer),
            key=profile.parse_request(request),
            alliance=self._alliance,
            spiffe=spiffe,
            not_before=now,
            not_after=now + lifetime,
        )
        store.add(
            tx,
            serial=certificate.serial_number,
            subject=subject,
            agent=agent,
            issuer=issuer.name,
            not_after=micros(now + lifetime),
            now=micros(now),
        )
        return [certificate.public_bytes(_DER), *issuer.above_leaf]

    def server_identity(self, names: Sequence[str], authorities: Sequence[Authority]) -> Identity:
        """A fresh server certificate; its key lives in memory only. Trusts every authority that is not retired."""
        key, now, issuer = tls.new_channel_key(), self._clock(), model.active(authorities)
        certificate = profile.leaf(
            issuer.issuer_certificate,
            self._key_of(issuer),
            key=key.public_key(),
            alliance=self._alliance,
            spiffe=tls.hub_spiffe(self._alliance),
            names=names,
            server=True,
            not_before=now,
            not_after=now + self._server,
        )
        return Identity(
            key=tls.private_pem(key),
            chain=tls.chain_pem([certificate.public_bytes(_DER), *issuer.above_leaf]),
            roots=anchors.to_pem(model.anchors_of(authorities)),
        )

    def new_successor(self, before: Authority, *, now: dt.datetime, overlap: dt.timedelta) -> Authority:
        """A new self-signed authority, announced, that the key of the one before vouches for."""
        key = tls.new_channel_key()
        certificate = profile.new_ca(self._alliance, key, now)
        vouched = profile.cross(certificate, before.anchor_certificate, self._key_of(before), now=now)
        der = certificate.public_bytes(_DER)
        return Authority(
            anchor=der,
            issuer=der,
            cross=vouched.public_bytes(_DER),
            sealed_key=self._seal(key),
            phase=Phase.ANNOUNCED,
            announce_time=micros(now),
            phase_time=micros(now),
            overlap=int(overlap.total_seconds() * 1_000_000),
        )

    def new_request(self, tx: Connection) -> bytes:
        """Makes a key for an intermediate and keeps it, sealed, until `take_key`; returns its PKCS#10 request."""
        key = tls.new_channel_key()
        store.add_request(tx, _key_digest(key.public_key()), self._seal(key), now=micros(self._clock()))
        return tls.certificate_request(key)

    def take_key(self, tx: Connection, issuer: x509.Certificate) -> bytes:
        """The sealed key that waits for this certificate. Raises: FailedPrecondition."""
        key = issuer.public_key()
        found = store.take_request(tx, _key_digest(key)) if isinstance(key, ec.EllipticCurvePublicKey) else None
        if found is None:
            raise FailedPrecondition(
                "no key of this hub waits for this certificate",
                reason="CA_REQUEST_UNKNOWN",
                remedy='sign what "alliance-hub ca request" wrote last, once',
            )
        return found

    def require_live(self, tx: Connection, serial: int) -> None:
        """Raises: NotAuthenticated for a serial never issued here, or revoked."""
        if not store.is_live(tx, serial):
            raise NotAuthenticated(
                "the certificate was revoked, or never issued by this hub",
                reason="CERTIFICATE_REVOKED",
                remedy="ask the operator for a new invitation",
            )

    def live(self, tx: Connection, subjects: Collection[str]) -> set[str]:
        """Those of the members and operators whose certificate is neither expired nor revoked."""
        return store.live_subjects(tx, subjects, now=micros(self._clock()))

    def issued(self, tx: Connection, serial: int) -> Issued | None:
        """What there is of a serial, if this hub issued it."""
        return store.find(tx, serial)

    def live_serials(self, tx: Connection, serials: Collection[int]) -> set[int]:
        """Those that `require_live` accepts."""
        return store.live_serials(tx, serials)

    def revoke(self, tx: Connection, subject: str) -> int:
        return store.revoke_all(tx, subject, now=micros(self._clock()))

    def revoke_agent(self, tx: Connection, member: str, agent: str) -> int:
        """Every certificate of one agent."""
        return store.revoke_all(tx, member, agent=agent, now=micros(self._clock()))

    def forget_expired(self, tx: Connection, *, kept: dt.timedelta) -> int:
        """Drops what is known of certificates that ended so long ago: none is asked about any more but by its holder,
        who then hears that it has expired. Returns how many."""
        return store.forget_expired(tx, before=micros(self._clock() - kept))

    def _seal(self, key: ec.EllipticCurvePrivateKey) -> bytes:
        return custody.seal(key, self._phrase, name=_key_name(key.public_key()))

    def _key_of(self, authority: Authority) -> ec.EllipticCurvePrivateKey:
        """Opened once. Raises: NotAuthenticated where it was sealed under another passphrase."""
        if authority.name not in self._keys:
            public = authority.issuer_certificate.public_key()
            assert isinstance(public, ec.EllipticCurvePublicKey)
            name = _key_name(public)
            opened = custody.unseal(authority.sealed_key, self._phrase, name=name)
            self._keys[authority.name] = custody.require_p256(opened, name)
        return self._keys[authority.name]


def _key_digest(key: ec.EllipticCurvePublicKey) -> bytes:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key.public_bytes(_DER, serialization.PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize()


def _key_name(key: ec.EllipticCurvePublicKey) -> str:
    return f"authority key {_key_digest(key).hex()[:16]}"


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise FailedPrecondition(
            f"cannot read {path.name}: {error.strerror}", reason="KEY_UNREADABLE", remedy='run "alliance-hub doctor"'
        ) from error
