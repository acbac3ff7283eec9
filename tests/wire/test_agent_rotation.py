"""Keys of groups change when a member goes and when they are old; what was published before stays readable."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from alliance import canonical
from alliance.audience import Tlp
from alliance.errors import Corrupt, FailedPrecondition
from alliance.names import GroupId
from alliance.v1 import membership_pb2
from hub.keys.service import KeyService
from member_agent import audit_log
from member_agent.clock import utc_now
from member_agent.doctor import Check, examine
from member_agent.outbox import State, outbox_table
from member_agent.sharing import keyring, published
from member_agent.sharing.held_keys import GroupKey
from member_agent.sharing.making import Labels
from member_agent.sharing.rows import Marks
from tests.kit.agents import AgentAlliance, AgentHome, alive, alliance_of_agents, products
from tests.kit.lying_hub import LyingHub


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AgentAlliance]:
    """acme, bigmart and rival share the first epoch."""
    monkeypatch.setattr(audit_log, "WAIT_SECONDS", 5.0)
    members = {"acme": "brand", "bigmart": "marketplace", "rival": "brand"}
    with alliance_of_agents(members, folder=tmp_path) as running:
        yield running


def epoch(three: AgentAlliance, home: AgentHome) -> int:
    """The epoch that this agent works with, after all that it does about it."""
    with home.connected() as (agent, hub):
        agent.audit(hub)
        return agent.keyring.current(hub, three.group).epoch


def expel(three: AgentAlliance, name: str) -> None:
    request = membership_pb2.ExpelMemberRequest(name=three[name].member, reason="sold fakes")
    three.hub.admin.call(request, membership_pb2.ExpelMemberResponse)


def wrapped(three: AgentAlliance, number: int) -> set[str]:
    query = "SELECT recipient FROM key_wrap WHERE epoch = :epoch"
    return {row.recipient for row in LyingHub(three.hub).rows(query, epoch=number)}


def test_an_expulsion_changes_the_key_and_the_expelled_gets_none(three: AgentAlliance) -> None:
    acme, bigmart, rival = three["acme"], three["bigmart"], three["rival"]
    acme.import_csv(products(2))
    acme.publish()
    with rival.open() as agent:
        old = agent.keyring.held(three.group, 1)
    expel(three, "rival")

    assert epoch(three, acme) == 2
    assert wrapped(three, 2) == {acme.member, bigmart.member}
    acme.import_csv(products(2, first=10))
    acme.publish()
    bigmart.sync()
    assert alive(bigmart.contents()) == 4
    with bigmart.open() as agent:
        batches = list(agent.banks.batches(three.bank))
        assert [batch.epoch for batch in batches] == [1, 2]
        new = agent.keyring.held(three.group, 2)
    # Nothing of the new key follows from the old one.
    assert new.secret != old.secret
    with pytest.raises(Corrupt):
        old.previous(new.link(old))
    assert epoch(three, bigmart) == epoch(three, acme) == 2


def test_a_running_agent_changes_the_key_by_itself(three: AgentAlliance) -> None:
    """Told by the hub that somebody went, and by the log that it is so."""
    with three["acme"].daemon() as daemon:
        daemon.wait_for("connected")
        expel(three, "rival")
        told = daemon.wait_for("group_key_changed")
        assert (told["group"], told["epoch"]) == (three.group, 2)
        assert daemon.terminate() == 0
    assert wrapped(three, 2) == {three["acme"].member, three["bigmart"].member}


def test_of_those_that_change_a_key_at_once_one_wins(three: AgentAlliance, monkeypatch: pytest.MonkeyPatch) -> None:
    """bigmart changes it while acme is about to."""
    expel(three, "rival")
    honest = keyring.Keyring._propose

    def overtaken(own: keyring.Keyring, *arguments: object, **options: object) -> object:
        monkeypatch.setattr(keyring.Keyring, "_propose", honest)
        epoch(three, three["bigmart"])
        return honest(own, *arguments, **options)  # type: ignore[arg-type]  # because passed on

    monkeypatch.setattr(keyring.Keyring, "_propose", overtaken)
    assert epoch(three, three["acme"]) == 2
    (created,) = LyingHub(three.hub).rows("SELECT creator FROM key_epoch WHERE epoch = 2")
    assert created.creator == three["bigmart"].member
    secrets = set()
    for name in ("acme", "bigmart"):
        with three[name].open() as agent:
            secrets.add(agent.keyring.held(three.group, 2).secret)
    assert len(secrets) == 1


def test_a_key_is_changed_when_it_is_old(three: AgentAlliance) -> None:
    acme = three["acme"]
    with acme.connected() as (agent, hub):
        agent.audit(hub)
        agent.keyring._clock = lambda: utc_now() + dt.timedelta(days=31)
        assert agent.keyring.current(hub, three.group).epoch == 2
    acme.set("keys.rotate_days", 0)
    with acme.connected() as (agent, hub):
        agent.keyring._clock = lambda: utc_now() + dt.timedelta(days=1000)
        assert agent.keyring.current(hub, three.group).epoch == 2


def test_a_newcomer_reads_what_was_published_before_it_came(three: AgentAlliance) -> None:
    acme = three["acme"]
    for number in range(3):
        acme.import_csv(products(1, first=10 * number), source=f"s{number}")
        acme.publish()
        if number < 2:
            with acme.connected() as (agent, hub):
                agent.audit(hub)
                agent.keyring._clock = lambda: utc_now() + dt.timedelta(days=31)
                agent.keyring.current(hub, three.group)
    late = three.newcomer("late")
    assert epoch(three, acme) == 3
    late.sync()
    assert alive(late.contents()) == 3
    with late.open() as agent:
        assert [agent.keyring.held(three.group, n).epoch for n in (1, 2, 3)] == [1, 2, 3]


LABELS = Labels(marks=Marks.COUNTERFEIT, confidence=70, tlp=Tlp.GREEN, expiry=40_000)


@pytest.fixture
def waiting(three: AgentAlliance) -> AgentHome:
    """acme has two products in a batch that is sealed under the first epoch and not sent; the second has begun."""
    acme = three["acme"]
    acme.import_csv(products(2))
    acme.publish(send=False, labels=LABELS)
    expel(three, "rival")
    assert epoch(three, three["bigmart"]) == 2
    return acme


def outbox(home: AgentHome) -> dict[str, int]:
    with home.open() as agent:
        return {state: count for state in State if (count := agent.outbox.count(state))}


def test_a_batch_that_waited_through_a_change_is_made_anew(three: AgentAlliance, waiting: AgentHome) -> None:
    """With the labels it had; the one that is sealed for who is gone is never sent."""
    waiting.sync()
    assert outbox(waiting) == {State.REMADE: 1, State.SENT: 1}
    assert [entry.batch.epoch for entry in LyingHub(three.hub).entries(three.bank)] == [2]
    three["bigmart"].sync()
    (contents,) = three["bigmart"].contents()
    (batch,) = contents.batches
    columns = (batch.rows.marks, batch.rows.confidence, batch.rows.tlp, batch.rows.expiry)
    said = (LABELS.marks, LABELS.confidence, LABELS.tlp, LABELS.expiry)
    assert [tuple(column.tolist()) for column in columns] == [(value, value) for value in said]
    report, _ = waiting.publish(labels=LABELS)
    assert (report.unchanged, report.rows) == (2, 0)


def test_a_batch_that_was_refused_for_a_change_is_made_anew(three: AgentAlliance, waiting: AgentHome) -> None:
    """The change came while it was on its way."""
    with waiting.connected() as (agent, hub):
        assert agent.outbox.drain(hub).failed == 1
    waiting.sync()
    assert outbox(waiting) == {State.REMADE: 1, State.SENT: 1}
    three["bigmart"].sync()
    assert alive(three["bigmart"].contents()) == 2


def test_the_doctor_tells_a_refused_withdrawal_from_a_refused_batch(three: AgentAlliance, waiting: AgentHome) -> None:
    def outbox_check() -> Check:
        (found,) = [check for check in examine(waiting.home) if check.check == "outbox"]
        return found

    with waiting.connected() as (agent, hub):
        agent.outbox.drain(hub)
    assert ("1 items refused" in outbox_check().problem, "publish" in outbox_check().remedy) == (True, True)
    with waiting.connected() as (agent, hub), agent.publisher() as publisher:
        publisher.withdraw(three.bank)
        agent.outbox.drain(hub)
    assert ("1 items refused" in outbox_check().problem, "operator" in outbox_check().remedy) == (True, True)
    waiting.sync()
    assert outbox_check() == Check(check="outbox", found="0 waiting")


def test_what_was_withdrawn_while_it_waited_is_not_made_anew(three: AgentAlliance, waiting: AgentHome) -> None:
    """And nothing is asked of the hub about a batch that it never had."""
    with waiting.open() as agent, agent.publisher() as publisher, agent.db.read() as tx:
        first, second = published.live(tx, three.bank)
        assert publisher.withdraw(three.bank, keys=frozenset({first.source_key})) == 1
    waiting.sync()
    assert outbox(waiting) == {State.REMADE: 2, State.SENT: 1}
    with waiting.open() as agent, agent.db.read() as tx:
        assert [row.source_key for row in published.live(tx, three.bank)] == [second.source_key]
    three["bigmart"].sync()
    assert alive(three["bigmart"].contents()) == 1


def test_what_changed_in_the_catalogue_while_it_waited_is_left_to_publish(
    three: AgentAlliance, waiting: AgentHome
) -> None:
    kept, changed = products(2)
    waiting.import_csv([kept, changed | {"title": "quite another name"}])
    waiting.sync()
    three["bigmart"].sync()
    assert alive(three["bigmart"].contents()) == 1
    waiting.publish(labels=LABELS)
    three["bigmart"].sync()
    assert alive(three["bigmart"].contents()) == 2


def test_a_batch_that_the_hub_may_have_is_not_doubled(three: AgentAlliance) -> None:
    """acme was killed after the hub took it: the same request goes again, whatever the epoch, and is done once."""
    acme = three["acme"]
    acme.import_csv(products(2))
    acme.publish(send=False)
    with acme.connected() as (agent, hub):
        (item,) = agent.outbox.items()
        sealed = agent.outbox.sealed(item)
        assert agent.send(hub).sent == 1
        with agent.db.write() as tx:
            tx.execute(update(outbox_table).values(state=State.WAITING, sealed=sealed))
    expel(three, "rival")
    assert epoch(three, three["bigmart"]) == 2
    acme.sync()
    assert outbox(acme) == {State.SENT: 1}
    three["bigmart"].sync()
    assert alive(three["bigmart"].contents()) == 2


def test_a_key_whose_holders_are_all_gone_is_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "WAIT_SECONDS", 5.0)
    with alliance_of_agents({"rival": "brand", "acme": "brand"}, folder=tmp_path, keyed=False) as two:
        # The hub relays acme's wrap to nobody: only its maker holds the first epoch.
        with two["rival"].connected() as (agent, hub):
            agent.keyring._wrap_in = lambda *_: None  # type: ignore[method-assign]  # because it goes offline here
            assert agent.keyring.current(hub, two.group).epoch == 1
        with two["acme"].connected() as (agent, hub), pytest.raises(FailedPrecondition):
            agent.keyring.current(hub, two.group)
        expel(two, "rival")
        assert epoch(two, two["acme"]) == 2
        with two["acme"].open() as agent, pytest.raises(FailedPrecondition):
            agent.keyring.held(two.group, 1)


def test_wraps_for_many_go_in_several_messages(three: AgentAlliance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "MAX_WRAPS", 1)
    expel(three, "rival")
    assert epoch(three, three["acme"]) == 2
    assert wrapped(three, 2) == {three["acme"].member, three["bigmart"].member}


# A hub that lies.


def refused(three: AgentAlliance, home: AgentHome) -> str:
    with home.connected() as (agent, hub), pytest.raises(Corrupt) as error:
        agent.keyring.current(hub, three.group)
    return error.value.reason


def test_an_epoch_of_the_past_is_not_gone_back_to(three: AgentAlliance, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub would have a member publish under the key that the expelled member holds."""
    expel(three, "rival")
    assert epoch(three, three["acme"]) == epoch(three, three["bigmart"]) == 2
    honest = KeyService.state
    monkeypatch.setattr(
        KeyService, "state", lambda service, tx, caller, group, number: honest(service, tx, caller, group, 1)
    )
    assert refused(three, three["bigmart"]) == "EPOCH_ROLLED_BACK"


