"""The offline root: a folder that is made on, or carried to, a machine apart; nothing here needs or knows a hub.

It signs intermediates for the hub, and its own successor. Its key is sealed under a passphrase of its own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from alliance import sealed_file, tls
from alliance.errors import AlreadyExists, FailedPrecondition
from hub.pki import custody
from hub.pki import x509 as profile

KEY, CERTIFICATE, PASSPHRASE = "root.key", "root.pem", "passphrase"


class OfflineRoot:
    """`certificate` is what members pin."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self._key = key

    def issue(self, key: ec.EllipticCurvePublicKey, alliance: str, now: dt.datetime) -> x509.Certificate:
        """An intermediate for a hub."""
        return profile.new_intermediate(self.certificate, self._key, key=key, alliance=alliance, now=now)

    def vouch(self, successor: x509.Certificate, now: dt.datetime) -> x509.Certificate:
        """This root's signature on the key and name of the one after it."""
        return profile.cross(successor, self.certificate, self._key, now=now)

    @property
    def alliance(self) -> str:
        [name] = self.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        return str(name.value)


def create(folder: Path, alliance: str, now: dt.datetime, *, passphrase_file: Path | None = None) -> OfflineRoot:
    """Makes a root in `folder`; without a passphrase file, one is made beside the key.

    Raises: AlreadyExists for a folder that is not empty, FailedPrecondition for the passphrase.
    """
    if folder.exists() and any(folder.iterdir()):
        raise AlreadyExists(f"{folder} is not empty", reason="FOLDER_EXISTS", remedy="choose another --offline-root")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    phrase = sealed_file.passphrase(passphrase_file or folder / PASSPHRASE, create=passphrase_file is None)
    key = tls.new_channel_key()
    certificate = profile.new_ca(alliance, key, now, name=profile.ROOT)
    custody.write(folder / KEY, key, phrase)
    (folder / CERTIFICATE).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return OfflineRoot(certificate, key)


def read(folder: Path, *, passphrase_file: Path | None = None) -> OfflineRoot:
    """Raises: FailedPrecondition, NotAuthenticated, Corrupt."""
    phrase = sealed_file.passphrase(passphrase_file or folder / PASSPHRASE, create=False)
    key = custody.require_p256(custody.read(folder / KEY, phrase), KEY)
    try:
        certificate = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
    except OSError as error:
        raise FailedPrecondition(
            f"cannot read {CERTIFICATE}: {error.strerror}", reason="KEY_UNREADABLE", remedy="name the root's folder"
        ) from error
    return OfflineRoot(certificate, key)


def sign(
    request: bytes, root: OfflineRoot, now: dt.datetime, *, successor: OfflineRoot | None = None
) -> Sequence[x509.Certificate]:
    """What `ca install` takes: the intermediate, its root, and where the root is a new one, the old one's signature.

    Args:
        request: PKCS#10, DER.
        successor: the root that signs from now on; `root` vouches for it.

    Raises: InvalidInput.
    """
    key, signer = profile.parse_request(request), successor or root
    signed = [signer.issue(key, signer.alliance, now), signer.certificate]
    return [*signed, root.vouch(signer.certificate, now)] if successor else signed
