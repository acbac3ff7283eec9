"""A hub that damages, drops, reorders or invents entries: the agent refuses, keeps what it had, and recovers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alliance import entries, segments
from alliance.errors import AllianceError, Corrupt
from alliance.v1 import fingerprint_pb2 as pb
from member_agent import audit_log
from member_agent.clock import timestamp, utc_now
from member_agent.sharing import publishing
from tests.kit.agents import AgentAlliance, AgentHome, alive, alliance_of_agents, products, seen
from tests.kit.lying_hub import LyingHub, flipped_byte
from tests.kit.waiting import eventually


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AgentAlliance]:
    """Four batches of two products at the hub; bigmart has synced them."""
    monkeypatch.setattr(publishing, "BATCH_ROWS", 2)
    monkeypatch.setattr(audit_log, "WAIT_SECONDS", 1.5)
    with alliance_of_agents({"acme": "brand", "bigmart": "marketplace"}, folder=tmp_path) as running:
        publish(running, 8)
        running["bigmart"].sync()
        yield running


@pytest.fixture
def liar(two: AgentAlliance) -> LyingHub:
    return LyingHub(two.hub)


def publish(alliance: AgentAlliance, count: int, *, into: str = "") -> None:
    alliance["acme"].import_csv(products(count))
    alliance["acme"].publish(into)


def refused(home: AgentHome) -> AllianceError:
    """Why a sync is refused; what was held stays."""
    before = seen(home.contents())
    with pytest.raises(AllianceError) as error:
        home.sync()
    assert isinstance(error.value, Corrupt)
    assert error.value.exit_code == 11
    after = seen(home.contents())
    assert after[0][2][: len(before[0][2])] == before[0][2]  # type: ignore[index]  # because `seen` tells lists
    return error.value


def fresh(alliance: AgentAlliance, name: str = "late") -> AgentHome:
    """A member that holds the key and nothing else."""
    home = alliance.newcomer(name)
    for one in (alliance["acme"], home):
        with one.connected() as (agent, hub):
            agent.keyring.current(hub, alliance.group)
    return home


def test_a_damaged_batch_is_refused_until_it_is_whole_again(two: AgentAlliance, liar: LyingHub) -> None:
    publish(two, 12)
    last = liar.entries(two.bank)[-1]
    with flipped_byte(liar.blob(last.batch.digest)):
        error = refused(two["bigmart"])
    assert error.reason == "DIGEST_MISMATCH"
    assert alive(two["bigmart"].contents()) == 10  # what came before it
    two["bigmart"].sync()
    assert alive(two["bigmart"].contents()) == 12
    assert two["bigmart"].contents()[0].problems == ()


def test_a_batch_cut_short_is_refused_until_it_is_whole_again(two: AgentAlliance, liar: LyingHub) -> None:
    publish(two, 10)
    blob = liar.blob(liar.entries(two.bank)[-1].batch.digest)
    whole = blob.read_bytes()
    blob.write_bytes(whole[:200])
    assert refused(two["bigmart"]).reason == "BLOB_CORRUPT"
    blob.write_bytes(whole)
    two["bigmart"].sync()
    assert alive(two["bigmart"].contents()) == 10


def test_a_damaged_segment_is_refused_until_it_is_whole_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "BATCH_ROWS", 2)
    members = {"acme": "brand", "bigmart": "marketplace"}
    with alliance_of_agents(members, folder=tmp_path, fingerprints_segment_entries=3) as two:
        publish(two, 14)
        liar = LyingHub(two.hub)
        packed = "SELECT digest FROM bank_segment ORDER BY first_seq"
        found = eventually(lambda: rows if len(rows := liar.rows(packed)) >= 2 else None, "two segments")
        with flipped_byte(liar.blob(found[1].digest)), pytest.raises(Corrupt) as error:
            two["bigmart"].sync()
        assert error.value.reason == "DIGEST_MISMATCH"
        assert alive(two["bigmart"].contents()) == 6  # the segment before it
        two["bigmart"].sync()
        assert alive(two["bigmart"].contents()) == 14


def test_other_bytes_under_a_true_header_are_refused_in_a_segment_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segment is told by the digest of the false bytes; the batch in it is not."""
    monkeypatch.setattr(publishing, "BATCH_ROWS", 2)
    members = {"acme": "brand", "bigmart": "marketplace"}
    with alliance_of_agents(members, folder=tmp_path, fingerprints_segment_entries=3) as two:
        publish(two, 6)
        liar = LyingHub(two.hub)
        packed = "SELECT first_seq, digest FROM bank_segment ORDER BY first_seq"
        segment = eventually(lambda: liar.rows(packed), "a segment")[0]
        (first, sealed), *others = segments.unpack(liar.blob(segment.digest).read_bytes())
        false = bytes([sealed[0] ^ 1]) + sealed[1:]
        liar.replace_segment(two.bank, segment.first_seq, segments.pack([(first, false), *others]))
        with pytest.raises(Corrupt) as error:
            two["bigmart"].sync()
        assert error.value.reason == "DIGEST_MISMATCH"
        assert alive(two["bigmart"].contents()) == 0


