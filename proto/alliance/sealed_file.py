"""Secrets at rest, for both programs: Argon2id and AES-256-GCM around a few bytes, and the passphrase that opens them.

What the derivation took stands in the document, so that it can be raised without breaking old files. The
passphrase comes from a file that only its owner reads, or from a systemd credential, which systemd keeps encrypted
on disk and shows to one service. Parameters: the memory and
passes of RFC 9106's second recommended option, in one lane. It stands in `alliance` because
an operator learns it once for both (docs/adr/0011-what-alliance-admits.md).
"""

from __future__ import annotations

import os
import secrets
import threading
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from alliance.errors import Corrupt, FailedPrecondition, NotAuthenticated

ITERATIONS = 3
MEMORY_KIB = 64 * 1024
# More lanes are threads of OpenSSL's, which fail or hang where two derivations run at once (measured with 4.0).
LANES = 1
CREDENTIALS = "CREDENTIALS_DIRECTORY"
_DERIVING = threading.Lock()


def seal(plain: bytes, phrase: bytes, *, purpose: bytes) -> dict[str, Any]:
    """A JSON document that opens with the same passphrase and purpose only."""
    salt, nonce = os.urandom(16), os.urandom(12)
    sealed = AESGCM(_kek(phrase, salt, ITERATIONS, MEMORY_KIB, LANES)).encrypt(nonce, plain, purpose)
    return {
        "version": 1,
        "kdf": {"name": "argon2id", "iterations": ITERATIONS, "memory_kib": MEMORY_KIB, "lanes": LANES},
        "salt": b64encode(salt).decode(),
        "nonce": b64encode(nonce).decode(),
        "sealed": b64encode(sealed).decode(),
    }


def unseal(document: Mapping[str, Any], phrase: bytes, *, purpose: bytes, name: str) -> bytes:
    """The bytes that were sealed; `name` is what the errors call the document.

    Raises: NotAuthenticated (another passphrase, or a changed document), Corrupt.
    """
    try:
        kdf = document["kdf"]
        kek = _kek(phrase, b64decode(document["salt"]), kdf["iterations"], kdf["memory_kib"], kdf["lanes"])
        sealed, nonce = b64decode(document["sealed"]), b64decode(document["nonce"])
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{name} cannot be read", reason="KEYS_CORRUPT", remedy="restore it from a backup") from error
    try:
        return AESGCM(kek).decrypt(nonce, sealed, purpose)
    except InvalidTag as error:
        raise NotAuthenticated(
            f"the passphrase does not open {name}",
            reason="PASSPHRASE_WRONG",
            remedy="name the right file in keys.passphrase_file, or the right credential",
        ) from error


def passphrase_file(home: Path, file: Path, credential: str) -> Path:
    """Where the passphrase is: a systemd credential's file, or `file`, relative to the home.

    Raises: FailedPrecondition where a credential is named and systemd passed none.
    """
    if not credential:
        return home / file
    folder = os.environ.get(CREDENTIALS)
    if not folder:
        raise FailedPrecondition(
            f"no systemd credential {credential}: {CREDENTIALS} is not set",
            reason="PASSPHRASE_MISSING",
            remedy=f"start it as a service with LoadCredentialEncrypted={credential}, or set keys.passphrase_file",
        )
    return Path(folder) / credential


def passphrase(file: Path, *, create: bool) -> bytes:
    """The passphrase in a file only its owner reads. `create` makes a random one where there is none.

    Raises: FailedPrecondition for a missing or empty file, or one that others may read.
    """
    if create and not file.exists():
        write(file, secrets.token_urlsafe(32).encode())
    try:
        if file.stat().st_mode & 0o077 and not _is_credential(file):
            raise FailedPrecondition(
                f"{file.name} is readable by others", reason="PASSPHRASE_EXPOSED", remedy=f"chmod 600 {file}"
            )
        phrase = file.read_bytes().strip()
    except OSError as error:
        raise FailedPrecondition(
            f"cannot read the passphrase file {file.name}: {error.strerror}",
            reason="PASSPHRASE_MISSING",
            remedy="set keys.passphrase_file to where it is",
        ) from error
    if not phrase:
        raise FailedPrecondition(
            f"the passphrase file {file.name} is empty",
            reason="PASSPHRASE_MISSING",
            remedy="restore it from a backup: nothing else opens the keys",
        )
    return phrase


def write(file: Path, data: bytes) -> None:
    """With mode 0600; writes, syncs and renames, so that a crash leaves the old bytes or the new ones."""
    partial = file.with_name(file.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    partial.rename(file)


def _is_credential(file: Path) -> bool:
    """systemd guards these itself; for a service with a user of its own, the mode shows an access list's mask."""
    folder = os.environ.get(CREDENTIALS)
    return folder is not None and file.parent == Path(folder)


def _kek(phrase: bytes, salt: bytes, iterations: int, memory_kib: int, lanes: int) -> bytes:
    # One at a time: files of other lanes, and one piece of memory instead of one for each thread.
    with _DERIVING:
        return Argon2id(salt=salt, length=32, iterations=iterations, lanes=lanes, memory_cost=memory_kib).derive(phrase)
