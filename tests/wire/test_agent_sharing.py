"""A brand's agent publishes, a marketplace's agent finds: over real mutual TLS, in one process."""

from __future__ import annotations

import datetime as dt
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from alliance.errors import FailedPrecondition, NotAuthenticated, NotFound, NotPermitted
from alliance.v1 import fingerprint_pb2 as pb
from alliance.v1 import membership_pb2
from member_agent import enrolment, outbox
from member_agent.clock import utc_now
from member_agent.outbox import Item, State
from member_agent.sharing import published, publishing
from member_agent.sharing.making import Labels
from member_agent.sharing.publishing import expiry_day
from member_agent.sharing.rows import Marks
from tests.kit.agents import AgentAlliance, AgentHome, Rows, alive, alliance_of_agents, products, seen
from tests.kit.waiting import eventually

SHOP = products(12)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[AgentAlliance]:
    with alliance_of_agents({"acme": "brand", "bigmart": "marketplace"}, folder=tmp_path) as running:
        yield running


def copies(rows: Rows) -> list[dict[str, object]]:
    """Generated listings that copy products, under ids of their own."""
    return [{"id": f"L-{row['id']}", "title": f"{row['title']} cheap", "brand": row["brand"]} for row in rows]


def head(alliance: AgentAlliance) -> int:
    """How many entries the hub has."""
    with alliance["acme"].connected() as (agent, hub):
        (bank,) = agent.synchroniser.banks(hub)
        return bank.head_seq


def retitled(rows: Rows, key: str, title: str) -> list[dict[str, object]]:
    return [{**row, "title": title} if row["id"] == key else dict(row) for row in rows]


def test_a_marketplace_finds_copies_and_the_brand_sees_bucketed_hits(two: AgentAlliance) -> None:
    two["acme"].import_csv(SHOP)
    report, sent = two["acme"].publish(labels=Labels(marks=Marks.NEVER_MADE))
    assert (report.products, report.rows, report.problems) == (12, 12, ())
    assert sent is not None
    assert (sent.sent, sent.failed, sent.waiting) == (1, 0, 0)
    two["bigmart"].sync()

    listings: Rows = [*copies(SHOP[:3]), {"id": "hose", "title": "garden hose with nozzle", "brand": ""}]
    found = two["bigmart"].screen(listings)
    assert [candidate.listing for candidate in found] == ["L-p0", "L-p1", "L-p2"]
    for candidate in found:
        assert (candidate.publisher, candidate.brand, candidate.marks) == ("members/acme", "acme", "never_made")
        assert candidate.score >= 70
        assert candidate.reasons[0].startswith("title alike, cosine 0.")

    two["bigmart"].sync()  # sends what waits
    with two["acme"].connected() as (_, hub):
        hits = list(hub.pages(pb.ListHitsRequest(bank=two.bank), pb.ListHitsResponse, lambda page: page.hits))
    told = {f"{hit.batch_digest.hex()}:{hit.row}" for hit in hits}
    assert told == {candidate.fingerprint for candidate in found}
    assert {(hit.bucket, hit.reporting_members) for hit in hits} == {(pb.HIT_BUCKET_1_TO_9, 1)}


def test_publishing_again_publishes_nothing(two: AgentAlliance) -> None:
    two["acme"].import_csv(SHOP)
    two["acme"].publish()
    entries = head(two)
    two["acme"].import_csv(SHOP)
    again, sent = two["acme"].publish()
    assert (again.rows, again.withdrawn, sent and sent.sent) == (0, 0, 0)
    # Even where the cursor is lost and every product is looked at.
    anew, _ = two["acme"].publish(include_withheld=True)
    assert (anew.rows, anew.unchanged) == (0, 12)
    assert head(two) == entries


