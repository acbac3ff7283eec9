"""Packs full runs of a bank's tail into immutable segments, so that a new member fetches few large blobs."""

from __future__ import annotations

from sqlalchemy import Connection

from alliance import segments
from alliance.names import Digest
from alliance.v1 import fingerprint_pb2 as pb
from hub.blobs.service import BlobService
from hub.fingerprints import store
from hub.fingerprints.model import Bank, Segment, plan_segments
from hub.runtime.db import Database

SECONDS = 1.0
_BANKS = 10_000


class Compactor:
    """`entries` and `bytes` are when a run is full."""

    def __init__(self, blobs: BlobService, db: Database, *, entries: int, bytes_: int) -> None:
        self._blobs, self._db = blobs, db
        self._entries, self._bytes = entries, bytes_

    def run(self) -> None:
        """One pass over all banks; each segment is a transaction of its own."""
        with self._db.read() as tx:
            planned = [
                (b, run) for b in store.banks(tx, groups=None, after=None, limit=_BANKS) for run in self._plan(tx, b)
            ]
        for bank, (first, last) in planned:
            with self._db.write() as tx:
                self._pack(tx, bank, first, last)

    def _plan(self, tx: Connection, bank: Bank) -> list[tuple[int, int]]:
        tail = store.tail_sizes(tx, bank.id)
        return plan_segments(tail, entries_per_segment=self._entries, bytes_per_segment=self._bytes)

    def _pack(self, tx: Connection, bank: Bank, first: int, last: int) -> None:
        found = store.entries(tx, bank.id, after_seq=first - 1, last_seq=last, limit=last - first + 1)
        data = segments.pack((entry, self._sealed(entry)) for entry in found)
        digest = self._blobs.put(tx, data, bank.group)
        store.add_segment(tx, Segment(bank=bank.id, first_seq=first, last_seq=last, digest=digest, size=len(data)))

    def _sealed(self, entry: pb.BankEntry) -> bytes:
        return self._blobs.files.read_all(Digest(entry.batch.digest)) if entry.HasField("batch") else b""
