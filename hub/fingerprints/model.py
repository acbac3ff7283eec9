"""Banks, their entries and segments, and bucketed hits; pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from alliance import entries
from alliance.audience import Audience, Tlp
from alliance.errors import InvalidInput
from alliance.names import BankId, Digest, GroupId, MemberId
from alliance.segments import MAX_BATCH_ROWS
from alliance.v1 import fingerprint_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """`tlp` is the strictest label that its rows may have; they are sealed, so agents hold to it."""

    id: BankId
    group: GroupId
    tlp: Tlp
    scheme: str
    head_seq: int
    head_digest: Digest
    create_time: int

    @property
    def audience(self) -> Audience:
        return Audience(group=self.group, ceiling=self.tlp)

    def append(self, entry: pb.BankEntry) -> tuple[Bank, pb.BankEntry]:
        """The bank with one more entry, and the entry with its place and chain digest."""
        placed = pb.BankEntry()
        placed.CopyFrom(entry)
        placed.seq = self.head_seq + 1
        digest = entries.chain(self.head_digest, placed)
        placed.chain_digest = digest
        return replace(self, head_seq=placed.seq, head_digest=digest), placed


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    bank: BankId
    first_seq: int
    last_seq: int
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """`bucket` is a wire value of HitBucket."""

    batch_digest: Digest
    row: int
    bucket: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HitSummary:
    batch_digest: Digest
    row: int
    bucket: int
    reporters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A batch as the bank knows it."""

    bank: BankId
    digest: Digest
    publisher: MemberId
    row_count: int
    seq: int


def check_batch(batch: pb.BatchHeader, bank: Bank, publisher: MemberId) -> None:
    """Raises: InvalidInput naming the field."""
    if batch.publisher != publisher:
        raise InvalidInput(
            f"the batch says {batch.publisher[:80]!r}, the certificate {publisher}",
            reason="PUBLISHER_MISMATCH",
            field="batch.publisher",
            remedy="publish as yourself",
        )
    if batch.scheme != bank.scheme:
        raise InvalidInput(
            f"{bank.id} takes {bank.scheme}, not {batch.scheme[:40]!r}",
            reason="SCHEME_MISMATCH",
            field="batch.scheme",
            remedy="publish into a bank of that scheme",
        )
    if not 1 <= batch.row_count <= MAX_BATCH_ROWS:
        raise InvalidInput(
            f"a batch has 1 to {MAX_BATCH_ROWS} rows",
            reason="ROW_COUNT",
            field="batch.row_count",
            remedy="split the batch",
        )


def check_rows(rows: Sequence[int], published: Published) -> None:
    """Raises: InvalidInput unless ascending, unique and inside the batch."""
    ascending = all(a < b for a, b in itertools.pairwise(rows))
    if not ascending or (rows and not (rows[0] >= 0 and rows[-1] < published.row_count)):
        raise InvalidInput(
            f"rows are ascending numbers from 0 to {published.row_count - 1}",
            reason="ROWS_INVALID",
            field="tombstone.rows",
            remedy="send each row once, in order",
        )


def plan_segments(
    tail: Iterable[tuple[int, int]], *, entries_per_segment: int, bytes_per_segment: int
) -> list[tuple[int, int]]:
    """Which runs of (seq, size) of a bank's tail are full segments; what is left stays in the tail."""
    runs: list[tuple[int, int]] = []
    first, count, size = 0, 0, 0
    for seq, bytes_ in tail:
        first = first or seq
        count, size = count + 1, size + bytes_
        if count >= entries_per_segment or size >= bytes_per_segment:
            runs.append((first, seq))
            first, count, size = 0, 0, 0
    return runs
