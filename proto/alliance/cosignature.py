"""Cosignatures: a member's timed statement that it saw a head of the log, as witnesses make it (C2SP).

The format is c2sp.org/tlog-cosignature, version 1 with Ed25519: a line of the note whose signature covers the
time and the checkpoint's text. A member's identity is P-256, so each has a *witness key* of Ed25519, which its
identity certifies (`witness_bytes`): who counts witnesses counts identities, and other programs can read the line.

Promise: `open_cosigned` returns a statement only if the log's key signed the same text, so that a member's
word about a head is also the hub's.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from alliance.canonical import encode
from alliance.checkpoint import Checkpoint, NoteKey, open_note, signature_line, split_note
from alliance.errors import Corrupt
from alliance.names import MemberId

KEY_BYTES = 32
SIGNATURE_BYTES = 64
# Seconds; what C2SP's unsigned 64 bit and our signed columns both hold, up to the year 9999.
LAST_TIME = 253_402_300_799
_COSIGNATURE_V1 = b"\x04"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigned:
    """Who saw which head, and when by its own clock (seconds since the epoch)."""

    member: MemberId
    checkpoint: Checkpoint
    time: int


def witness_name(alliance: str, member: MemberId) -> str:
    """The name of a member's witness key in notes: `shoes.example/members/acme`."""
    return f"{alliance}/{member}"


def witness_bytes(alliance: str, member: MemberId, witness_key: bytes) -> bytes:
    """What a member's identity signs once: this Ed25519 key cosigns for it."""
    return encode("alliance/v1/witness", alliance, member, witness_key)


def cosign(text: str, *, key: Ed25519PrivateKey, time: int) -> bytes:
    """The signature over a checkpoint's text at a time in seconds; 64 bytes."""
    return key.sign(_signed(text, time))


def cosigned_note(note: str, *, name: str, witness_key: bytes, time: int, signature: bytes) -> str:
    """The note with the witness's line at its end. Raises: Corrupt for a time or key that has no line."""
    public = _public(witness_key)
    if not 0 <= time <= LAST_TIME or len(signature) != SIGNATURE_BYTES:
        raise _malformed("a time or a signature is out of range")
    return note + signature_line(name, _id(name, public) + time.to_bytes(8, "big") + signature)


def open_cosigned(note: str, *, log: NoteKey, alliance: str, member: MemberId, witness_key: bytes) -> Cosigned:
    """What `member` stated about the log of `log`; whether the witness key is the member's is its identity's word.

    Raises:
        Corrupt: as `open_note`; COSIGNATURE_MISSING, COSIGNATURE_MALFORMED or COSIGNATURE_INVALID.
    """
    checkpoint = open_note(note, origin=log.name, key=log)
    public, name = _public(witness_key), witness_name(alliance, member)
    text, signatures = split_note(note)
    lines = [value[4:] for signer, value in signatures if signer == name and value[:4] == _id(name, public)]
    if not lines:
        raise Corrupt(f"the note has no line of {name}", reason="COSIGNATURE_MISSING", remedy="fetch it again")
    value = lines[0]
    if len(value) != 8 + SIGNATURE_BYTES:
        raise _malformed("its line is not a time and a signature")
    time = int.from_bytes(value[:8], "big")
    try:
        public.verify(value[8:], _signed(text, time))
    except InvalidSignature as error:
        raise Corrupt(
            f"the cosignature of {name} is not of this checkpoint",
            reason="COSIGNATURE_INVALID",
            remedy="keep it as evidence; tell the alliance",
        ) from error
    return Cosigned(member=member, checkpoint=checkpoint, time=time)


def verify(text: str, *, witness_key: bytes, time: int, signature: bytes) -> None:
    """Holds if the witness key signed this text at this time. Raises: Corrupt."""
    try:
        _public(witness_key).verify(signature, _signed(text, time))
    except InvalidSignature as error:
        raise Corrupt(
            "the cosignature is not of this checkpoint", reason="COSIGNATURE_INVALID", remedy="sign the head again"
        ) from error


def note_key(name: str, witness_key: bytes) -> str:
    """The `name+id+key` form of a witness key, as C2SP tools take it."""
    public = _public(witness_key)
    return f"{name}+{_id(name, public).hex()}+{b64encode(_COSIGNATURE_V1 + witness_key).decode()}"


def _signed(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _id(name: str, public: Ed25519PublicKey) -> bytes:
    return sha256(name.encode() + b"\n" + _COSIGNATURE_V1 + public.public_bytes_raw()).digest()[:4]


def _public(witness_key: bytes) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(witness_key)
    except ValueError as error:
        raise _malformed("the witness key is no Ed25519 key") from error


def _malformed(why: str) -> Corrupt:
    return Corrupt(
        f"the cosignature cannot be read: {why}", reason="COSIGNATURE_MALFORMED", remedy="use an unmodified agent"
    )