def test_a_damaged_bank_does_not_keep_others_back(two: AgentAlliance, liar: LyingHub) -> None:
    other = two.hub.create_bank("ultra", two.group)
    publish(two, 10, into="titles")
    two["acme"].publish("ultra")
    with flipped_byte(liar.blob(liar.entries(two.bank)[-1].batch.digest)):
        refused(two["bigmart"])
    held = {one.state.id: int(one.alive().sum()) for one in two["bigmart"].contents()}
    assert held == {two.bank: 8, other: 10}


def test_a_dropped_entry_is_a_gap(two: AgentAlliance, liar: LyingHub) -> None:
    publish(two, 12)
    liar.execute("DELETE FROM bank_entry WHERE seq = 5")
    error = refused(two["bigmart"])
    assert (error.reason, "gap before entry 6" in error.message) == ("BANK_CORRUPT", True)


def test_a_dropped_tail_does_not_give_the_head(two: AgentAlliance, liar: LyingHub) -> None:
    publish(two, 12)
    liar.execute("DELETE FROM bank_entry WHERE seq = 6")
    error = refused(two["bigmart"])
    assert (error.reason, "no entry 6" in error.message) == ("BANK_CORRUPT", True)


def test_a_bank_that_shrinks_is_refused(two: AgentAlliance, liar: LyingHub) -> None:
    liar.rewrite(two.bank, liar.entries(two.bank)[:-1])
    error = refused(two["bigmart"])
    assert (error.reason, "shrank from 4 to 3" in error.message) == ("BANK_CORRUPT", True)


def test_a_carefully_reordered_past_is_not_what_is_held(two: AgentAlliance, liar: LyingHub) -> None:
    first, second, *rest = liar.entries(two.bank)
    liar.rewrite(two.bank, [second, first, *rest])
    error = refused(two["bigmart"])
    assert (error.reason, "not what the hub's head says" in error.message) == ("BANK_CORRUPT", True)


def test_another_past_is_noticed_with_the_next_entry(two: AgentAlliance, liar: LyingHub) -> None:
    publish(two, 10)
    first, second, *rest = liar.entries(two.bank)
    liar.rewrite(two.bank, [second, first, *rest])
    error = refused(two["bigmart"])
    assert (error.reason, "chain" in error.message) == ("BANK_CORRUPT", True)


def test_a_careless_reordering_breaks_the_chain(two: AgentAlliance, liar: LyingHub) -> None:
    publish(two, 12)
    fifth, sixth = liar.entries(two.bank)[4:]
    fifth.seq, sixth.seq = 6, 5
    liar.replace_entry(two.bank, fifth)
    liar.replace_entry(two.bank, sixth)
    error = refused(two["bigmart"])
    assert (error.reason, "chain" in error.message) == ("BANK_CORRUPT", True)


def test_another_chain_digest_is_refused(two: AgentAlliance, liar: LyingHub) -> None:
    publish(two, 10)
    entry = liar.entries(two.bank)[-1]
    entry.chain_digest = bytes(32)
    liar.replace_entry(two.bank, entry)
    assert "chain" in refused(two["bigmart"]).message


