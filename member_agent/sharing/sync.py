"""Brings banks to the hub's head: segments first, then the tail; every byte checked before it counts.

Per entry: dense sequence, the batch's digest, its publisher's signature, the chain step; at the end the
chain must be the hub's head. A killed sync goes on from its cursor, a broken download from its offset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from alliance import canonical, entries, segments
from alliance.errors import AllianceError, Corrupt, InvalidInput
from alliance.names import BankId, Digest, MemberId, bank_id, digest, member_id
from alliance.v1 import fingerprint_pb2 as pb
from member_agent import transfer
from member_agent.directory import Directory
from member_agent.hub_client import HubClient
from member_agent.locks import FileLock
from member_agent.sharing.audiences import Audiences
from member_agent.sharing.bank_store import BankState, BankStore, SealedBatch, StoredTombstone

# Sealed bytes held in memory before they are stored.
_FLUSH_BYTES = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """How a bank stands after a sync: `new_entries` came in by it."""

    bank: BankId
    scheme: str
    cursor: int
    new_entries: int
    batches: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    bank: BankId
    cursor: int
    head: int


class Synchroniser:
    def __init__(
        self, store: BankStore, *, audiences: Audiences, directory: Directory, parts: Path, lock: Path
    ) -> None:
        self._store = store
        self._audiences = audiences
        self._directory = directory
        self._parts = parts
        self._lock = lock

    def banks(self, hub: HubClient) -> list[pb.Bank]:
        """The banks of this member's groups."""
        return list(hub.pages(pb.ListBanksRequest(), pb.ListBanksResponse, lambda page: page.banks))

    def run(
        self,
        hub: HubClient,
        *,
        only: BankId | None = None,
        again: bool = False,
        progress: Callable[[Progress], None] = lambda p: None,
    ) -> list[Synced]:
        """Syncs every bank, or one; `again` forgets first what is held of it.

        Raises: NotPermitted, Unavailable; Corrupt or InvalidInput (malformed names), when the other banks are
        through. What came in before stays.
        """
        synced: list[Synced] = []
        corrupt: Corrupt | InvalidInput | None = None
        with FileLock(self._lock):
            for bank in self.banks(hub):
                if only not in (None, bank.name):
                    continue
                if again:
                    self._store.drop(bank_id(bank.name))
                try:
                    synced.append(self._bank(hub, bank, progress))
                except (Corrupt, InvalidInput) as error:
                    corrupt = corrupt or error
        if corrupt is not None:
            raise corrupt
        return synced

    def _bank(self, hub: HubClient, bank: pb.Bank, progress: Callable[[Progress], None]) -> Synced:
        audience = self._audiences.require(hub, bank)
        name = bank_id(bank.name)
        start = state = self._store.open_bank(name, audience, bank.scheme)
        head = max(bank.head_seq, state.cursor)
        if bank.head_seq < state.cursor:
            raise self._corrupt(f"{name} shrank from {state.cursor} to {bank.head_seq} entries")
        request = pb.ListSegmentsRequest(bank=name, after_seq=state.cursor)
        for segment in hub.pages(request, pb.ListSegmentsResponse, lambda page: page.segments):
            if segment.first_seq != state.cursor + 1:
                state = self._tail(hub, state, upto=segment.first_seq - 1)
            data = transfer.download(hub, digest(segment.digest), self._parts)
            state = self._take(hub, state, segments.unpack(data))
            progress(Progress(bank=name, cursor=state.cursor, head=head))
        state = self._tail(hub, state, upto=None)
        progress(Progress(bank=name, cursor=state.cursor, head=max(head, state.cursor)))
        size = self._store.size(name)
        return Synced(
            bank=name,
            scheme=bank.scheme,
            cursor=state.cursor,
            new_entries=state.cursor - start.cursor,
            batches=size.batches,
            rows=size.rows,
        )

    def _tail(self, hub: HubClient, state: BankState, *, upto: int | None) -> BankState:
        """Entry by entry, each batch its own blob; without `upto`, to the head, which must match."""
        head = b""
        while True:
            request = pb.ListEntriesRequest(bank=state.id, after_seq=state.cursor, page_size=100)
            page = hub.call(request, pb.ListEntriesResponse)
            wanted = [entry for entry in page.entries if upto is None or entry.seq <= upto]
            state = self._take(hub, state, ((entry, self._sealed(hub, entry)) for entry in wanted))
            head = page.head_digest
            if state.cursor >= (page.head_seq if upto is None else upto):
                break
            if not wanted:
                raise self._corrupt(f"{state.id} has no entry {state.cursor + 1}")
        if upto is None and state.chain_digest != head:
            raise self._corrupt(f"{state.id} as held is not what the hub's head says")
        return state

    def _sealed(self, hub: HubClient, entry: pb.BankEntry) -> bytes:
        if not entry.HasField("batch"):
            return b""
        return transfer.download(hub, digest(entry.batch.digest), self._parts)

    def _take(self, hub: HubClient, state: BankState, found: Iterable[tuple[pb.BankEntry, bytes]]) -> BankState:
        """Checks entries and stores them in groups that fit memory."""
        batches: list[SealedBatch] = []
        tombstones: list[StoredTombstone] = []
        pending = 0
        try:
            for entry, sealed in found:
                if entry.seq <= state.cursor:
                    continue
                following = self._next(hub, state, entry)
                if entry.HasField("batch"):
                    batches.append(_checked_batch(state.id, entry, sealed))
                else:
                    tombstones.append(_tombstone(entry))
                state = following
                pending += len(sealed)
                if pending >= _FLUSH_BYTES:
                    self._store.append(state, batches, tombstones)
                    batches, tombstones, pending = [], [], 0
        finally:
            # What was good before an entry that is not, or before the connection broke, need not come again.
            if batches or tombstones:
                self._store.append(state, batches, tombstones)
        return state

    def _next(self, hub: HubClient, state: BankState, entry: pb.BankEntry) -> BankState:
        """The state after one entry: sequence, bank, signature, chain. Raises: Corrupt."""
        if entry.seq != state.cursor + 1:
            raise self._corrupt(f"{state.id} has a gap before entry {entry.seq}")
        body = entry.batch if entry.HasField("batch") else entry.tombstone
        if body.bank != state.id:
            raise self._corrupt(f"entry {entry.seq} is of {body.bank}, not of {state.id}")
        chained = entries.chain(state.chain_digest, entry)
        if chained != entry.chain_digest:
            raise self._corrupt(f"the chain of {state.id} breaks at entry {entry.seq}")
        self._check_signature(hub, state, entry, member_id(body.publisher))
        return replace(state, cursor=entry.seq, chain_digest=chained)

    def _check_signature(self, hub: HubClient, state: BankState, entry: pb.BankEntry, publisher: MemberId) -> None:
        """All is signed by its publisher, but for what the hub withdraws of a member that is gone."""
        if entry.HasField("batch"):
            signed, signature, event = entries.batch_bytes(entry.batch), entry.batch.signature, "batch_published"
        elif entry.tombstone.signature:
            signed, signature = entries.tombstone_bytes(entry.tombstone), entry.tombstone.signature
            event = "rows_withdrawn"
        else:
            self._directory.require_gone(hub, publisher)
            return
        logged = self._directory.logged(event=event, subject=state.id, actor=publisher, digest=canonical.sha256(signed))
        self._directory.require(hub, publisher, "an entry").verify(signature, signed, logged=logged)

    def _corrupt(self, what: str) -> AllianceError:
        return Corrupt(what, reason="BANK_CORRUPT", remedy="sync again; if it stays, tell the alliance")


def _tombstone(entry: pb.BankEntry) -> StoredTombstone:
    tombstone = entry.tombstone
    return StoredTombstone(
        seq=entry.seq,
        batch_digest=digest(tombstone.batch_digest),
        publisher=member_id(tombstone.publisher),
        rows=tuple(tombstone.rows),
    )


def _checked_batch(bank: BankId, entry: pb.BankEntry, sealed: bytes) -> SealedBatch:
    """Raises: Corrupt."""
    batch = entry.batch
    if hashlib.sha256(sealed).digest() != batch.digest:
        raise Corrupt(
            f"the bytes of entry {entry.seq} of {bank} have another digest",
            reason="DIGEST_MISMATCH",
            remedy="sync again; if it stays, tell the operator",
        )
    return SealedBatch(
        bank=bank,
        seq=entry.seq,
        digest=Digest(batch.digest),
        publisher=member_id(batch.publisher),
        epoch=batch.epoch,
        row_count=batch.row_count,
        sealed=sealed,
    )