def test_a_changed_product_replaces_its_old_row(two: AgentAlliance) -> None:
    two["acme"].import_csv(SHOP)
    two["acme"].publish()
    two["bigmart"].sync()
    two["acme"].import_csv(retitled(SHOP, "p3", "wholly renamed sandal 9000"))
    report, _ = two["acme"].publish()
    assert (report.rows, report.withdrawn) == (1, 1)
    two["bigmart"].sync()
    assert alive(two["bigmart"].contents()) == 12
    new = {"id": "new", "title": "wholly renamed sandal 9000", "brand": "Acme"}
    assert [c.listing for c in two["bigmart"].screen([new, *copies(SHOP[3:4])])] == ["new"]


def test_what_vanished_stays_published_until_it_is_pruned(two: AgentAlliance) -> None:
    two["acme"].import_csv(SHOP)
    two["acme"].publish()
    assert two["acme"].import_csv(SHOP[1:]).vanished == 1
    assert two["acme"].publish()[0].withdrawn == 0
    assert two["acme"].import_csv(SHOP[1:], prune=True).withdrawn == 1
    assert two["acme"].publish()[0].withdrawn == 1
    two["bigmart"].sync()
    assert alive(two["bigmart"].contents()) == 11
    assert two["bigmart"].screen(copies(SHOP[:1])) == []


def test_what_was_withdrawn_by_hand_stays_out_until_told_otherwise(two: AgentAlliance) -> None:
    acme = two["acme"]
    acme.import_csv(SHOP)
    acme.publish()
    with acme.connected() as (agent, hub), agent.publisher() as publisher:
        assert publisher.withdraw(two.bank, keys=frozenset({"p1"})) == 1
        agent.outbox.drain(hub)
    two["bigmart"].sync()
    assert alive(two["bigmart"].contents()) == 11

    acme.import_csv(retitled(SHOP, "p1", "renamed, and still withheld 77"))
    report, _ = acme.publish()
    assert (report.rows, report.withheld) == (0, 1)
    report, _ = acme.publish(include_withheld=True)
    assert (report.rows, report.unchanged) == (1, 11)
    two["bigmart"].sync()
    assert alive(two["bigmart"].contents()) == 12


def dump(home: AgentHome) -> dict[str, list[str]]:
    """Every row of every database but the ledger of what was sent."""
    files = sorted(set(home.home.path.glob("*.db")) - {home.home.ledger_file})
    found = {}
    for file in files:
        with sqlite3.connect(file) as opened:
            found[file.name] = list(opened.iterdump())
        opened.close()
    return found


def test_a_dry_run_keeps_nothing_and_sends_only_questions(tmp_path: Path) -> None:
    # The group has no key yet: rehearsing must not make one.
    with alliance_of_agents({"acme": "brand"}, folder=tmp_path, keyed=False) as alone:
        acme = alone["acme"]
        acme.import_csv(SHOP)
        with acme.open() as agent:
            before, sent = dump(acme), next(iter(agent.ledger.entries(last=1))).id
        said = acme.json_of("publish", "--dry-run")
        assert (said["dry_run"], said["products"], said["rows"], said["batches"]) == (True, 12, 12, 1)
        assert dump(acme) == before
        with acme.open() as agent:
            since = [entry for entry in agent.ledger.entries(last=100) if entry.id > sent]
        assert since
        assert {entry.kind for entry in since} == {"question"}
        assert head(alone) == 0


def test_an_expired_fingerprint_finds_nothing(two: AgentAlliance) -> None:
    two["acme"].import_csv(SHOP[:4])
    two["acme"].publish(labels=Labels(expiry=expiry_day(2, utc_now())))
    two["acme"].import_csv(SHOP)
    two["acme"].publish()
    two["bigmart"].sync()
    assert alive(two["bigmart"].contents()) == 12
    later = two["bigmart"].contents(now=lambda: utc_now() + dt.timedelta(days=3))
    assert alive(later) == 8


