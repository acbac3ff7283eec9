"""The member's secrets at rest: Argon2id and AES-256-GCM around one small document, replaced atomically.

The certificate chain stands beside the sealed keys in the same file, so that a renewal swaps key and
certificate together or not at all. Parameters: RFC 9106 second recommended option, reduced to 64 MiB.
"""

from __future__ import annotations

import json
import os
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from alliance.errors import Corrupt, FailedPrecondition, NotAuthenticated

ITERATIONS = 3
MEMORY_KIB = 64 * 1024
LANES = 4
_AAD = b"alliance/v1/keystore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """`signing_key` and `channel_key`: PKCS#8 DER of P-256; `sealing_key`: X25519 raw; `data_key`: 32 bytes that
    wrap what the agent's database must not show; `chain`: the channel certificate, DER, leaf first."""

    signing_key: bytes = field(repr=False)
    sealing_key: bytes = field(repr=False)
    channel_key: bytes = field(repr=False)
    data_key: bytes = field(repr=False)
    chain: tuple[bytes, ...] = ()
    # The enrolment in progress, so that a join that was cut off can be repeated to the byte.
    pending: bytes = field(default=b"", repr=False)

    def with_channel(self, key: bytes, chain: tuple[bytes, ...]) -> Secrets:
        return replace(self, channel_key=key, chain=chain, pending=b"")


_SECRET_FIELDS = ("signing_key", "sealing_key", "channel_key", "data_key", "pending")


def passphrase(file: Path, *, create: bool) -> bytes:
    """The passphrase in a file only its owner reads. `create` makes a random one.

    Raises: FailedPrecondition for a missing file or one that others may read.
    """
    if create and not file.exists():
        _write(file, secrets.token_urlsafe(32).encode())
    try:
        if file.stat().st_mode & 0o077:
            raise FailedPrecondition(
                f"{file.name} is readable by others", reason="PASSPHRASE_EXPOSED", remedy=f"chmod 600 {file}"
            )
        return file.read_bytes().strip()
    except OSError as error:
        raise FailedPrecondition(
            f"cannot read the passphrase file {file.name}: {error.strerror}",
            reason="PASSPHRASE_MISSING",
            remedy="set keys.passphrase_file in agent.toml",
        ) from error


def save(file: Path, held: Secrets, phrase: bytes) -> None:
    """Writes, syncs and renames, so that a crash leaves the old document or the new one."""
    salt, nonce = os.urandom(16), os.urandom(12)
    plain = json.dumps({name: b64encode(getattr(held, name)).decode() for name in _SECRET_FIELDS}).encode()
    sealed = AESGCM(_kek(phrase, salt, ITERATIONS, MEMORY_KIB, LANES)).encrypt(nonce, plain, _AAD)
    document = {
        "version": 1,
        "kdf": {"name": "argon2id", "iterations": ITERATIONS, "memory_kib": MEMORY_KIB, "lanes": LANES},
        "salt": b64encode(salt).decode(),
        "nonce": b64encode(nonce).decode(),
        "sealed": b64encode(sealed).decode(),
        "chain": [b64encode(der).decode() for der in held.chain],
    }
    _write(file, json.dumps(document, indent=1).encode())


def load(file: Path, phrase: bytes) -> Secrets:
    """Raises: FailedPrecondition, NotAuthenticated (wrong passphrase), Corrupt."""
    try:
        document = json.loads(file.read_text())
        kdf = document["kdf"]
        kek = _kek(phrase, b64decode(document["salt"]), kdf["iterations"], kdf["memory_kib"], kdf["lanes"])
        sealed, nonce = b64decode(document["sealed"]), b64decode(document["nonce"])
        chain = tuple(b64decode(der) for der in document["chain"])
    except OSError as error:
        raise FailedPrecondition(
            f"cannot read {file.name}: {error.strerror}", reason="KEYS_UNREADABLE", remedy='run "alliance-agent doctor"'
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(
            f"{file.name} cannot be read", reason="KEYS_CORRUPT", remedy="restore it from a backup"
        ) from error
    try:
        plain = json.loads(AESGCM(kek).decrypt(nonce, sealed, _AAD))
    except InvalidTag as error:
        raise NotAuthenticated(
            f"the passphrase does not open {file.name}", reason="PASSPHRASE_WRONG", remedy="name the right file"
        ) from error
    return Secrets(chain=chain, **{name: b64decode(plain[name]) for name in _SECRET_FIELDS})


def wrap(data_key: bytes, secret: bytes, context: bytes) -> bytes:
    """Seals a small secret for the agent's own database; `context` binds it to its row."""
    nonce = os.urandom(12)
    return nonce + AESGCM(data_key).encrypt(nonce, secret, context)


def unwrap(data_key: bytes, wrapped: bytes, context: bytes) -> bytes:
    """Raises: Corrupt."""
    try:
        return AESGCM(data_key).decrypt(wrapped[:12], wrapped[12:], context)
    except InvalidTag as error:
        raise Corrupt("a stored secret does not open", reason="KEYS_CORRUPT", remedy="restore a backup") from error


def _kek(phrase: bytes, salt: bytes, iterations: int, memory_kib: int, lanes: int) -> bytes:
    return Argon2id(salt=salt, length=32, iterations=iterations, lanes=lanes, memory_cost=memory_kib).derive(phrase)


def _write(file: Path, data: bytes) -> None:
    partial = file.with_name(file.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    partial.rename(file)