def test_another_head_digest_is_refused(two: AgentAlliance, liar: LyingHub) -> None:
    publish(two, 10)
    liar.execute("UPDATE bank SET head_digest = :wrong", wrong=bytes(32))
    assert "not what the hub's head says" in refused(two["bigmart"]).message


def test_a_batch_told_twice_is_refused(two: AgentAlliance, liar: LyingHub) -> None:
    told = liar.entries(two.bank)
    liar.rewrite(two.bank, [*told, told[0]])
    error = refused(two["bigmart"])
    assert (error.reason, "twice" in error.message) == ("BANK_CORRUPT", True)


def test_a_batch_moved_from_another_bank_is_refused(two: AgentAlliance, liar: LyingHub) -> None:
    other = two.hub.create_bank("ultra", two.group)
    two["acme"].publish("ultra")
    moved = liar.entries(other)[0]
    liar.rewrite(two.bank, [*liar.entries(two.bank), moved])
    error = refused(two["bigmart"])
    assert (error.reason, f"of {other}, not of {two.bank}" in error.message) == ("BANK_CORRUPT", True)


@pytest.mark.parametrize("field", ["row_count", "epoch", "publisher", "signature"])
def test_a_header_its_publisher_did_not_sign_is_refused(two: AgentAlliance, liar: LyingHub, field: str) -> None:
    """The hub chains the forged header as if it were right."""
    publish(two, 10)
    *rest, entry = liar.entries(two.bank)
    forged = {
        "row_count": 1,
        "epoch": 2,
        "publisher": two["bigmart"].member,
        "signature": entry.batch.signature[:-1] + bytes([entry.batch.signature[-1] ^ 1]),
    }
    setattr(entry.batch, field, forged[field])
    liar.rewrite(two.bank, [*rest, entry])
    assert refused(two["bigmart"]).reason == "SIGNATURE_INVALID"


def test_the_hub_cannot_withdraw_for_a_member_that_is_there(two: AgentAlliance, liar: LyingHub) -> None:
    told = liar.entries(two.bank)
    forged = pb.Tombstone(
        bank=two.bank,
        publisher=two["acme"].member,
        batch_digest=told[0].batch.digest,
        create_time=timestamp(utc_now()),
    )
    liar.rewrite(two.bank, [*told, pb.BankEntry(tombstone=forged)])
    assert refused(two["bigmart"]).reason == "TOMBSTONE_FORGED"
    assert alive(two["bigmart"].contents()) == 8


def test_a_member_cannot_withdraw_what_another_published(two: AgentAlliance, liar: LyingHub) -> None:
    """The hub plays along with a member that signs tombstones for the batches of a competitor."""
    told = liar.entries(two.bank)
    with two["bigmart"].open() as agent:
        hostile = pb.Tombstone(
            bank=two.bank,
            publisher=two["bigmart"].member,
            batch_digest=told[0].batch.digest,
            rows=[0, 1, 60_000],
            create_time=timestamp(utc_now()),
        )
        hostile.signature = agent.identity.sign(entries.tombstone_bytes(hostile))
    liar.rewrite(two.bank, [*told, pb.BankEntry(tombstone=hostile)])
    late = fresh(two)
    late.sync()
    assert alive(late.contents()) == 8


def test_a_damaged_byte_on_the_agents_own_disk_is_a_problem_and_not_an_end(two: AgentAlliance) -> None:
    bigmart = two["bigmart"]
    with bigmart.open() as agent, agent.banks.db.write() as tx:
        tx.exec_driver_sql("UPDATE batch SET sealed = zeroblob(length(sealed)) WHERE seq = 2")
    (held,) = bigmart.contents()
    assert int(held.alive().sum()) == 6
    (problem,) = held.problems
    assert "sync --again" in problem
    assert [c.listing for c in bigmart.screen([{**products(1)[0], "brand": "Acme"}])] == ["p0"]
    with bigmart.connected() as (agent, hub):
        agent.synchroniser.run(hub, again=True)
    assert alive(bigmart.contents()) == 8
