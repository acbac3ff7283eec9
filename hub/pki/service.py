"""The only code that touches the CA key. `membership` asks it to sign; nobody else does."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from alliance import tls
from alliance.errors import AlreadyExists, FailedPrecondition, NotAuthenticated
from hub.pki import store
from hub.pki import x509 as profile
from hub.runtime.clock import Clock, micros
from hub.runtime.server import Identity


def create(folder: Path, alliance: str, now: dt.datetime) -> x509.Certificate:
    """Makes the CA and the log key in `folder`. Raises: AlreadyExists rather than overwrite a CA."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (folder / "ca.key").exists():
        raise AlreadyExists(f"{folder} holds a CA already", reason="CA_EXISTS", remedy="choose another home")
    key = tls.new_channel_key()
    certificate = profile.new_ca(alliance, key, now)
    _write_secret(folder / "ca.key", tls.private_pem(key))
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    log_key = Ed25519PrivateKey.generate()
    _write_secret(
        folder / "log.key",
        log_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    return certificate


def load_log_key(path: Path) -> Ed25519PrivateKey:
    """The key that signs checkpoints. Raises: FailedPrecondition."""
    key = serialization.load_pem_private_key(_read(path), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise FailedPrecondition(f"{path.name} is not an Ed25519 key", remedy="restore it from a backup")
    return key


class PkiService:
    """`server` is the life of the hub's own certificate."""

    def __init__(self, folder: Path, *, alliance: str, clock: Clock, server: dt.timedelta) -> None:
        key = serialization.load_pem_private_key(_read(folder / "ca.key"), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise FailedPrecondition("ca.key is not a P-256 key", remedy="restore it from a backup")
        self._key = key
        self._alliance = alliance
        self._clock = clock
        self._server = server
        self.ca = x509.load_pem_x509_certificate(_read(folder / "ca.pem"))

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
        now = self._clock()
        certificate = profile.leaf(
            self.ca,
            self._key,
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
            not_after=micros(now + lifetime),
            now=micros(now),
        )
        return [certificate.public_bytes(serialization.Encoding.DER)]

    def server_identity(self, names: Sequence[str]) -> Identity:
        """A fresh server certificate; its key lives in memory only."""
        key, now = tls.new_channel_key(), self._clock()
        certificate = profile.leaf(
            self.ca,
            self._key,
            key=key.public_key(),
            alliance=self._alliance,
            spiffe=tls.hub_spiffe(self._alliance),
            names=names,
            server=True,
            not_before=now,
            not_after=now + self._server,
        )
        pem = serialization.Encoding.PEM
        return Identity(key=tls.private_pem(key), chain=certificate.public_bytes(pem), roots=self.ca.public_bytes(pem))

    def require_live(self, tx: Connection, serial: int) -> None:
        """Raises: NotAuthenticated for a serial never issued here, or revoked."""
        if not store.is_live(tx, serial):
            raise NotAuthenticated(
                "the certificate was revoked, or never issued by this hub",
                reason="CERTIFICATE_REVOKED",
                remedy="ask the operator for a new invitation",
            )

    def revoke(self, tx: Connection, subject: str) -> int:
        return store.revoke_all(tx, subject, now=micros(self._clock()))

    def revoke_agent(self, tx: Connection, member: str, agent: str) -> int:
        """Every certificate of one agent."""
        return store.revoke_all(tx, member, agent=agent, now=micros(self._clock()))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FailedPrecondition(
            f"cannot read {path.name}: {error.strerror}",
            reason="KEY_UNREADABLE",
            remedy='run "alliance-hub doctor"',
        ) from error


def _write_secret(path: Path, data: bytes) -> None:
    """Created with mode 0600, never widened later."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
