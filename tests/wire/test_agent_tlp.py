"""Labels and audiences among real agents: publishers hold to them, readers do, and a hub that changes them is found."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from alliance import canonical, entries
from alliance.audience import Audience, Tlp
from alliance.errors import Corrupt, InvalidInput
from alliance.names import BankId, GroupId
from alliance.v1 import fingerprint_pb2 as pb
from alliance.v1 import membership_pb2
from member_agent import audit_log, outbox
from member_agent.clock import timestamp, utc_now
from member_agent.sharing import published, rows, sealing
from member_agent.sharing.making import Labels
from member_agent.sharing.publishing import Report
from member_agent.sharing.rows import Row
from tests.kit.agents import AgentAlliance, AgentHome, alive, alliance_of_agents, products
from tests.kit.lying_hub import LyingHub


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AgentAlliance]:
    """A bank of titles that may hold amber; acme has three products."""
    monkeypatch.setattr(audit_log, "WAIT_SECONDS", 1.5)
    with alliance_of_agents({"acme": "brand", "bigmart": "marketplace"}, folder=tmp_path) as running:
        running["acme"].import_csv(products(3))
        yield running


def publish(home: AgentHome, tlp: Tlp, bank: str = "titles", *, widen: bool = False) -> Report:
    report, _ = home.publish(bank, labels=Labels(tlp=tlp), widen=widen)
    return report


def publish_unchecked(home: AgentHome, tlp: Tlp) -> None:
    """As an agent with faulty software does, that takes the bank for one that may hold more."""
    with home.connected() as (agent, hub), agent.publisher() as publisher:
        target = agent.target(hub, BankId("banks/titles"))
        wrong = replace(target, audience=Audience(group=target.audience.group, ceiling=Tlp.AMBER_STRICT))
        publisher.publish(wrong, Labels(tlp=tlp))
        agent.outbox.drain(hub)


def labels(home: AgentHome) -> list[Tlp]:
    """Of the fingerprints that count, as they are held here."""
    home.sync()
    held = [batch.labels[batch.alive].tolist() for one in home.contents() for batch in one.batches]
    return sorted(Tlp(label) for some in held for label in some)


# Publishers.


@pytest.mark.parametrize(("tlp", "reason"), [(Tlp.AMBER_STRICT, "TLP_TOO_STRICT"), (Tlp.RED, "TLP_RED")])
def test_nothing_stricter_than_the_bank_may_hold_is_sealed(two: AgentAlliance, tlp: Tlp, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        publish(two["acme"], tlp)
    assert (caught.value.reason, caught.value.field) == (reason, "tlp")
    with two["acme"].open() as agent:
        assert list(agent.outbox.items()) == []


def test_red_goes_into_no_bank_and_amber_strict_into_one_that_may_hold_it(two: AgentAlliance) -> None:
    two.hub.create_bank("inside", two.group, tlp=Tlp.AMBER_STRICT)
    with pytest.raises(InvalidInput, match="RED"):
        publish(two["acme"], Tlp.RED, "inside")
    publish(two["acme"], Tlp.AMBER_STRICT, "inside")
    assert labels(two["bigmart"]) == [Tlp.AMBER_STRICT] * 3


def test_a_stricter_label_withdraws_the_wider_rows_in_the_same_pass(two: AgentAlliance) -> None:
    acme = two["acme"]
    publish(acme, Tlp.GREEN)
    assert labels(two["bigmart"]) == [Tlp.GREEN] * 3
    report = publish(acme, Tlp.AMBER)
    assert (report.products, report.withdrawn, report.unchanged) == (3, 3, 0)
    assert labels(two["bigmart"]) == [Tlp.AMBER] * 3
    report = publish(acme, Tlp.AMBER)
    assert (report.products, report.withdrawn) == (0, 0)


def test_no_label_is_widened_unless_its_publisher_says_so(two: AgentAlliance) -> None:
    """Neither of what stays as it is nor of what changes, also where it was withdrawn between."""
    acme = two["acme"]
    publish(acme, Tlp.AMBER)
    acme.import_csv([*products(2), {"id": "p2", "title": "another thing entirely", "brand": "Acme", "price": "1.00"}])
    report = publish(acme, Tlp.GREEN)
    assert (report.products, report.withdrawn, report.kept_stricter) == (1, 1, 1)
    assert labels(two["bigmart"]) == [Tlp.AMBER] * 3
    with acme.open() as agent, agent.publisher() as publisher:
        assert publisher.withdraw(two.bank) == 3
    acme.publish("titles", labels=Labels(tlp=Tlp.GREEN), include_withheld=True)
    assert labels(two["bigmart"]) == [Tlp.AMBER] * 3
    report = publish(acme, Tlp.GREEN, widen=True)
    assert (report.products, report.withdrawn) == (3, 3)
    assert labels(two["bigmart"]) == [Tlp.GREEN] * 3
    acme.import_csv([*products(2), {"id": "p2", "title": "the former thing", "brand": "Acme", "price": "1.00"}])
    publish(acme, Tlp.GREEN)
    assert labels(two["bigmart"]) == [Tlp.GREEN] * 3


def test_what_cannot_be_made_anew_is_withdrawn_where_its_label_became_too_wide(two: AgentAlliance) -> None:
    acme = two["acme"]
    publish(acme, Tlp.GREEN)
    acme.import_csv([*products(2), {"id": "p2", "title": "!!!", "brand": "", "price": "1.00"}])
    assert publish(acme, Tlp.GREEN).withdrawn == 0
    report = publish(acme, Tlp.AMBER)
    assert (report.products, report.withdrawn, len(report.problems)) == (2, 3, 1)
    assert labels(two["bigmart"]) == [Tlp.AMBER] * 2


def test_a_rehearsal_tells_what_a_stricter_label_would_replace_and_keeps_nothing(two: AgentAlliance) -> None:
    acme = two["acme"]
    publish(acme, Tlp.GREEN)
    report, _ = acme.publish("titles", labels=Labels(tlp=Tlp.AMBER), dry_run=True, send=False)
    assert (report.products, report.withdrawn) == (3, 3)
    assert labels(two["bigmart"]) == [Tlp.GREEN] * 3


def test_one_source_s_label_is_no_other_s(two: AgentAlliance) -> None:
    acme = two["acme"]
    acme.import_csv(products(2, first=50), source="outlet")
    publish(acme, Tlp.GREEN)
    acme.publish("titles", labels=Labels(tlp=Tlp.AMBER), source="outlet")
    assert labels(two["bigmart"]) == [Tlp.GREEN] * 3 + [Tlp.AMBER] * 2
    with acme.open() as agent, agent.db.read() as tx:
        assert {row.source for row in published.live(tx, two.bank, wider_than=Tlp.AMBER)} == {"shop"}


# Readers.


def test_a_reader_leaves_out_what_a_faulty_agent_let_through(two: AgentAlliance) -> None:
    acme, bigmart = two["acme"], two["bigmart"]
    publish_unchecked(acme, Tlp.AMBER_STRICT)
    bigmart.sync()
    listings = [{"id": f"L{n}", "title": row["title"]} for n, row in enumerate(products(3))]
    assert bigmart.screen(listings) == []
    [contents] = bigmart.contents()
    digest = contents.batches[0].digest.hex()[:12]
    assert contents.problems == (
        f"batch {digest} of members/acme: left out, labelled stricter than amber, which is all the bank may hold: "
        "row 0, 1, 2",
    )
    publish(acme, Tlp.AMBER, widen=True)
    bigmart.sync()
    assert (alive(bigmart.contents()), bigmart.contents()[0].problems) == (3, ())
    assert len(bigmart.screen(listings)) == 3


def test_results_say_whom_they_may_be_shown_to_and_can_be_narrowed_to_it(two: AgentAlliance) -> None:
    acme, bigmart = two["acme"], two["bigmart"]
    two.hub.create_bank("community", two.group, tlp=Tlp.GREEN)
    publish(acme, Tlp.GREEN, "community")
    acme.import_csv(products(5))
    publish(acme, Tlp.AMBER)
    bigmart.sync()
    listings = bigmart.write_csv([{"id": f"L{n}", "title": r["title"]} for n, r in enumerate(products(5))], "all.csv")
    out = bigmart.folder / "out.csv"

    def found(*options: str) -> list[tuple[str, str, str]]:
        bigmart.run_cli("screen", listings, "--out", out, "--no-models", "--no-report-hits", *options)
        with out.open(newline="") as file:
            return sorted({(row["listing"], row["tlp"], row["version"][-6:]) for row in csv.DictReader(file)})

    whole = found()
    assert {tlp for _, tlp, _ in whole} == {"green", "amber"}
    assert {listing for listing, _, _ in whole} == {"L0", "L1", "L2", "L3", "L4"}
    assert found("--tlp-at-most", "green") == [(f"L{n}", "green", "-green") for n in range(3)]
    assert found("--tlp-at-most", "clear") == []
    assert (
        "TLP_UNKNOWN" in bigmart.run_cli("screen", listings, "--out", out, "--tlp-at-most", "white", check=None).stderr
    )


# Hubs.


def stops(home: AgentHome, reason: str = "AUDIENCE_CHANGED") -> str:
    """Neither syncs nor publishes, with nothing sealed and evidence kept; what it says."""
    with home.open() as agent:
        before = len(list(agent.outbox.items()))
    with pytest.raises(Corrupt) as publishing:
        home.publish("titles")
    with pytest.raises(Corrupt) as syncing:
        home.sync()
    assert (publishing.value.reason, syncing.value.reason) == (reason, reason)
    with home.open() as agent:
        assert len(list(agent.outbox.items())) == before
    return syncing.value.message


@pytest.fixture
def liar(two: AgentAlliance) -> LyingHub:
    """Another group is there, with all of them in it."""
    two["acme"].publish("titles")
    two["bigmart"].sync()
    wide = two.hub.create_group("wide")
    for home in two.agents.values():
        request = membership_pb2.AddGroupMemberRequest(group=wide, member=home.member)
        two.hub.admin.call(request, membership_pb2.AddGroupMemberResponse)
    return LyingHub(two.hub)


def test_a_bank_shown_under_another_group_is_an_alarm(two: AgentAlliance, liar: LyingHub) -> None:
    liar.execute("UPDATE bank SET group_name = 'groups/wide'")
    for home in two.agents.values():
        assert "was created for groups/shoes:amber, the hub now shows it for groups/wide:amber" in stops(home)
        assert any("AUDIENCE_CHANGED" in file.name for file in home.home.evidence.iterdir())


@pytest.mark.parametrize("code", [1, 2, 4])
def test_another_ceiling_is_an_alarm(two: AgentAlliance, liar: LyingHub, code: int) -> None:
    liar.execute("UPDATE bank SET tlp = :code", code=code)
    assert f"the hub now shows it for groups/shoes:{Tlp(code).label}" in stops(two["bigmart"])


def test_a_second_creation_in_the_log_changes_no_audience(two: AgentAlliance, liar: LyingHub) -> None:
    """The hub logs the wider audience that it shows: the first leaf counts, and the second is the proof."""
    liar.execute("UPDATE bank SET group_name = 'groups/wide'")
    liar.log_event(event="bank_created:groups/wide:amber", subject=two.bank)
    with two["bigmart"].connected() as (agent, hub):
        agent.audit(hub)
    assert "the hub now shows it for groups/wide:amber" in stops(two["bigmart"])


def test_a_bank_that_the_log_does_not_have_is_not_used(two: AgentAlliance, liar: LyingHub) -> None:
    liar.execute(
        "INSERT INTO bank (name, group_name, scheme, tlp, head_seq, head_digest, create_time) "
        "SELECT 'banks/quiet', group_name, scheme, tlp, 0, :start, create_time FROM bank",
        start=bytes(canonical.CHAIN_START),
    )
    for act in (lambda: two["acme"].publish("quiet"), two["bigmart"].sync):
        with pytest.raises(Corrupt) as caught:
            act()
        assert (caught.value.reason, "banks/quiet" in caught.value.message) == ("LOG_MISSING", True)


# Originators.


def republish(home: AgentHome, sealed: bytes, bank: BankId, count: int) -> None:
    """Bytes under this member's own header and signature, as its agent never would."""
    with home.connected() as (agent, hub):
        key = agent.keyring.current(hub, GroupId("groups/shoes"))
        header = pb.BatchHeader(
            bank=bank, publisher=home.member, scheme="terms-v1", epoch=key.epoch, row_count=count,
            digest=canonical.sha256(sealed), size=len(sealed), create_time=timestamp(utc_now()),
        )  # fmt: skip
        header.signature = agent.identity.sign(entries.batch_bytes(header))
        request = pb.PublishBatchRequest(request_id=str(uuid.uuid4()), batch=header)
        with agent.db.write() as tx:
            outbox.put(tx, request, now=utc_now(), sealed=sealed, digest=header.digest)
        assert agent.outbox.drain(hub).failed == 0


