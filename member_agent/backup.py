"""The sealed backup of a member identity: a file, and a code on paper; either alone is worthless.

The code is 256 random bits, so the file's key is made by HKDF alone: a slow password hash protects what can be
guessed, and this cannot. It is written in Crockford's base32 (no I, L, O, U; read in either case, with O as 0 and
I or L as 1) in groups of four, with a checksum of 24 bits against typing errors.
"""

from __future__ import annotations

import hashlib
import json
import os
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from alliance import canonical
from alliance.errors import AlreadyExists, Corrupt, FailedPrecondition, InvalidInput, NotAuthenticated
from alliance.names import MemberId, member_id

CODE_SIZE = 32
FORMAT = "alliance-agent/identity-backup/v1"
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MISREAD = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None})
_CHECKSUM = 3
_LETTERS = (CODE_SIZE + _CHECKSUM) * 8 // 5
# Each file has a salt of its own, and so a key of its own.
_NONCE = bytes(12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What brings a member back: its identity, and whom to trust and dial. `ca` is PEM, `log_key` 32 bytes.

    `signing_key` is PKCS#8 DER, `sealing_key` X25519 raw; `former_sealing_keys` are those of earlier identities,
    32 bytes each, one after the other.
    """

    member: MemberId
    alliance: str
    signing_key: bytes = field(repr=False)
    sealing_key: bytes = field(repr=False)
    former_sealing_keys: bytes = field(default=b"", repr=False)
    ca: bytes
    log_key: bytes
    hub_address: str
    enrolment_address: str


def new_code() -> bytes:
    """256 random bits."""
    return os.urandom(CODE_SIZE)


def code_text(code: bytes) -> str:
    """14 groups of four characters."""
    number = int.from_bytes(code + _sum(code))
    letters = "".join(_ALPHABET[(number >> shift) & 31] for shift in range((_LETTERS - 1) * 5, -1, -5))
    return "-".join(letters[at : at + 4] for at in range(0, _LETTERS, 4))


def parse_code(text: str) -> bytes:
    """Raises: InvalidInput, without echoing the code."""
    letters = "".join(text.split()).upper().translate(_MISREAD)
    if len(letters) != _LETTERS or not set(letters) <= set(_ALPHABET):
        raise _malformed(f"a recovery code has {_LETTERS} letters and digits, got {len(letters)}")
    number = 0
    for letter in letters:
        number = number << 5 | _ALPHABET.index(letter)
    raw = number.to_bytes(CODE_SIZE + _CHECKSUM)
    if raw[CODE_SIZE:] != _sum(raw[:CODE_SIZE]):
        raise _malformed("the recovery code has a typing error")
    return raw[:CODE_SIZE]


def seal(backup: Backup, code: bytes) -> bytes:
    """The file's bytes. Whose backup it is stands outside, bound to what is inside."""
    salt = os.urandom(32)
    texts = {"ca": backup.ca.decode(), "hub": backup.hub_address, "enrolment": backup.enrolment_address}
    keys = {name: b64encode(getattr(backup, name)).decode() for name in _KEYS}
    sealed = _cipher(code, salt, backup.alliance, backup.member).encrypt(
        _NONCE, json.dumps(texts | keys).encode(), FORMAT.encode()
    )
    document = {
        "format": FORMAT,
        "alliance": backup.alliance,
        "member": backup.member,
        "salt": b64encode(salt).decode(),
        "sealed": b64encode(sealed).decode(),
    }
    return json.dumps(document, indent=1).encode()


def unseal(data: bytes, code: bytes) -> Backup:
    """Raises: Corrupt for what is no backup, NotAuthenticated for another backup's code or a changed file."""
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise ValueError("another format")
        alliance, member = str(document["alliance"]), member_id(document["member"])
        salt, sealed = b64decode(document["salt"], validate=True), b64decode(document["sealed"], validate=True)
    except (ValueError, KeyError, TypeError, InvalidInput) as error:
        raise Corrupt("this is no identity backup", reason="BACKUP_CORRUPT", remedy="name the right file") from error
    try:
        plain = json.loads(_cipher(code, salt, alliance, member).decrypt(_NONCE, sealed, FORMAT.encode()))
    except InvalidTag as error:
        raise NotAuthenticated(
            "the recovery code does not open this backup",
            reason="RECOVERY_CODE_WRONG",
            remedy="use the code that was printed when this very file was made",
        ) from error
    return Backup(
        member=member,
        alliance=alliance,
        ca=plain["ca"].encode(),
        hub_address=plain["hub"],
        enrolment_address=plain["enrolment"],
        **{name: b64decode(plain[name]) for name in _KEYS},
    )


_KEYS = ("signing_key", "sealing_key", "former_sealing_keys", "log_key")


def write(path: Path, data: bytes) -> None:
    """A new file of mode 600, synced. Raises: AlreadyExists, FailedPrecondition."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
    except FileExistsError as error:
        raise AlreadyExists(f"{path} exists", reason="FILE_EXISTS", field="--out", remedy="name a new file") from error
    except OSError as error:
        raise FailedPrecondition(
            f"cannot write {path}: {error.strerror}", reason="FILE_UNWRITABLE", field="--out", remedy="check the path"
        ) from error


def read(path: Path) -> bytes:
    """Raises: FailedPrecondition."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FailedPrecondition(
            f"cannot read {path}: {error.strerror}", reason="BACKUP_UNREADABLE", field="FILE", remedy="check the path"
        ) from error


def page(backup: Backup, code: bytes, file: str) -> str:
    """The sheet to print."""
    groups = code_text(code).split("-")
    lines = "\n".join("    " + "  ".join(groups[at : at + 5]) for at in range(0, len(groups), 5))
    return f"""\
RECOVERY CODE of {backup.member} in {backup.alliance}

{lines}

This code opens the file {file}, and no other. Keep both, apart from each other:
the file alone is worthless, and so is this page. Whoever has both is the member.

To recover on a new machine, in an empty home:

    alliance-agent --home FOLDER recover {file}

and type the code when asked. Capitals, spaces and hyphens do not matter.
"""


def _cipher(code: bytes, salt: bytes, alliance: str, member: str) -> AESGCM:
    info = canonical.encode("alliance/v1/identity-backup", alliance, member)
    return AESGCM(HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(code))


def _sum(code: bytes) -> bytes:
    return hashlib.sha256(b"alliance/v1/recovery-code" + code).digest()[:_CHECKSUM]


def _malformed(message: str) -> InvalidInput:
    return InvalidInput(
        message, reason="RECOVERY_CODE_MALFORMED", field="code", remedy="copy all 14 groups from the printed page"
    )
