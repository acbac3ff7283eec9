"""A hub killed in the middle of publishing, again and again, loses nothing it acknowledged and doubles nothing.

Members retry with the request ids they began with, as agents do. What they were told is then compared with what
the hub has: bank, blobs, segments and log.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from alliance import segments
from alliance.canonical import AuditEvent, sha256
from alliance.errors import Conflict, InvalidInput, Unavailable
from alliance.names import BankId
from alliance.v1 import audit_pb2, blob_pb2
from alliance.v1 import fingerprint_pb2 as pb
from tests.kit.alliance import alliance
from tests.kit.checks import recomputed_head
from tests.kit.hub_cli import Serving, run
from tests.kit.hub_process import free_address
from tests.kit.keys import Sealed, request_id
from tests.kit.member import RawMember
from tests.kit.waiting import eventually

KILLS = 4
DEADLINE_S = 60.0
T = TypeVar("T")


class Publisher:
    """Publishes, and now and then withdraws, until told to stop; remembers what the hub acknowledged."""

    def __init__(self, member: RawMember, bank: BankId) -> None:
        self.member, self.bank = member, bank
        self.batches: dict[int, Sealed] = {}
        self.tombstones: dict[int, pb.Tombstone] = {}
        self.broken = 0
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=member.name)
        self._thread.start()

    def stop(self) -> None:
        """Once what is begun is acknowledged. Raises: what stopped it early."""
        self._stop.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._publish(self.member.seal(self.bank, os.urandom(200_000), rows=4))
        except BaseException as error:
            self.error = error

    def _publish(self, sealed: Sealed) -> None:
        publish = pb.PublishBatchRequest(request_id=request_id(), batch=self.member.signed(sealed.header))
        self._retried(lambda: self._uploaded(sealed.data))
        seq = self._retried(lambda: self.member.call(publish, pb.PublishBatchResponse)).seq
        assert seq not in self.batches
        self.batches[seq] = sealed
        if len(self.batches) % 5 == 0:
            withdraw = pb.WithdrawRowsRequest(request_id=request_id(), tombstone=self.member.tombstone(sealed, [1]))
            seq = self._retried(lambda: self.member.call(withdraw, pb.WithdrawRowsResponse)).seq
            self.tombstones[seq] = withdraw.tombstone

    def _uploaded(self, data: bytes) -> None:
        held = self.member.call(blob_pb2.GetUploadRequest(digest=sha256(data)), blob_pb2.GetUploadResponse)
        if not held.complete:
            assert self.member.upload(data, offset=held.committed_size, chunk=50_000).complete

    def _retried(self, work: Callable[[], T]) -> T:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                return work()
            except (Unavailable, Conflict) as error:
                self._again(error, deadline)
            except InvalidInput as error:
                if error.reason != "UPLOAD_OFFSET":
                    raise
                self._again(error, deadline)

    def _again(self, error: Exception, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise error
        self.broken += 1
        time.sleep(0.05)
        self.member.reconnect(self.member.address)


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    made = alliance(members=3, folder=tmp_path, server_address=free_address(), fingerprints_segment_entries=8)
    with made as a:
        bank, members, home = a.bank, a.members, a.hub.home.path
    chance = random.Random(7)
    publishers: list[Publisher] = []
    acknowledged: list[int] = []
    for _ in range(KILLS):
        with Serving(home) as served:
            publishers = publishers or [started(member, served, bank) for member in members]
            time.sleep(chance.uniform(0.5, 1.2))
            assert served.end(signal.SIGKILL) == -signal.SIGKILL
        acknowledged.append(sum(len(p.batches) for p in publishers))
    assert acknowledged == sorted(set(acknowledged)), "every life of the hub acknowledged something"
    with Serving(home) as served:
        for publisher in publishers:
            publisher.stop()
        assert sum(p.broken for p in publishers) >= KILLS, "the kills hit calls in progress"
        check(publishers, bank, home)
        for publisher in publishers:
            publisher.member.close()


def started(member: RawMember, served: Serving, bank: BankId) -> Publisher:
    member.reconnect(served.address)
    return Publisher(member, bank)


def check(publishers: list[Publisher], bank: BankId, home: Path) -> None:
    """The hub has exactly what it said it has."""
    reader = publishers[0].member
    found = reader.entries(bank)
    head = reader.call(pb.ListEntriesRequest(bank=bank, page_size=1), pb.ListEntriesResponse)
    assert recomputed_head(found) == (head.head_seq, head.head_digest)

    batches = {seq: sealed for p in publishers for seq, sealed in p.batches.items()}
    tombstones = {seq: tombstone for p in publishers for seq, tombstone in p.tombstones.items()}
    assert {e.seq: e.batch.digest for e in found if e.HasField("batch")} == {
        seq: sealed.header.digest for seq, sealed in batches.items()
    }
    assert {e.seq: e.tombstone for e in found if e.HasField("tombstone")} == tombstones
    for sealed in batches.values():
        assert reader.download(sealed.header.digest) == sealed.data

    packed = reader.call(pb.ListSegmentsRequest(bank=bank, page_size=1000), pb.ListSegmentsResponse).segments
    unpacked = [pair for segment in packed for pair in segments.unpack(reader.download(segment.digest))]
    assert [entry for entry, _ in unpacked] == found[: len(unpacked)]
    assert [data for _, data in unpacked] == [
        batches[entry.seq].data if entry.HasField("batch") else b"" for entry, _ in unpacked
    ]

    eventually(lambda: not pending_leaves(home), "the last leaf")
    logged = Counter(event.partition(":")[0] for event in events(reader))
    assert (logged["batch_published"], logged["rows_withdrawn"]) == (len(batches), len(tombstones))


def pending_leaves(home: Path) -> int:
    """Verifies the whole log; tells what is queued and not in it yet."""
    verified = run("audit", "verify", "--json", home=home)
    assert verified.code == 0, verified.err
    return int(verified.json["pending"])


def events(reader: RawMember) -> list[str]:
    """The log, from its first leaf on."""
    found: list[str] = []
    request = audit_pb2.ListLeavesRequest(page_size=1000)
    while True:
        page = reader.call(request, audit_pb2.ListLeavesResponse)
        found += [AuditEvent.from_bytes(leaf.data).event for leaf in page.leaves]
        request.page_token = page.next_page_token
        if not request.page_token:
            return found
