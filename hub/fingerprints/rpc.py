"""FingerprintService: parse, call, render."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from alliance.audience import Audience, ceiling
from alliance.errors import InvalidInput
from alliance.names import bank_id, digest, group_id
from alliance.v1 import fingerprint_pb2 as pb
from hub.fingerprints.model import Bank, Hit, Segment
from hub.fingerprints.service import FingerprintService, digest_key, parse_digest_key
from hub.runtime.caller import Caller
from hub.runtime.clock import timestamp
from hub.runtime.paging import PageRequest, page, page_request

_BUCKETS = frozenset(pb.HitBucket.values()) - {pb.HIT_BUCKET_UNSPECIFIED}
MAX_REPORTERS = 1000
# A tombstone of 65,536 rows has 200 KB; clients receive 8 MiB.
MAX_PAGE_BYTES = 4 << 20


class FingerprintRpc:
    def __init__(self, service: FingerprintService) -> None:
        self._service = service

    def create_bank(self, tx: Connection, caller: Caller, request: pb.CreateBankRequest) -> pb.CreateBankResponse:
        audience = Audience(group=group_id(request.group), ceiling=ceiling(request.tlp))
        bank = self._service.create_bank(tx, caller, bank_id(request.name, field="name"), audience, request.scheme)
        return pb.CreateBankResponse(bank=_bank(bank))

    def list_banks(self, tx: Connection, caller: Caller, request: pb.ListBanksRequest) -> pb.ListBanksResponse:
        asked = page_request(request.page_size, request.page_token)
        found = self._service.banks(tx, caller, after=asked.after, limit=asked.size + 1)
        shown = page(found, asked, lambda bank: bank.id)
        return pb.ListBanksResponse(banks=map(_bank, shown.items), next_page_token=shown.next_token)

    def publish_batch(self, tx: Connection, caller: Caller, request: pb.PublishBatchRequest) -> pb.PublishBatchResponse:
        bank = bank_id(request.batch.bank, field="batch.bank")
        return pb.PublishBatchResponse(seq=self._service.publish(tx, caller, request.batch, bank))

    def withdraw_rows(self, tx: Connection, caller: Caller, request: pb.WithdrawRowsRequest) -> pb.WithdrawRowsResponse:
        bank = bank_id(request.tombstone.bank, field="tombstone.bank")
        return pb.WithdrawRowsResponse(seq=self._service.withdraw(tx, caller, request.tombstone, bank))

    def list_entries(self, tx: Connection, caller: Caller, request: pb.ListEntriesRequest) -> pb.ListEntriesResponse:
        bank = self._service.readable(tx, caller.member, bank_id(request.bank))
        asked = page_request(request.page_size, request.page_token)
        found = self._service.entries(tx, bank, after_seq=_after(asked, request.after_seq), limit=asked.size + 1)
        shown = page(found, _fitting(found, asked), lambda entry: str(entry.seq))
        return pb.ListEntriesResponse(
            entries=shown.items,
            next_page_token=shown.next_token,
            head_seq=bank.head_seq,
            head_digest=bank.head_digest,
        )

    def list_segments(self, tx: Connection, caller: Caller, request: pb.ListSegmentsRequest) -> pb.ListSegmentsResponse:
        bank = self._service.readable(tx, caller.member, bank_id(request.bank))
        asked = page_request(request.page_size, request.page_token)
        found = self._service.segments(tx, bank, after_seq=_after(asked, request.after_seq), limit=asked.size + 1)
        shown = page(found, asked, lambda segment: str(segment.last_seq))
        return pb.ListSegmentsResponse(segments=map(_segment, shown.items), next_page_token=shown.next_token)

    def report_hits(self, tx: Connection, caller: Caller, request: pb.ReportHitsRequest) -> pb.ReportHitsResponse:
        bank = self._service.readable(tx, caller.member, bank_id(request.bank))
        hits = [_hit(hit) for hit in request.hits]
        return pb.ReportHitsResponse(stored=self._service.report_hits(tx, caller, bank, hits))

    def list_hits(self, tx: Connection, caller: Caller, request: pb.ListHitsRequest) -> pb.ListHitsResponse:
        bank = self._service.readable(tx, caller.member, bank_id(request.bank))
        asked = page_request(request.page_size, request.page_token)
        after = None if asked.after is None else parse_digest_key(asked.after)
        found = self._service.hits(tx, caller, bank, after=after, limit=asked.size + 1)
        shown = page(found, asked, lambda hit: digest_key(hit.batch_digest, hit.row))
        return pb.ListHitsResponse(
            hits=[
                pb.HitSummary(
                    batch_digest=hit.batch_digest,
                    row=hit.row,
                    bucket=pb.HitBucket.Name(hit.bucket),
                    reporting_members=min(hit.reporters, MAX_REPORTERS),
                )
                for hit in shown.items
            ],
            next_page_token=shown.next_token,
        )


def _fitting(found: Sequence[pb.BankEntry], asked: PageRequest) -> PageRequest:
    """The page without what would make its response too large to receive; one entry always fits."""
    sizes = itertools.accumulate(entry.ByteSize() for entry in found)
    fitting = sum(size <= MAX_PAGE_BYTES for size in sizes)
    return replace(asked, size=min(asked.size, max(fitting, 1)))


def _after(asked: PageRequest, after_seq: int) -> int:
    if after_seq < 0:
        raise InvalidInput("a sequence number is not negative", field="after_seq")
    return asked.after_number(after_seq)


def _hit(hit: pb.FingerprintHits) -> Hit:
    if hit.bucket not in _BUCKETS:
        raise InvalidInput("unknown bucket", field="hits.bucket", remedy="send counts in buckets")
    return Hit(batch_digest=digest(hit.batch_digest, field="hits.batch_digest"), row=hit.row, bucket=int(hit.bucket))


def _bank(bank: Bank) -> pb.Bank:
    return pb.Bank(
        name=bank.id,
        group=bank.group,
        tlp=pb.Tlp.Name(bank.tlp),
        scheme=bank.scheme,
        head_seq=bank.head_seq,
        head_digest=bank.head_digest,
        create_time=timestamp(bank.create_time),
    )


def _segment(segment: Segment) -> pb.Segment:
    return pb.Segment(
        bank=segment.bank,
        first_seq=segment.first_seq,
        last_seq=segment.last_seq,
        digest=segment.digest,
        size=segment.size,
    )