def test_nothing_is_published_under_the_key_of_one_who_is_gone(
    three: AgentAlliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub says nothing of the departure, but in the log: publishing looks there first."""
    acme = three["acme"]
    acme.import_csv(products(2))
    expel(three, "rival")
    three.hub.integrate()
    honest = KeyService.state

    def silent(service: KeyService, tx: Any, caller: Any, group: GroupId, number: int) -> Any:
        return dataclasses.replace(honest(service, tx, caller, group, number), rotation_due=False)

    monkeypatch.setattr(KeyService, "state", silent)
    acme.publish()
    with acme.open() as agent:
        assert agent.keyring.held(three.group, 2).epoch == 2
    (batch,) = LyingHub(three.hub).entries(three.bank)
    assert batch.batch.epoch == 2


def test_the_log_of_an_epoch_suffices_to_refuse_the_one_before(
    three: AgentAlliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bigmart has never held the second epoch; it has seen it in the log."""
    expel(three, "rival")
    assert epoch(three, three["acme"]) == 2
    with three["bigmart"].connected() as (agent, hub):
        agent.audit(hub)
    honest = KeyService.state
    monkeypatch.setattr(
        KeyService, "state", lambda service, tx, caller, group, number: honest(service, tx, caller, group, 1)
    )
    assert refused(three, three["bigmart"]) == "EPOCH_ROLLED_BACK"


def test_nobody_is_given_a_key_that_the_log_says_is_gone(three: AgentAlliance) -> None:
    expel(three, "rival")
    with three["acme"].connected() as (agent, hub):
        agent.audit(hub)
    liar = LyingHub(three.hub)
    liar.execute("UPDATE member SET standing = 'active' WHERE name = :name", name=three["rival"].member)
    liar.put_into_group(three.group, three["rival"].member)
    epoch(three, three["acme"])
    assert three["rival"].member not in wrapped(three, 2)


def test_a_link_to_another_secret_is_refused(three: AgentAlliance) -> None:
    """By the commitment of the epoch before, whatever the link opens to."""
    late = three.newcomer("late", in_group=False)
    expel(three, "rival")
    assert epoch(three, three["acme"]) == 2
    with three["acme"].open() as agent:
        key = agent.keyring.held(three.group, 2)
    other = GroupKey(group=three.group, epoch=1, secret=os.urandom(32))
    liar = LyingHub(three.hub)
    three.add_to_group(late)
    assert epoch(three, three["acme"]) == 2
    liar.execute("UPDATE key_epoch SET previous_sealed = :link WHERE epoch = 2", link=key.link(other))
    assert refused(three, late) == "COMMITMENT_MISMATCH"
    liar.execute("UPDATE key_epoch SET previous_sealed = :link WHERE epoch = 2", link=bytes(48))
    assert refused(three, late) == "LINK_INVALID"
    with late.open() as agent, pytest.raises(FailedPrecondition):
        agent.keyring.held(three.group, 1)


def test_an_epoch_by_a_member_that_was_gone_is_refused(three: AgentAlliance) -> None:
    """The hub and the expelled member together: every signature is right, and the log has the order."""
    rival, acme = three["rival"], three["acme"]
    with rival.connected() as (agent, hub):
        made = GroupKey(group=three.group, epoch=2, secret=os.urandom(32))
        signature = agent.identity.sign(canonical.epoch_bytes(three.group, 2, rival.member, made.commitment))
        agent.directory.get(hub, acme.member)
        wrap = agent.keyring._wrap(hub, made, acme.member)
    expel(three, "rival")
    liar = LyingHub(three.hub)
    liar.execute(
        "INSERT INTO key_epoch VALUES (:group, 2, :commitment, :creator, :signature, 1, NULL)",
        group=three.group,
        commitment=made.commitment,
        creator=rival.member,
        signature=signature,
    )
    liar.execute(
        "INSERT INTO key_wrap VALUES (:group, 2, :to, :sender, :sealed, :signature)",
        group=three.group,
        to=acme.member,
        sender=rival.member,
        sealed=wrap.sealed,
        signature=wrap.signature,
    )
    liar.log_event(event="epoch_created:2", subject=three.group, digest=made.commitment)
    assert refused(three, acme) == "GROUP_FORGED"