def test_two_replays_give_the_same_banks(two: AgentAlliance) -> None:
    two["acme"].import_csv(SHOP)
    two["acme"].publish()
    two["bigmart"].sync()
    two["acme"].import_csv(retitled(SHOP, "p0", "another name 5"))
    two["acme"].publish()
    two["bigmart"].sync()
    grown = seen(two["bigmart"].contents())
    with two["bigmart"].connected() as (agent, hub):
        (again,) = agent.synchroniser.run(hub, again=True)
        assert again.new_entries == 3
    assert seen(two["bigmart"].contents()) == grown
    late = two.newcomer("late")
    two["acme"].sync()  # wraps the newcomer in
    late.sync()
    assert seen(late.contents()) == grown


def test_segments_and_tail_join_where_a_cursor_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "BATCH_ROWS", 2)
    members = {"acme": "brand", "bigmart": "marketplace"}
    with alliance_of_agents(members, folder=tmp_path, fingerprints_segment_entries=4) as two:
        two["acme"].import_csv(SHOP[:6])
        two["acme"].publish()
        two["bigmart"].sync()  # 3 entries, none of them packed
        two["acme"].import_csv(SHOP)
        two["acme"].publish()
        two["acme"].import_csv(products(20))
        two["acme"].publish()
        wait_for_segments(two, 2)
        late = two.newcomer("late")
        two["acme"].sync()
        late.sync()
        assert downloads(late) == 2 + 2  # entries 1-4 and 5-8 in segments, 9 and 10 each alone
        two["bigmart"].sync()
        assert downloads(two["bigmart"]) == 3 + 1 + 1 + 2  # then 4 alone, a segment, and the tail
        assert seen(late.contents()) == seen(two["bigmart"].contents())
        assert alive(late.contents()) == 20


def wait_for_segments(alliance: AgentAlliance, count: int) -> None:
    request = pb.ListSegmentsRequest(bank=alliance.bank)
    with alliance["acme"].connected() as (_, hub):
        eventually(lambda: len(hub.call(request, pb.ListSegmentsResponse).segments) >= count, f"{count} segments")


def downloads(home: AgentHome) -> int:
    with home.open() as agent:
        return sum(entry.message == "DownloadBlobRequest" for entry in agent.ledger.entries(last=1000))


def test_a_renewed_certificate_serves_the_next_connection_and_the_old_one_goes_on(two: AgentAlliance) -> None:
    with two["acme"].connected() as (agent, hub):
        old = enrolment.certificate(agent.secrets)
        hub.handshake()
        renewed = enrolment.certificate(enrolment.renew(agent.home, agent.settings, agent.secrets, hub))
        assert renewed.serial_number != old.serial_number
        assert renewed.public_key() != old.public_key()
        hub.handshake()
    with two["acme"].connected() as (agent, hub):
        assert enrolment.certificate(agent.secrets).serial_number == renewed.serial_number
        assert hub.handshake().caller == "members/acme"


def test_who_leaves_takes_back_everything(two: AgentAlliance) -> None:
    two["acme"].import_csv(SHOP)
    two["acme"].publish()
    two["bigmart"].sync()
    assert alive(two["bigmart"].contents()) == 12
    with two["acme"].connected() as (agent, hub):
        enrolment.leave(agent.home, hub)
    two["bigmart"].sync()
    assert alive(two["bigmart"].contents()) == 0
    assert two["bigmart"].screen(copies(SHOP)) == []
    with two["acme"].connected() as (_, hub), pytest.raises(NotAuthenticated):
        hub.handshake()
    # Whoever did not hear the answer asks again, and is told that it has left.
    assert two["acme"].json_of("leave", "--yes") == {"member": "members/acme", "standing": "left"}


def test_who_never_asked_to_leave_has_been_revoked(two: AgentAlliance) -> None:
    request = membership_pb2.ExpelMemberRequest(
        request_id=str(uuid.uuid4()), name=two["acme"].member, reason="sold fakes"
    )
    two.hub.admin.call(request, membership_pb2.ExpelMemberResponse)
    assert "[CERTIFICATE_REVOKED]" in two["acme"].run_cli("leave", "--yes", check=5).stderr


