"""Publishing, withdrawing, listing, reporting: who may, in which order; the content stays sealed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import Connection

from alliance import entries, schemes
from alliance.audience import Audience
from alliance.canonical import CHAIN_START, sha256
from alliance.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound, NotPermitted
from alliance.names import BankId, Digest, MemberId
from alliance.names import digest as checked_digest
from alliance.v1 import fingerprint_pb2 as pb
from hub.audit.service import AuditService
from hub.blobs.service import BlobService
from hub.fingerprints import store
from hub.fingerprints.model import Bank, Hit, HitSummary, Segment, check_batch, check_rows
from hub.keys.service import KeyService
from hub.membership.service import MembershipService
from hub.policy.service import PolicyService
from hub.runtime.caller import Caller
from hub.runtime.clock import Clock, micros, timestamp

MAX_HITS = 10_000
# A member's groups in one query; a member in more sees the first by name.
MAX_GROUPS = 1000
_DIGEST_KEY = re.compile(r"([0-9a-f]{64}):([0-9]{1,9})\Z")


class FingerprintService:
    def __init__(
        self,
        *,
        membership: MembershipService,
        keys: KeyService,
        blobs: BlobService,
        audit: AuditService,
        policies: PolicyService,
        clock: Clock,
    ) -> None:
        self._membership = membership
        self._keys = keys
        self._blobs = blobs
        self._audit = audit
        self._policies = policies
        self._clock = clock

    def create_bank(self, tx: Connection, caller: Caller, bank_id: BankId, audience: Audience, scheme: str) -> Bank:
        """Raises: NotFound, AlreadyExists, InvalidInput."""
        schemes.scheme(scheme)
        self._policies.current(tx).require_ceiling(audience.ceiling)
        self._membership.group(tx, audience.group)
        if store.find_bank(tx, bank_id) is not None:
            raise AlreadyExists(f"{bank_id} exists", reason="BANK_EXISTS", field="name")
        bank = Bank(
            id=bank_id,
            group=audience.group,
            tlp=audience.ceiling,
            scheme=scheme,
            head_seq=0,
            head_digest=CHAIN_START,
            create_time=micros(self._clock()),
        )
        store.add_bank(tx, bank)
        self._audit.record(tx, event=f"bank_created:{audience.detail()}", actor=caller.name, subject=bank_id)
        return bank

    def banks(self, tx: Connection, caller: Caller, *, after: str | None, limit: int) -> list[Bank]:
        """All of them to the console, to a member those of its groups."""
        groups = None
        if not caller.is_console:
            groups = [group.id for group in self._membership.groups(tx, caller, after=None, limit=MAX_GROUPS)]
        return store.banks(tx, groups=groups, after=after, limit=limit)

    def readable(self, tx: Connection, member: MemberId, bank_id: BankId) -> Bank:
        """Raises: NotPermitted, the same for a bank that is not there: outsiders learn nothing."""
        return self._of_group(tx, store.find_bank(tx, bank_id), member, bank_id)

    def publish(self, tx: Connection, caller: Caller, batch: pb.BatchHeader, bank_id: BankId) -> int:
        """Appends a batch; the same batch again gives the same sequence number.

        Raises: InvalidInput, NotPermitted, FailedPrecondition.
        """
        publisher = caller.member
        bank = self._of_group(tx, store.lock_bank(tx, bank_id), publisher, bank_id)
        digest = checked_digest(batch.digest, field="batch.digest")
        check_batch(batch, bank, publisher)
        published = store.find_batch(tx, bank_id, digest)
        if published is not None and published.publisher == publisher:
            return published.seq
        epoch = self._keys.current_epoch(tx, bank.group)
        if batch.epoch != epoch:
            raise FailedPrecondition(
                f"{bank.group} is at epoch {epoch}, the batch was sealed under {batch.epoch}",
                reason="EPOCH_STALE",
                field="batch.epoch",
                remedy="fetch the group's key and seal again",
            )
        self._blobs.require_uploaded(tx, publisher, digest, batch.size)
        signed = entries.batch_bytes(batch)
        self._membership.require_signed(tx, publisher, signed, batch.signature)
        self._blobs.publish(tx, digest, bank.group)
        seq = self._append(tx, bank, pb.BankEntry(batch=batch))
        self._audit.record(
            tx, event=f"batch_published:{bank_id}", actor=publisher, subject=bank_id, digest=sha256(signed)
        )
        return seq

    def withdraw(self, tx: Connection, caller: Caller, tombstone: pb.Tombstone, bank_id: BankId) -> int:
        """Appends a tombstone for rows of the caller's own batch. Raises: InvalidInput, NotFound, NotPermitted."""
        publisher = caller.member
        bank = self._of_group(tx, store.lock_bank(tx, bank_id), publisher, bank_id)
        digest = checked_digest(tombstone.batch_digest, field="tombstone.batch_digest")
        published = store.find_batch(tx, bank_id, digest)
        if published is None:
            raise NotFound("no such batch in this bank", reason="BATCH_NOT_FOUND", field="tombstone.batch_digest")
        if published.publisher != publisher or tombstone.publisher != publisher:
            raise NotPermitted("only its publisher withdraws a batch", reason="NOT_PUBLISHER")
        check_rows(tombstone.rows, published)
        signed = entries.tombstone_bytes(tombstone)
        self._membership.require_signed(tx, publisher, signed, tombstone.signature)
        seq = self._append(tx, bank, pb.BankEntry(tombstone=tombstone))
        self._audit.record(
            tx, event=f"rows_withdrawn:{bank_id}", actor=publisher, subject=bank_id, digest=sha256(signed)
        )
        return seq

    def departed(self, tx: Connection, member: MemberId) -> None:
        """Tombstones all that a leaving member published; unsigned, since the hub writes it."""
        for batch in store.batches_of(tx, member):
            bank = store.lock_bank(tx, batch.bank)
            if bank is None:
                continue
            tombstone = pb.Tombstone(
                bank=batch.bank,
                publisher=member,
                batch_digest=batch.digest,
                create_time=timestamp(micros(self._clock())),
            )
            self._append(tx, bank, pb.BankEntry(tombstone=tombstone))
            signed = entries.tombstone_bytes(tombstone)
            self._audit.record(
                tx, event=f"rows_withdrawn:{batch.bank}", actor="hub", subject=batch.bank, digest=sha256(signed)
            )

    def entries(self, tx: Connection, bank: Bank, *, after_seq: int, limit: int) -> list[pb.BankEntry]:
        """Entries of this bank as it is given, even if it has grown since."""
        return store.entries(tx, bank.id, after_seq=after_seq, last_seq=bank.head_seq, limit=limit)

    def segments(self, tx: Connection, bank: Bank, *, after_seq: int, limit: int) -> list[Segment]:
        return store.segments(tx, bank.id, after_seq=after_seq, limit=limit)

    def report_hits(self, tx: Connection, caller: Caller, bank: Bank, hits: Sequence[Hit]) -> int:
        """Keeps the newest bucket per fingerprint and reporter; hits on unknown batches or rows are ignored."""
        if len(hits) > MAX_HITS:
            raise InvalidInput(f"at most {MAX_HITS} hits", field="hits", remedy="send several reports")
        latest = {(hit.batch_digest, hit.row): hit for hit in hits}
        batches = {d: store.find_batch(tx, bank.id, d) for d in {hit.batch_digest for hit in hits}}
        known = []
        for hit in latest.values():
            batch = batches[hit.batch_digest]
            if batch is not None and 0 <= hit.row < batch.row_count:
                known.append(hit)
        store.save_hits(tx, bank.id, caller.member, known, now=micros(self._clock()))
        self._audit.record(tx, event=f"hits_reported:{bank.id}", actor=caller.name, subject=bank.id)
        return len(known)

    def hits(
        self, tx: Connection, caller: Caller, bank: Bank, *, after: tuple[bytes, int] | None, limit: int
    ) -> list[HitSummary]:
        return store.hits_of(tx, bank.id, caller.member, after=after, limit=limit)

    def _append(self, tx: Connection, bank: Bank, entry: pb.BankEntry) -> int:
        grown, placed = bank.append(entry)
        store.append(tx, grown, placed)
        return placed.seq

    def _of_group(self, tx: Connection, bank: Bank | None, member: MemberId, bank_id: BankId) -> Bank:
        if bank is None or not self._membership.is_in_group(tx, bank.group, member):
            raise NotPermitted(
                f"{member} is not in the group of {bank_id}",
                reason="NOT_IN_GROUP",
                field="bank",
                remedy="ask the operator to add the member to the bank's group",
            )
        return bank


def digest_key(digest: Digest, row: int) -> str:
    """A hit's place in a page token."""
    return f"{digest.hex()}:{row}"


def parse_digest_key(key: str) -> tuple[bytes, int]:
    """Raises: InvalidInput."""
    found = _DIGEST_KEY.match(key)
    if found is None:
        raise InvalidInput("not a page token of this hub", reason="PAGE_TOKEN", field="page_token")
    return bytes.fromhex(found[1]), int(found[2])
