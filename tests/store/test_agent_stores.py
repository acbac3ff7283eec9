"""The agent's own databases: what commits together, what a cursor promises, what a newer agent wrote."""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Float, Integer, LargeBinary, MetaData, Table, insert

from alliance.audience import Audience, Tlp
from alliance.canonical import CHAIN_START
from alliance.errors import AllianceError, Corrupt, FailedPrecondition, Unavailable
from alliance.names import BankId, Digest, GroupId, MemberId
from alliance.prepared import Prepared
from alliance.v1 import fingerprint_pb2 as pb
from alliance.v1 import membership_pb2
from member_agent import egress, outbox, state
from member_agent.database import LocalDatabase
from member_agent.ledger import Ledger
from member_agent.outbox import Outbox, State
from member_agent.sharing import published
from member_agent.sharing.bank_store import BankState, BankStore, SealedBatch, StoredTombstone
from member_agent.sharing.published import PublishedRow

BANK, ACME = BankId("banks/titles"), MemberId("members/acme")
AUDIENCE = Audience(group=GroupId("groups/shoes"), ceiling=Tlp.AMBER)
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=dt.UTC)
ID = "01234567-89ab-4cde-8f01-23456789abcd"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[LocalDatabase]:
    opened = state.open_state(tmp_path / "agent.db")
    yield opened
    opened.close()


@pytest.fixture
def banks(tmp_path: Path) -> Iterator[BankStore]:
    opened = BankStore(tmp_path / "banks.db")
    yield opened
    opened.close()


def at(cursor: int) -> BankState:
    chain = Digest(bytes([cursor] * 32))
    return BankState(id=BANK, audience=AUDIENCE, scheme="terms-v1", cursor=cursor, chain_digest=chain)


def batch(seq: int, *, sealed: bytes = b"") -> SealedBatch:
    data = sealed or f"sealed {seq}".encode()
    digest = Digest(hashlib.sha256(data).digest())
    return SealedBatch(bank=BANK, seq=seq, digest=digest, publisher=ACME, epoch=1, row_count=3, sealed=data)


# Banks.


def test_a_new_bank_starts_at_nothing(banks: BankStore) -> None:
    assert banks.state(BANK) is None
    opened = banks.open_bank(BANK, AUDIENCE, "terms-v1")
    assert (opened.cursor, opened.chain_digest) == (0, CHAIN_START)
    assert banks.open_bank(BANK, AUDIENCE, "terms-v1") == opened
    assert banks.states() == [opened]


def test_entries_come_back_in_order_with_the_state_behind_them(banks: BankStore) -> None:
    banks.open_bank(BANK, AUDIENCE, "terms-v1")
    gone = StoredTombstone(seq=2, batch_digest=batch(1).digest, publisher=ACME, rows=(0, 2, 65_535))
    whole = StoredTombstone(seq=4, batch_digest=batch(3).digest, publisher=ACME, rows=())
    banks.append(at(2), [batch(1)], [gone])
    banks.append(at(4), [batch(3)], [whole])
    assert banks.state(BANK) == at(4)
    assert list(banks.batches(BANK)) == [batch(1), batch(3)]
    assert banks.tombstones(BANK) == [gone, whole]
    size = banks.size(BANK)
    assert (size.batches, size.rows, size.tombstones) == (2, 6, 2)


def test_entries_and_cursor_are_kept_together_or_not_at_all(banks: BankStore) -> None:
    banks.open_bank(BANK, AUDIENCE, "terms-v1")
    banks.append(at(1), [batch(1)], [])
    with pytest.raises(Corrupt, match="twice"):
        banks.append(at(3), [batch(2), batch(3, sealed=batch(1).sealed)], [])
    assert banks.state(BANK) == at(1)
    assert list(banks.batches(BANK)) == [batch(1)]


def test_a_dropped_bank_is_fetched_anew(banks: BankStore) -> None:
    banks.open_bank(BANK, AUDIENCE, "terms-v1")
    banks.append(at(1), [batch(1)], [])
    banks.drop(BANK)
    assert banks.state(BANK) is None
    assert banks.size(BANK).batches == 0
    banks.open_bank(BANK, AUDIENCE, "terms-v1")
    banks.append(at(1), [batch(1)], [])