def test_the_outbox_waits_for_the_end_of_a_suspension(two: AgentAlliance) -> None:
    acme, name = two["acme"], two["acme"].member
    acme.import_csv(SHOP)
    acme.publish(send=False)
    request = membership_pb2.SuspendMemberRequest(request_id=str(uuid.uuid4()), name=name, reason="asked to")
    two.hub.admin.call(request, membership_pb2.SuspendMemberResponse)
    with acme.connected() as (agent, hub):
        with pytest.raises(NotPermitted) as refused:
            agent.outbox.drain(hub)
        assert refused.value.reason == "MEMBER_SUSPENDED"
        assert (agent.outbox.count(State.WAITING), agent.outbox.count(State.FAILED)) == (1, 0)
    back = membership_pb2.ReinstateMemberRequest(request_id=str(uuid.uuid4()), name=name, reason="answered")
    two.hub.admin.call(back, membership_pb2.ReinstateMemberResponse)
    with acme.connected() as (agent, hub):
        assert agent.outbox.drain(hub).sent == 1
    two["bigmart"].sync()
    assert alive(two["bigmart"].contents()) == 12


def test_nobody_publishes_into_a_bank_of_others(two: AgentAlliance) -> None:
    outsider = two.newcomer("outsider", in_group=False)
    with outsider.connected() as (agent, hub), pytest.raises(NotFound) as unknown:
        agent.target(hub, two.bank)
    assert unknown.value.reason == "BANK_NOT_FOUND"
    with outsider.connected() as (agent, hub), pytest.raises(NotPermitted) as asked:
        hub.call(pb.ListEntriesRequest(bank=two.bank), pb.ListEntriesResponse)
    assert asked.value.reason == "NOT_IN_GROUP"


def publish_request(item: Item) -> pb.PublishBatchRequest:
    return pb.PublishBatchRequest.FromString(item.request.SerializeToString())


def test_what_the_hub_refuses_does_not_hold_up_the_rest_and_is_made_anew(two: AgentAlliance) -> None:
    """A batch for a bank that is not the member's fails for good; the one behind it goes."""
    acme = two["acme"]
    foreign = two.hub.create_bank("foreign", two.hub.create_group("others"))
    acme.import_csv(SHOP)
    acme.publish(send=False)
    with acme.connected() as (agent, hub):
        (honest,) = agent.outbox.items(State.WAITING)
        forged = publish_request(honest)
        forged.request_id, forged.batch.bank = str(uuid.uuid4()), foreign
        with agent.db.write() as tx:
            outbox.put(tx, forged, now=utc_now(), sealed=agent.outbox.sealed(honest), digest=b"\1" * 32)
        acme.import_csv(products(14))
    acme.publish(send=False)
    with acme.connected() as (agent, hub):
        drained = agent.outbox.drain(hub)
        assert (drained.sent, drained.failed, drained.waiting) == (2, 1, 0)
        (failed,) = agent.outbox.items(State.FAILED)
        assert "[NOT_IN_GROUP]" in failed.problem
    two["bigmart"].sync()
    assert alive(two["bigmart"].contents()) == 14


def test_a_batch_refused_for_good_is_published_again(two: AgentAlliance) -> None:
    acme = two["acme"]
    acme.import_csv(SHOP)
    acme.publish(send=False)
    with acme.connected() as (agent, hub):
        with agent.db.write() as tx:  # the header as a disk might have spoilt it
            (item,) = agent.outbox.items(State.WAITING)
            spoilt = publish_request(item)
            spoilt.batch.signature = bytes(70)
            changed = outbox.outbox_table.update().values(request=spoilt.SerializeToString(deterministic=True))
            tx.execute(changed)
        assert agent.outbox.drain(hub).failed == 1
    report, sent = acme.publish()
    assert (report.rows, sent and sent.sent) == (12, 1)
    two["bigmart"].sync()
    assert alive(two["bigmart"].contents()) == 12
    with acme.open() as agent, agent.db.read() as tx:
        assert len(published.live(tx, two.bank)) == 12


def test_nothing_is_screened_before_a_sync(two: AgentAlliance) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        two["bigmart"].screen(copies(SHOP))
    assert refused.value.reason == "BANK_NOT_HELD"
