"""The member's secrets at rest: one small sealed document (`alliance.sealed_file`), replaced atomically.

The certificate chain stands beside the sealed keys in the same file, so that a renewal swaps key and
certificate together or not at all.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from alliance import sealed_file
from alliance.errors import Corrupt, FailedPrecondition

_PURPOSE = b"alliance/v1/keystore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """`signing_key` and `channel_key`: PKCS#8 DER of P-256; `sealing_key`: X25519 raw; `data_key`: 32 bytes that
    wrap what the agent's database must not show; `chain`: the channel certificate, DER, leaf first. Where a token holds
    the channel key, `channel_key` is empty and `token_key` its id there."""

    signing_key: bytes = field(repr=False)
    sealing_key: bytes = field(repr=False)
    channel_key: bytes = field(default=b"", repr=False)
    token_key: bytes = b""
    data_key: bytes = field(repr=False)
    chain: tuple[bytes, ...] = ()
    # The enrolment in progress, so that a join that was cut off can be repeated to the byte.
    pending: bytes = field(default=b"", repr=False)
    # X25519 keys of earlier identities, 32 bytes each: what was sealed to them still opens.
    former_sealing_keys: bytes = field(default=b"", repr=False)

    def with_chain(self, chain: tuple[bytes, ...]) -> Secrets:
        return replace(self, chain=chain, pending=b"")

    def with_pending(self, request: bytes) -> Secrets:
        return replace(self, pending=request)


_SECRET_FIELDS = (
    "signing_key",
    "sealing_key",
    "channel_key",
    "token_key",
    "data_key",
    "pending",
    "former_sealing_keys",
)


def save(file: Path, held: Secrets, phrase: bytes) -> None:
    """Writes, syncs and renames, so that a crash leaves the old document or the new one."""
    plain = json.dumps({name: b64encode(getattr(held, name)).decode() for name in _SECRET_FIELDS}).encode()
    document = sealed_file.seal(plain, phrase, purpose=_PURPOSE)
    document["chain"] = [b64encode(der).decode() for der in held.chain]
    sealed_file.write(file, json.dumps(document, indent=1).encode())


def load(file: Path, phrase: bytes) -> Secrets:
    """Raises: FailedPrecondition, NotAuthenticated (wrong passphrase), Corrupt."""
    try:
        document = json.loads(file.read_text())
        chain = tuple(b64decode(der) for der in document["chain"])
    except OSError as error:
        raise FailedPrecondition(
            f"cannot read {file.name}: {error.strerror}", reason="KEYS_UNREADABLE", remedy='run "alliance-agent doctor"'
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(
            f"{file.name} cannot be read", reason="KEYS_CORRUPT", remedy="restore it from a backup"
        ) from error
    plain = json.loads(sealed_file.unseal(document, phrase, purpose=_PURPOSE, name=file.name))
    return Secrets(chain=chain, **{name: b64decode(plain.get(name, "")) for name in _SECRET_FIELDS})


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