# The outbox.


def report(n: int = 0) -> pb.ReportHitsRequest:
    hits = [pb.FingerprintHits(batch_digest=bytes(32), row=n, bucket="HIT_BUCKET_1_TO_9")]
    return pb.ReportHitsRequest(request_id=ID, bank=BANK, hits=hits)


def test_an_item_is_kept_with_what_makes_it_true_or_not_at_all(db: LocalDatabase, tmp_path: Path) -> None:
    box = Outbox(db, tmp_path / "lock")

    def broken() -> None:
        with db.write() as tx:
            outbox.put(tx, report(), now=NOW)
            raise RuntimeError("the other half failed")

    with pytest.raises(RuntimeError):
        broken()
    assert box.count(State.WAITING) == 0


def test_items_wait_in_order_and_come_back_to_the_byte(db: LocalDatabase, tmp_path: Path) -> None:
    box = Outbox(db, tmp_path / "lock")
    with db.write() as tx:
        for n in range(3):
            outbox.put(tx, report(n), now=NOW)
        batch_request = pb.PublishBatchRequest(request_id=ID, batch=pb.BatchHeader(bank=BANK, digest=bytes(32)))
        outbox.put(tx, batch_request, now=NOW, sealed=b"sealed bytes", digest=bytes(32))
    items = list(box.items(State.WAITING))
    assert [item.request for item in items] == [report(0), report(1), report(2), batch_request]
    assert [(item.sealed_size, box.sealed(item)) for item in items[2:]] == [(0, b""), (12, b"sealed bytes")]
    assert [item.id for item in box.items(State.WAITING, limit=2)] == [items[0].id, items[1].id]


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (Unavailable("gone"), True),
        (AllianceError("who knows", reason="UNKNOWN"), True),
        (Corrupt("damaged"), True),
        (FailedPrecondition("old", reason="CLIENT_TOO_OLD"), True),
        (FailedPrecondition("stale", reason="EPOCH_STALE"), False),
    ],
)
def test_only_a_refusal_is_final(error: AllianceError, passes: bool) -> None:
    assert outbox._passes(error, attempts=0) is passes
    forever = isinstance(error, Unavailable) or error.reason == "CLIENT_TOO_OLD"
    assert outbox._passes(error, attempts=outbox.MAX_UNCLEAR) is (passes and forever)


def test_a_refused_batch_is_told_once(db: LocalDatabase) -> None:
    with db.write() as tx:
        outbox.put(tx, report(), now=NOW, digest=b"\1" * 32)
        tx.execute(outbox.outbox_table.update().values(state=State.FAILED))
        assert outbox.take_failed_batches(tx) == [b"\1" * 32]
        assert outbox.take_failed_batches(tx) == []


# What was published.


def row(n: int, *, product: int | None = None, digest: bytes = b"\1" * 32, source: str = "shop") -> PublishedRow:
    key = n if product is None else product
    return PublishedRow(
        bank=BANK, batch_digest=Digest(digest), row=n, product=key, source=source, source_key=f"p{key}", kind="title",
        content_digest=bytes([key % 256]) * 32,
    )  # fmt: skip


def test_withdrawn_rows_are_kept_and_no_longer_live(db: LocalDatabase) -> None:
    with db.write() as tx:
        published.add(tx, [row(n) for n in range(30_000)])
        published.mark_withdrawn(tx, BANK, Digest(b"\1" * 32), list(range(0, 30_000, 2)))
        assert len(published.live(tx, BANK)) == 15_000
        assert len(published.all_rows(tx, BANK)) == 30_000
        assert published.digest_of(tx, BANK, 0) is None
        assert published.digest_of(tx, BANK, 1) == row(1).content_digest
        assert published.live(tx, BANK, product=3) == [row(3)]
        assert published.live(tx, BANK, source="other") == []


