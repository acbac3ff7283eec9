"""A member changes its identity and everybody goes on with it; a hub that changes one of itself is found out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from alliance.canonical import identity_digest
from alliance.errors import AllianceError, Corrupt, NotPermitted
from alliance.names import MemberId
from member_agent import audit_log, changing, keystore, recovery
from tests.kit.agents import AgentAlliance, AgentHome, alive, alliance_of_agents, products
from tests.kit.keys import Identity
from tests.kit.lying_hub import LyingHub


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AgentAlliance]:
    monkeypatch.setattr(audit_log, "WAIT_SECONDS", 3.0)
    with alliance_of_agents({"acme": "brand", "bigmart": "marketplace"}, folder=tmp_path) as running:
        yield running


def digest(home: AgentHome) -> bytes:
    with home.open() as agent:
        return identity_digest(agent.identity.public.signing_key, agent.identity.public.sealing_key)


def rotate(home: AgentHome) -> None:
    home.run_cli("identity", "rotate", "--yes")


def test_a_member_changes_its_identity_and_all_go_on(two: AgentAlliance) -> None:
    acme, bigmart = two["acme"], two["bigmart"]
    acme.import_csv(products(2))
    acme.publish()
    bigmart.sync()
    before = digest(acme)
    rotate(acme)
    assert digest(acme) != before
    acme.import_csv(products(2), source="more")
    acme.publish()
    acme.sync()
    for home in (bigmart, acme):
        home.sync()
        assert alive(home.contents()) == 4
    # A newcomer follows the chain from the start, reads both batches, and gets the key from acme.
    late = two.newcomer("late")
    acme.sync()
    late.sync()
    assert alive(late.contents()) == 4
    acme.run_cli("withdraw", "--all")
    late.sync()
    assert alive(late.contents()) == 0


def test_an_identity_is_changed_again_and_again(two: AgentAlliance) -> None:
    acme, bigmart = two["acme"], two["bigmart"]
    for number in range(3):
        acme.import_csv(products(1, first=10 * number), source=f"s{number}")
        acme.publish()
        rotate(acme)
    bigmart.sync()
    assert alive(bigmart.contents()) == 3
    with bigmart.connected() as (agent, hub):
        assert len(agent.directory.get(hub, acme.member).former) == 3


def test_keys_come_back_from_a_backup_made_after_a_change_and_from_no_other(two: AgentAlliance, tmp_path: Path) -> None:
    acme = two["acme"]
    acme.import_csv(products(2))
    acme.publish()
    with acme.open() as agent:
        old = recovery.backup_of(agent.home, agent.settings, agent.secrets)
    rotate(acme)
    with acme.open() as agent:
        new = recovery.backup_of(agent.home, agent.settings, agent.secrets)
    home = AgentHome.at(acme.member, tmp_path / "new")
    with pytest.raises(NotPermitted) as error:
        recovery.recover(home.home, old)
    assert error.value.reason == "IDENTITY_REFUSED"
    recovery.recover(home.home, new)
    home.set("limits.memory_mb", 0)
    home.sync()
    assert alive(home.contents()) == 2


@pytest.mark.parametrize("moment", ["before the hub knows", "after the hub knows", "before keys are wrapped"])
def test_a_change_that_was_cut_off_is_finished_by_the_same_command(two: AgentAlliance, moment: str) -> None:
    acme, bigmart = two["acme"], two["bigmart"]
    with acme.connected() as (agent, hub):
        if moment == "before the hub knows":
            changing._prepared(agent.home, agent.settings, agent.secrets, passphrase(acme))
        elif moment == "before keys are wrapped":
            changing.change(agent.home, agent.settings, agent.secrets, hub)
        else:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(keystore, "save", _saves_only_what_is_pending(acme))
                with pytest.raises(KeyboardInterrupt):
                    changing.change(agent.home, agent.settings, agent.secrets, hub)
    assert acme.home.changing_file.exists()
    rotate(acme)
    assert not acme.home.changing_file.exists()
    (count,) = LyingHub(two.hub).rows("SELECT COUNT(*) AS n FROM identity_change")
    assert count.n == 1
    acme.import_csv(products(1))
    acme.publish()
    bigmart.sync()
    assert alive(bigmart.contents()) == 1


def test_what_the_old_identity_signed_is_sent_before_or_nothing_changes(two: AgentAlliance) -> None:
    acme = two["acme"]
    acme.import_csv(products(1))
    acme.publish(send=False)
    rotate(acme)
    two["bigmart"].sync()
    assert alive(two["bigmart"].contents()) == 1
    with pytest.raises(AllianceError) as error:
        changing.require_nothing_waits(1)
    assert error.value.reason == "OUTBOX_WAITS"


# A hub that lies.


def shown_as(two: AgentAlliance, name: str, new: Identity) -> None:
    """The hub shows an identity of its own under a member's name."""
    LyingHub(two.hub).execute(
        "UPDATE member SET signing_key = :signing, sealing_key = :sealing WHERE name = :name",
        signing=new.signing_key,
        sealing=new.sealing_key,
        name=f"members/{name}",
    )