def test_sealed_bytes_of_another_do_not_open_under_one_s_own_name(two: AgentAlliance) -> None:
    """The hub cannot tell; every reader can: publisher and bank are bound to what is sealed."""
    two["acme"].publish("titles")
    bigmart = two["bigmart"]
    bigmart.sync()
    wide = two.hub.create_bank("wide", two.group, tlp=Tlp.GREEN)
    with bigmart.open() as agent:
        [held] = agent.banks.batches(two.bank)
    republish(bigmart, held.sealed, wide, held.row_count)
    two["acme"].sync()
    there = next(one for one in two["acme"].contents() if one.state.id == wide)
    assert (len(there.batches), len(there.problems)) == (0, 1)
    assert "of members/bigmart: a batch does not open" in there.problems[0]


def test_values_sealed_anew_are_those_of_whoever_signed(two: AgentAlliance) -> None:
    """What no reader's key can prevent: a member retypes what it read. It stands there under its own name."""
    two["acme"].publish("titles")
    bigmart = two["bigmart"]
    bigmart.sync()
    [contents] = bigmart.contents()
    value = bytes(contents.batches[0].rows.values[0])
    with bigmart.open() as agent:
        plain = rows.pack([Row(value=value, tlp=Tlp.GREEN)], width=0)
        key = agent.keyring.held(two.group, 1)
        sealed = sealing.seal(plain, key, bank=two.bank, publisher=bigmart.member, scheme="terms-v1", row_count=1)
    republish(bigmart, sealed, two.bank, 1)
    acme = two["acme"]
    acme.sync()
    [contents] = acme.contents()
    assert [(batch.publisher, len(batch.rows)) for batch in contents.batches] == [
        (acme.member, 3),
        (bigmart.member, 1),
    ]
