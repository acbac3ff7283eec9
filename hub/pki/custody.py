"""Key files at rest: sealed under the hub's passphrase, each for its own name. `hub.pki.service` opens them."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alliance import sealed_file
from alliance.errors import AlreadyExists, Corrupt, FailedPrecondition

Key = ec.EllipticCurvePrivateKey | Ed25519PrivateKey


def seal(key: Key, phrase: bytes, *, name: str) -> bytes:
    """A document that `unseal` opens with the same passphrase and name."""
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return json.dumps(sealed_file.seal(der, phrase, purpose=_purpose(name)), indent=1).encode()


def unseal(document: bytes, phrase: bytes, *, name: str) -> Key:
    """Raises: NotAuthenticated (another passphrase), Corrupt."""
    try:
        parsed = json.loads(document)
    except ValueError as error:
        raise Corrupt(
            f"{name} is not a sealed key", reason="KEYS_CORRUPT", remedy="restore it from a backup"
        ) from error
    der = sealed_file.unseal(parsed, phrase, purpose=_purpose(name), name=name)
    key = serialization.load_der_private_key(der, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | Ed25519PrivateKey):
        raise Corrupt(f"{name} holds another kind of key", reason="KEYS_CORRUPT", remedy="restore it from a backup")
    return key


def write(file: Path, key: Key, phrase: bytes) -> None:
    """With mode 0600. Raises: AlreadyExists rather than overwrite a key."""
    if file.exists():
        raise AlreadyExists(f"{file} exists", reason="KEY_EXISTS", remedy="choose another folder")
    sealed_file.write(file, seal(key, phrase, name=file.name))


def read(file: Path, phrase: bytes) -> Key:
    """Raises: FailedPrecondition, NotAuthenticated, Corrupt."""
    try:
        document = file.read_bytes()
    except OSError as error:
        raise FailedPrecondition(
            f"cannot read {file.name}: {error.strerror}",
            reason="KEY_UNREADABLE",
            remedy='run "alliance-hub doctor"',
        ) from error
    return unseal(document, phrase, name=file.name)


def require_p256(key: Key, name: str) -> ec.EllipticCurvePrivateKey:
    """Raises: Corrupt."""
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Corrupt(f"{name} is not a P-256 key", reason="KEYS_CORRUPT", remedy="restore it from a backup")
    return key


def _purpose(name: str) -> bytes:
    return f"alliance/v1/hub-key/{name}".encode()