def refused(home: AgentHome) -> str:
    with home.connected() as (agent, hub), pytest.raises(Corrupt) as error:
        agent.audit(hub)
    return error.value.reason


def test_a_change_that_the_member_did_not_sign(two: AgentAlliance) -> None:
    """In the log and on show; both signatures are the hub's own."""
    acme, bigmart, own = two["acme"], two["bigmart"], Identity.generate()
    liar = LyingHub(two.hub)
    bigmart.sync()
    with bigmart.connected() as (agent, hub):
        agent.directory.get(hub, acme.member)
    (old,) = liar.rows("SELECT signing_key, sealing_key FROM member WHERE name = :name", name=acme.member)
    shown_as(two, "acme", own)
    liar.execute(
        "INSERT INTO identity_change VALUES (:member, 1, :fs, :fe, :s, :e, :signature, :signature, 1)",
        member=acme.member,
        fs=old.signing_key,
        fe=old.sealing_key,
        s=own.signing_key,
        e=own.sealing_key,
        signature=own.sign(b"anything"),
    )
    liar.log_event(
        event="identity_changed", subject=acme.member, digest=identity_digest(own.signing_key, own.sealing_key)
    )
    assert refused(bigmart) == "IDENTITY_CHANGED"
    assert refused(acme) == "IDENTITY_CHANGED"


def test_a_change_that_is_only_in_the_log(two: AgentAlliance) -> None:
    LyingHub(two.hub).log_event(event="identity_changed", subject=two["acme"].member, digest=os.urandom(32))
    assert refused(two["bigmart"]) == "IDENTITY_CHANGED"
    assert refused(two["acme"]) == "IDENTITY_CHANGED"


def test_a_change_that_the_hub_holds_back(two: AgentAlliance) -> None:
    """It would have others seal to keys that may be in wrong hands."""
    liar = LyingHub(two.hub)
    (old,) = liar.rows("SELECT signing_key, sealing_key FROM member WHERE name = :name", name=two["acme"].member)
    rotate(two["acme"])
    liar.execute("DELETE FROM identity_change")
    liar.execute(
        "UPDATE member SET signing_key = :s, sealing_key = :e WHERE name = :name",
        s=old.signing_key,
        e=old.sealing_key,
        name=two["acme"].member,
    )
    assert refused(two["bigmart"]) == "IDENTITY_CHANGED"


def test_nobody_signs_with_what_was_given_up(two: AgentAlliance) -> None:
    """The hub and whoever stole the old keys: the log has no batch of theirs from before the change."""
    acme, bigmart = two["acme"], two["bigmart"]
    with acme.open() as agent:
        old = agent.identity
    rotate(acme)
    bigmart.sync()
    with bigmart.connected() as (agent, hub):
        known = agent.directory.get(hub, MemberId(acme.member))
        late = agent.directory.logged(
            event="batch_published", subject=two.bank, actor=acme.member, digest=os.urandom(32)
        )
        with pytest.raises(Corrupt) as error:
            known.verify(old.sign(b"forged"), b"forged", logged=late)
    assert error.value.reason == "SIGNATURE_INVALID"


def passphrase(home: AgentHome) -> bytes:
    return home.home.passphrase_file(home.home.load()[0]).read_bytes().strip()


def _saves_only_what_is_pending(home: AgentHome) -> object:
    """A kill when the hub has answered: the agent's keys are as they were."""
    honest = keystore.save

    def save(file: Path, held: keystore.Secrets, phrase: bytes) -> None:
        if file == home.home.keys_file:
            raise KeyboardInterrupt
        honest(file, held, phrase)

    return save
