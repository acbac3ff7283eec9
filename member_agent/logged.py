"""Which leaves of the audit log an accepted payload must cause: what `egress prove` looks for.

A leaf holds a digest, never the thing. For a batch header or a withdrawal it is that of the bytes the member signed,
for a sealed key that of the sealed bytes, for an epoch its commitment, for a model update that of its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.message import Message

from alliance import entries
from alliance.canonical import sha256
from alliance.v1 import federation_pb2, fingerprint_pb2, key_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """A leaf to come: its event (without detail), subject and digest.

    `content` is the digest of what was sent, or the commitment; `signed` are the bytes that the leaf's digest is of,
    which name the content, empty where the digest is the content's own.
    """

    event: str
    subject: str
    digest: bytes
    content: bytes
    signed: bytes = b""


def leaves_of(message: Message) -> Iterator[Logged]:
    """The leaves of one payload, none for a question."""
    if isinstance(message, fingerprint_pb2.PublishBatchRequest):
        signed = entries.batch_bytes(message.batch)
        yield Logged(
            event="batch_published",
            subject=message.batch.bank,
            digest=sha256(signed),
            content=message.batch.digest,
            signed=signed,
        )
    elif isinstance(message, fingerprint_pb2.WithdrawRowsRequest):
        signed = entries.tombstone_bytes(message.tombstone)
        yield Logged(
            event="rows_withdrawn",
            subject=message.tombstone.bank,
            digest=sha256(signed),
            content=message.tombstone.batch_digest,
            signed=signed,
        )
    elif isinstance(message, key_pb2.CreateEpochRequest):
        commitment = message.commitment
        yield Logged(event="epoch_created", subject=message.group, digest=commitment, content=commitment)
        yield from map(_wrapped, message.wraps)
    elif isinstance(message, key_pb2.AddWrapsRequest):
        yield from map(_wrapped, message.wraps)
    elif isinstance(message, federation_pb2.SubmitResultRequest) and message.update_digest:
        digest = message.update_digest
        yield Logged(event="slot_reported", subject=message.round, digest=digest, content=digest)
    elif isinstance(message, federation_pb2.ProposeDetectorRequest) and message.initial_digest:
        digest = message.initial_digest
        yield Logged(event="detector_proposed", subject=message.name, digest=digest, content=digest)


def _wrapped(wrap: key_pb2.KeyWrap) -> Logged:
    digest = sha256(wrap.sealed)
    return Logged(event="key_wrapped", subject=wrap.recipient, digest=digest, content=digest)