def test_a_forgotten_batch_makes_the_catalogue_be_looked_at_again(db: LocalDatabase) -> None:
    with db.write() as tx:
        published.add(tx, [row(0), row(1, digest=b"\2" * 32)])
        published.set_cursor(tx, BANK, "", 9)
        published.set_cursor(tx, BankId("banks/other"), "", 5)
        published.forget_batch(tx, Digest(b"\1" * 32))
        assert published.live(tx, BANK) == [row(1, digest=b"\2" * 32)]
        assert published.cursor(tx, BANK, "") == 0
        assert published.cursor(tx, BankId("banks/other"), "") == 5


def test_what_is_withheld_stays_so_until_it_is_released(db: LocalDatabase) -> None:
    with db.write() as tx:
        published.withhold(tx, BANK, [1, 2])
        published.withhold(tx, BANK, [2, 3])
        published.set_cursor(tx, BANK, "", 9)
        assert published.withheld(tx, BANK) == {1, 2, 3}
        assert published.withheld(tx, BankId("banks/other")) == set()
        published.release(tx, BANK)
        assert (published.withheld(tx, BANK), published.cursor(tx, BANK, "")) == (set(), 0)


# The ledger.


def test_the_ledger_tells_what_was_sent_and_when(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    requests = [membership_pb2.HandshakeRequest(client_version="0.1.0"), report(), report(1)]
    for n, request in enumerate(requests):
        ledger.record(egress.permit(request), now=NOW + dt.timedelta(seconds=n))
    first, second = ledger.entries(last=2)
    raw = report().SerializeToString(deterministic=True)
    assert (first.message, first.kind, first.size) == ("ReportHitsRequest", "bucketed hits", len(raw))
    assert first.digest == hashlib.sha256(raw).digest()
    assert first.time == NOW + dt.timedelta(seconds=1)
    assert second.id == first.id + 1
    assert ledger.totals() == {"session": 7, "bucketed hits": len(raw) + second.size}
    ledger.close()


# All of them.


def test_what_a_newer_agent_wrote_is_left_alone(tmp_path: Path) -> None:
    metadata = MetaData()
    Table("one", metadata, Column("n", Integer))
    LocalDatabase(tmp_path / "a.db", metadata, version=2).close()
    with pytest.raises(FailedPrecondition) as error:
        LocalDatabase(tmp_path / "a.db", metadata, version=1)
    assert error.value.reason == "SCHEMA_NEWER"


def test_a_file_of_an_older_agent_gains_columns_and_keeps_its_rows(tmp_path: Path) -> None:
    path, before, after = tmp_path / "a.db", MetaData(), MetaData()
    Table("one", before, Column("n", Integer, primary_key=True))
    Table("one", after, Column("n", Integer, primary_key=True), Column("share", Float))
    Table("two", after, Column("n", Integer))
    old = LocalDatabase(path, before, version=1)
    with old.write() as tx:
        tx.exec_driver_sql("INSERT INTO one VALUES (7)")
    old.close()
    new = LocalDatabase(path, after, version=2)
    with new.write() as tx:
        tx.exec_driver_sql("INSERT INTO one VALUES (8, 0.5)")
        assert tx.exec_driver_sql("SELECT n, share FROM one ORDER BY n").all() == [(7, None), (8, 0.5)]
        assert tx.exec_driver_sql("SELECT count(*) FROM two").scalar_one() == 0
    new.close()


def test_writers_wait_for_each_other(db: LocalDatabase) -> None:
    """A write that read first never fails half way for another's."""

    def count_up() -> None:
        for _ in range(20):
            with db.write() as tx:
                before = published.cursor(tx, BANK, "")
                published.set_cursor(tx, BANK, "", before + 1)

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with db.read() as tx:
        assert published.cursor(tx, BANK, "") == 80


def test_a_full_disk_is_said_with_its_remedy(tmp_path: Path) -> None:
    metadata = MetaData()
    things = Table("things", metadata, Column("data", LargeBinary))
    db = LocalDatabase(tmp_path / "full.db", metadata, version=1)

    def fill() -> None:
        with db.write() as tx:
            tx.exec_driver_sql("PRAGMA max_page_count=3")
            Prepared(insert(things)).change(tx, data=bytes(100_000))

    with pytest.raises(Unavailable, match="full") as refused:
        fill()
    assert (refused.value.reason, "disk" in refused.value.remedy) == ("DATABASE", True)
    db.close()
