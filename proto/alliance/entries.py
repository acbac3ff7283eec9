"""A bank's entries between their wire form and the bytes that are signed and chained."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from alliance import canonical
from alliance.errors import Corrupt, InvalidInput
from alliance.names import Digest, bank_id, member_id
from alliance.v1 import fingerprint_pb2 as pb

# 9999-12-31T23:59:59Z, where google.protobuf.Timestamp ends.
_LAST_SECOND = 253_402_300_799


def batch_bytes(batch: pb.BatchHeader) -> bytes:
    """What the publisher signed. Raises: InvalidInput for malformed names and times."""
    return canonical.batch_bytes(
        bank_id(batch.bank, field="batch.bank"),
        member_id(batch.publisher, field="batch.publisher"),
        batch.scheme,
        batch.epoch,
        batch.row_count,
        batch.digest,
        batch.size,
        _micros(batch.create_time),
    )


def tombstone_bytes(tombstone: pb.Tombstone) -> bytes:
    """What the publisher signed. Raises: InvalidInput for malformed names and times."""
    return canonical.tombstone_bytes(
        bank_id(tombstone.bank, field="tombstone.bank"),
        member_id(tombstone.publisher, field="tombstone.publisher"),
        tombstone.batch_digest,
        tombstone.rows,
        _micros(tombstone.create_time),
    )


def chain(previous: bytes, entry: pb.BankEntry) -> Digest:
    """The chain digest after `entry`; signatures are chained too. Raises: Corrupt."""
    kind = entry.WhichOneof("entry")
    if kind == "batch":
        body = canonical.encode("alliance/v1/entry", batch_bytes(entry.batch), entry.batch.signature)
    elif kind == "tombstone":
        body = canonical.encode("alliance/v1/entry", tombstone_bytes(entry.tombstone), entry.tombstone.signature)
    else:
        raise Corrupt("an entry that is neither batch nor tombstone", reason="ENTRY_MALFORMED")
    return canonical.chain_step(previous, entry.seq, body)


def _micros(moment: Timestamp) -> int:
    if not (0 <= moment.seconds <= _LAST_SECOND and 0 <= moment.nanos < 1_000_000_000):
        raise InvalidInput("no time of the years 1970 to 9999", reason="TIME_INVALID", field="create_time")
    return moment.seconds * 1_000_000 + moment.nanos // 1000
