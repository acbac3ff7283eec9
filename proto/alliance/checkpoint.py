"""Checkpoints: the signed head of the audit log, in the C2SP text formats that witnesses and monitors read.

A checkpoint (c2sp.org/tlog-checkpoint) is three lines, origin, size and root, and is carried in a signed
note (c2sp.org/signed-note): the text, an empty line, then signature lines of Ed25519 keys. Promise:
`open_note` returns a checkpoint only if the key asked for signed exactly its bytes; everything else raises
`Corrupt`. Signatures of unknown keys are allowed and mean nothing, so that witnesses can add theirs
(`alliance.cosignature`).

Whether one checkpoint extends another is `alliance.merkle.verify_consistency`.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from alliance.errors import Corrupt, InvalidInput
from alliance.merkle import HASH_BYTES

MAX_NOTE_CHARS = 65_536
MAX_SIGNATURES = 100

_ED25519 = b"\x01"
_SIGNATURE_LINE = "— "  # U+2014 and one space
_KEY_NAME = re.compile(r"[^\s+]+")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The head of a log: its first `size` entries have the root `root`. `origin` names the log."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not self.origin or any(ord(c) < 0x20 for c in self.origin):
            raise InvalidInput("the origin must be one line of text", field="origin", remedy="name the log in it")
        if self.size < 0 or len(self.root) != HASH_BYTES:
            raise InvalidInput(
                f"size {self.size} with a root of {len(self.root)} bytes is no tree head",
                field="root",
                remedy=f"give a size of 0 or more and a root of {HASH_BYTES} bytes",
            )

    def text(self) -> str:
        """What is signed: three lines, each ended by a newline."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint this text is. Extension lines are refused: our logs define none.

        Raises:
            Corrupt: CHECKPOINT_MALFORMED; the text is not what `text` would write.
        """
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not _DECIMAL.fullmatch(lines[1]):
            raise _malformed("it is not origin, size and root on three lines")
        try:
            checkpoint = cls(origin=lines[0], size=int(lines[1]), root=_unbase64(lines[2]))
        except InvalidInput as error:
            raise _malformed(error.message) from error
        return checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteKey:
    """A named public key; its text form (`str`, `parse`) is the `name+id+key` that C2SP tools exchange."""

    name: str
    public_key: Ed25519PublicKey

    def __post_init__(self) -> None:
        if not _KEY_NAME.fullmatch(self.name):
            raise InvalidInput(
                f"{self.name!r} cannot name a key", field="name", remedy="leave out spaces and plus signs"
            )

    @property
    def id(self) -> bytes:
        """Four bytes that tell keys apart, not a fingerprint to trust."""
        return sha256(self.name.encode() + b"\n" + self._tagged()).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{b64encode(self._tagged()).decode()}"

    @classmethod
    def parse(cls, text: str) -> NoteKey:
        """The key this text form names.

        Raises:
            Corrupt: NOTE_KEY_MALFORMED.
        """
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            tagged = b64decode(encoded, validate=True)
            if tagged[:1] != _ED25519:
                raise ValueError("not an Ed25519 key")
            key = cls(name=name, public_key=Ed25519PublicKey.from_public_bytes(tagged[1:]))
        except (ValueError, InvalidInput) as error:
            raise _bad_key(str(error)) from error
        if key.id.hex() != key_id:
            raise _bad_key("its id is of another name or key")
        return key

    def _tagged(self) -> bytes:
        return _ED25519 + self.public_key.public_bytes_raw()


def sign_note(checkpoint: Checkpoint, *, name: str, key: Ed25519PrivateKey) -> str:
    """The checkpoint as a note with one signature, by the key called `name`."""
    text = checkpoint.text()
    signature = NoteKey(name=name, public_key=key.public_key()).id + key.sign(text.encode())
    return f"{text}\n{signature_line(name, signature)}"


def open_note(note: str, *, origin: str, key: NoteKey) -> Checkpoint:
    """The checkpoint of the log `origin` that `key` signed.

    Raises:
        Corrupt: CHECKPOINT_MALFORMED, CHECKPOINT_UNSIGNED (no line of this key), CHECKPOINT_FORGED (a line
            that names this key does not verify) or CHECKPOINT_ORIGIN (signed, of another log).
    """
    text, signatures = split_note(note)
    ours = [value for name, value in signatures if name == key.name and value[:4] == key.id]
    if not ours:
        raise Corrupt(
            f"the checkpoint is not signed by {key.name}",
            reason="CHECKPOINT_UNSIGNED",
            remedy="compare the log's key with the one pinned at joining",
        )
    for value in ours:
        try:
            key.public_key.verify(value[4:], text.encode())
        except InvalidSignature as error:
            raise Corrupt(
                f"the signature of {key.name} is not of this checkpoint",
                reason="CHECKPOINT_FORGED",
                remedy="keep the checkpoint as evidence and tell the operator of the log",
            ) from error
    checkpoint = Checkpoint.parse(text)
    if checkpoint.origin != origin:
        raise Corrupt(
            f"the checkpoint is of the log {checkpoint.origin!r}, not {origin!r}",
            reason="CHECKPOINT_ORIGIN",
            remedy="ask the right hub",
        )
    return checkpoint


def split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """The text that is signed, and of each signature line the key's name and its id with what it signed.

    Raises:
        Corrupt: CHECKPOINT_MALFORMED.
    """
    if len(note) > MAX_NOTE_CHARS:
        raise _malformed(f"it is longer than {MAX_NOTE_CHARS} characters")
    body, separator, signatures = note.rpartition("\n\n")
    lines = signatures.split("\n")
    if not separator or lines.pop() or len(lines) > MAX_SIGNATURES:
        raise _malformed("it does not end in an empty line and signature lines")
    return body + "\n", [_signature(line) for line in lines]


def signature_line(name: str, value: bytes) -> str:
    """A line of a note; `value` is the key's id, then what the key made."""
    return f"{_SIGNATURE_LINE}{name} {b64encode(value).decode()}\n"


def _signature(line: str) -> tuple[str, bytes]:
    """The key name of a signature line, and its key id followed by the signature."""
    name, _, encoded = line.removeprefix(_SIGNATURE_LINE).partition(" ")
    if not line.startswith(_SIGNATURE_LINE) or not _KEY_NAME.fullmatch(name):
        raise _malformed("a signature line is not a dash, a key name and a signature")
    value = _unbase64(encoded)
    if len(value) < 5:
        raise _malformed("a signature is too short")
    return name, value


def _unbase64(text: str) -> bytes:
    """The bytes of canonical base64: one text for one value, so that a checkpoint has one spelling."""
    try:
        value = b64decode(text, validate=True)
    except ValueError as error:
        raise _malformed("it holds invalid base64") from error
    if b64encode(value).decode() != text:
        raise _malformed("it holds base64 that is not canonical")
    return value


def _malformed(why: str) -> Corrupt:
    return Corrupt(f"the checkpoint cannot be read: {why}", reason="CHECKPOINT_MALFORMED", remedy="fetch it again")


def _bad_key(why: str) -> Corrupt:
    return Corrupt(f"the log key cannot be read: {why}", reason="NOTE_KEY_MALFORMED", remedy="copy it again")
