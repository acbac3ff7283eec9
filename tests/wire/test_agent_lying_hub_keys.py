"""A hub that substitutes keys, identities, members or the log itself: the agent notices, and keeps nothing of it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alliance import canonical, checkpoint
from alliance.errors import AllianceError, Corrupt, FailedPrecondition
from alliance.names import GroupId, MemberId
from alliance.v1 import audit_pb2, key_pb2
from hub.audit.service import AuditService
from hub.keys.service import KeyService
from member_agent import audit_log
from member_agent.daemon import one_pass
from member_agent.outbox import State
from tests.kit.agents import AgentAlliance, AgentHome, alliance_of_agents, products
from tests.kit.lying_hub import LyingHub
from tests.kit.member import RawMember


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AgentAlliance]:
    """acme made the group's key, bigmart holds it."""
    monkeypatch.setattr(audit_log, "WAIT_SECONDS", 1.5)
    with alliance_of_agents({"acme": "brand", "bigmart": "marketplace"}, folder=tmp_path) as running:
        yield running


@pytest.fixture
def liar(two: AgentAlliance) -> LyingHub:
    return LyingHub(two.hub)


@pytest.fixture
def late(two: AgentAlliance) -> AgentHome:
    """A newcomer that acme has wrapped the key to, and that has not looked yet."""
    home = two.newcomer("late")
    current(two["acme"], two.group)
    return home


def current(home: AgentHome, group: GroupId) -> bytes:
    """The group's secret as this agent accepts it."""
    with home.connected() as (agent, hub):
        return agent.keyring.current(hub, group).secret


def refused(home: AgentHome, group: GroupId) -> str:
    """The reason why an agent takes no key, with nothing kept of it."""
    with home.connected() as (agent, hub):
        with agent.db.read() as tx:
            before = tx.exec_driver_sql("SELECT * FROM group_key").all()
        with pytest.raises(Corrupt) as error:
            agent.keyring.current(hub, group)
        with agent.db.read() as tx:
            assert tx.exec_driver_sql("SELECT * FROM group_key").all() == before
    return error.value.reason


def puppet(two: AgentAlliance, group: GroupId | None = None) -> RawMember:
    """A member that is the hub's own, its keys in the hub's hands; the others were talked into admitting it."""
    made = two.hub.enrol("puppet")
    two.admit(made.name)
    if group is not None:
        LyingHub(two.hub).put_into_group(group, made.name)
        LyingHub(two.hub).log_event(event=f"group_joined:{group}", subject=made.name)
    return made


# Group keys.


def test_an_honest_wrap_is_accepted(two: AgentAlliance, late: AgentHome) -> None:
    assert current(late, two.group) == current(two["acme"], two.group) == current(two["bigmart"], two.group)


def test_another_commitment_for_a_key_that_is_held(two: AgentAlliance, liar: LyingHub) -> None:
    liar.execute("UPDATE key_epoch SET commitment = :other", other=os.urandom(32))
    assert refused(two["bigmart"], two.group) == "COMMITMENT_MISMATCH"


def test_a_key_of_the_hubs_own_under_the_creators_name(two: AgentAlliance, late: AgentHome, liar: LyingHub) -> None:
    """The hub seals its own secret to the newcomer, and shows it as acme's: it cannot sign as acme."""
    other = os.urandom(32)
    commitment = canonical.epoch_commitment(two.group, 1, other)
    wrap = _wrap(puppet(two), late, two.group, other)
    liar.execute("UPDATE key_epoch SET commitment = :commitment", commitment=commitment)
    liar.execute(
        "UPDATE key_wrap SET sealed = :sealed, signature = :signature WHERE recipient = :to",
        sealed=wrap.sealed,
        signature=wrap.signature,
        to=late.member,
    )
    assert refused(late, two.group) == "SIGNATURE_INVALID"


def test_a_key_of_a_puppet_member_that_the_log_knows_nothing_of(
    two: AgentAlliance, late: AgentHome, liar: LyingHub
) -> None:
    """Every signature is right; but all members see one log, and it has another epoch 1."""
    made, other = puppet(two, two.group), os.urandom(32)
    commitment = canonical.epoch_commitment(two.group, 1, other)
    wrap = _wrap(made, late, two.group, other)
    liar.execute(
        "UPDATE key_epoch SET commitment = :commitment, creator = :creator, signature = :signature",
        commitment=commitment,
        creator=made.name,
        signature=made.sign(canonical.epoch_bytes(two.group, 1, made.name, commitment)),
    )
    _show_wrap(liar, late, wrap)
    assert refused(late, two.group) == "LOG_FORKED"


def test_an_epoch_that_an_outsider_made(two: AgentAlliance, late: AgentHome, liar: LyingHub) -> None:
    made, other = puppet(two), os.urandom(32)
    commitment = canonical.epoch_commitment(two.group, 1, other)
    liar.execute(
        "UPDATE key_epoch SET commitment = :commitment, creator = :creator, signature = :signature",
        commitment=commitment,
        creator=made.name,
        signature=made.sign(canonical.epoch_bytes(two.group, 1, made.name, commitment)),
    )
    _show_wrap(liar, late, _wrap(made, late, two.group, other))
    assert refused(late, two.group) == "ADMISSION_MISSING"


def test_a_second_epoch_one_in_the_log(two: AgentAlliance, late: AgentHome, liar: LyingHub) -> None:
    liar.log_event(event="epoch_created:1", subject=two.group, digest=os.urandom(32))
    assert refused(late, two.group) == "LOG_FORKED"


def test_a_wrap_with_another_secret_in_it(two: AgentAlliance, late: AgentHome, liar: LyingHub) -> None:
    made = puppet(two, two.group)
    (epoch,) = liar.rows("SELECT commitment FROM key_epoch")
    wrap = _wrap(made, late, two.group, os.urandom(32), commitment=bytes(epoch.commitment))
    _show_wrap(liar, late, wrap)
    assert refused(late, two.group) == "COMMITMENT_MISMATCH"


def test_a_wrap_for_somebody_else(two: AgentAlliance, late: AgentHome, liar: LyingHub) -> None:
    (wrap,) = liar.rows("SELECT * FROM key_wrap WHERE recipient = :to", to=two["bigmart"].member)
    liar.execute(
        "UPDATE key_wrap SET sealed = :sealed, signature = :signature, sender = :sender WHERE recipient = :to",
        sealed=wrap.sealed,
        signature=wrap.signature,
        sender=wrap.sender,
        to=late.member,
    )
    assert refused(late, two.group) == "SIGNATURE_INVALID"


def test_the_key_of_another_group_is_not_taken_for_this_one(
    two: AgentAlliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub would have acme seal for a group that its puppet is in, whatever bank it publishes into."""
    other = two.hub.create_group("everybody")
    for name in ("acme", "bigmart"):
        LyingHub(two.hub).put_into_group(other, two[name].member)
        LyingHub(two.hub).log_event(event=f"group_joined:{other}", subject=two[name].member)
    fresh = two.hub.create_group("fresh")
    LyingHub(two.hub).put_into_group(fresh, two["bigmart"].member)
    current(two["acme"], other)
    honest = KeyService.state

    def lying(service: KeyService, tx: Any, caller: Any, group: GroupId, number: int) -> Any:
        return honest(service, tx, caller, other if group == fresh else group, number)

    monkeypatch.setattr(KeyService, "state", lying)
    assert refused(two["bigmart"], fresh) == "GROUP_MISMATCH"


def test_an_epoch_that_the_hub_takes_and_then_shows_nothing_of(
    two: AgentAlliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = two.hub.create_group("fresh")
    LyingHub(two.hub).put_into_group(fresh, two["acme"].member)
    honest = KeyService.state

    def lying(service: KeyService, tx: Any, caller: Any, group: GroupId, number: int) -> Any:
        return dataclasses.replace(honest(service, tx, caller, group, number), epoch=None, wrap=None)

    monkeypatch.setattr(KeyService, "state", lying)
    with two["acme"].connected() as (agent, hub), pytest.raises(Corrupt) as error:
        agent.keyring.current(hub, fresh)
    assert (error.value.reason, "there is an epoch 1" in error.value.message) == ("EPOCH_ROLLED_BACK", True)


def test_nobody_is_wrapped_in_whom_the_log_did_not_admit(two: AgentAlliance, liar: LyingHub) -> None:
    made = puppet(two)
    liar.put_into_group(two.group, made.name)
    assert refused(two["acme"], two.group) == "ADMISSION_MISSING"
    assert liar.rows("SELECT * FROM key_wrap WHERE recipient = :to", to=made.name) == []


def test_nobody_is_wrapped_in_under_keys_the_log_does_not_have(two: AgentAlliance, liar: LyingHub) -> None:
    late = two.newcomer("late")
    liar.execute("UPDATE member SET sealing_key = :key WHERE name = :name", key=os.urandom(32), name=late.member)
    assert refused(two["acme"], two.group) == "IDENTITY_CHANGED"  # acme looked at it before it signed
    assert liar.rows("SELECT * FROM key_wrap WHERE recipient = :to", to=late.member) == []


def test_no_keys_are_taken_at_first_sight_that_the_log_does_not_have(
    two: AgentAlliance, late: AgentHome, liar: LyingHub
) -> None:
    liar.execute("UPDATE member SET sealing_key = :key WHERE name = :name", key=os.urandom(32), name=two["acme"].member)
    assert refused(late, two.group) == "LOG_FORKED"


def _wrap(
    made: RawMember, to: AgentHome, group: GroupId, secret: bytes, *, commitment: bytes | None = None
) -> key_pb2.KeyWrap:
    """A secret sealed by the puppet; with `commitment`, signed as if it were another's."""
    with to.open() as agent:
        key = agent.identity.public.sealing_key
    wrap = made.wrap(to.member, key, group, 1, secret)
    if commitment is not None:
        signed = canonical.wrap_bytes(group, 1, made.name, to.member, commitment, wrap.sealed)
        wrap.signature = made.sign(signed)
    return wrap


def _show_wrap(liar: LyingHub, to: AgentHome, wrap: key_pb2.KeyWrap) -> None:
    liar.execute(
        "UPDATE key_wrap SET sender = :sender, sealed = :sealed, signature = :signature WHERE recipient = :to",
        sender=wrap.sender,
        sealed=wrap.sealed,
        signature=wrap.signature,
        to=to.member,
    )


# Identities.


def test_another_identity_of_a_member_that_is_known(two: AgentAlliance, liar: LyingHub) -> None:
    two["bigmart"].sync()
    with two["bigmart"].connected() as (agent, hub):
        agent.directory.get(hub, two["acme"].member)
        liar.execute(
            "UPDATE member SET sealing_key = :key WHERE name = :name", key=os.urandom(32), name=two["acme"].member
        )
        with pytest.raises(Corrupt) as error:
            agent.directory.refresh(hub)
    assert error.value.reason == "IDENTITY_CHANGED"


def test_a_member_the_log_has_never_heard_of(two: AgentAlliance, liar: LyingHub) -> None:
    """Which may be a log that is slow: nothing is believed, and nothing is called forked."""
    liar.execute(
        "INSERT INTO member SELECT 'members/ghost', role, standing, reason, :signing, :sealing, create_time, "
        "enrol_time FROM member WHERE name = :like",
        signing=os.urandom(91),
        sealing=os.urandom(32),
        like=two["acme"].member,
    )
    with two["acme"].connected() as (agent, hub), pytest.raises(Corrupt) as error:
        agent.directory.get(hub, MemberId("members/ghost"))
    assert error.value.reason == "LOG_MISSING"


def test_another_identity_of_this_very_member(two: AgentAlliance, liar: LyingHub) -> None:
    liar.execute("UPDATE member SET sealing_key = :key WHERE name = :name", key=os.urandom(32), name=two["acme"].member)
    with two["acme"].connected() as (agent, hub), pytest.raises(Corrupt) as error:
        agent.directory.refresh(hub)
    assert error.value.reason == "IDENTITY_CHANGED"


def test_a_second_identity_in_the_log_alarms_the_member_it_is_of(two: AgentAlliance, liar: LyingHub) -> None:
    two["acme"].sync()
    liar.log_event(event="member_enrolled:marketplace", subject=two["acme"].member, digest=os.urandom(32))
    with pytest.raises(Corrupt) as error:
        two["acme"].sync()
    assert error.value.reason == "IDENTITY_CHANGED"


def test_two_identities_in_the_log_are_one_too_many_for_the_others(two: AgentAlliance, liar: LyingHub) -> None:
    """Under another role, so that each agent could be shown the one that suits the hub."""
    two.newcomer("late")
    liar.log_event(event="member_enrolled:expert", subject=MemberId("members/late"), digest=os.urandom(32))
    with pytest.raises(Corrupt) as error:
        two["acme"].sync()
    assert error.value.reason == "IDENTITY_CHANGED"


# The log.


def log_refused(home: AgentHome) -> AllianceError:
    with home.connected() as (agent, hub):
        size = agent.log.size()
        with pytest.raises(Corrupt) as error:
            agent.log.update(hub)
        assert agent.log.size() == size
    return error.value


def test_a_log_that_shrinks(two: AgentAlliance, liar: LyingHub) -> None:
    two["acme"].sync()
    size = liar.log_size()
    liar.rewind_log(size - 1)
    error = log_refused(two["acme"])
    assert (error.reason, "shrank" in error.message) == ("LOG_FORKED", True)


def test_a_log_that_is_said_to_be_empty(two: AgentAlliance, liar: LyingHub) -> None:
    """Which it is, for a moment, at a hub that has just begun: not any more."""
    two["acme"].sync()
    liar.rewind_log(0)
    with two["acme"].connected() as (agent, hub), pytest.raises(Corrupt) as caught:
        agent.audit(hub)
    assert (caught.value.reason, "to none" in caught.value.message) == ("LOG_FORKED", True)


@pytest.mark.parametrize("more", [1, 4])
def test_a_log_with_another_past(two: AgentAlliance, liar: LyingHub, more: int) -> None:
    """As long as the one that is held, or longer, and rightly signed."""
    two["acme"].sync()
    liar.rewind_log(liar.log_size() - 1)
    for n in range(more):
        liar.log_event(event="member_invited:brand", subject=f"members/other-{n}")
    error = log_refused(two["acme"])
    assert (error.reason, "signed root" in error.message) == ("LOG_FORKED", True)


def test_a_leaf_that_was_changed(two: AgentAlliance, liar: LyingHub) -> None:
    two["acme"].sync()
    size = liar.log_size()
    two.hub.invite("someone")
    liar.log_event(event="member_invited:brand", subject="members/another")
    event = canonical.AuditEvent(event="nothing", actor="hub", subject="members/acme", time=1)
    liar.execute("UPDATE audit_leaf SET data = :data WHERE leaf_index = :size", data=event.to_bytes(), size=size)
    assert log_refused(two["acme"]).reason == "LOG_FORKED"


def test_a_head_that_the_log_did_not_sign(two: AgentAlliance, liar: LyingHub) -> None:
    size = liar.log_size()
    (head,) = liar.rows("SELECT note FROM audit_checkpoint WHERE size = :size", size=size)
    longer = head.note.replace(f"\n{size}\n", f"\n{size + 1}\n", 1)
    liar.execute("UPDATE audit_checkpoint SET note = :note WHERE size = :size", note=longer, size=size)
    assert log_refused(two["acme"]).reason == "CHECKPOINT_FORGED"


@pytest.mark.parametrize("by_another_key", [False, True])
def test_a_head_of_nobody_we_know(two: AgentAlliance, liar: LyingHub, by_another_key: bool) -> None:
    """An alarm, as a wrong signature is: else a hub could hold back the log for as long as it likes."""
    size, note = liar.log_size(), "no note at all"
    if by_another_key:
        origin = f"{two.hub.settings.alliance_name}/log"
        head = checkpoint.Checkpoint(origin=origin, size=size, root=os.urandom(32))
        note = checkpoint.sign_note(head, name=origin, key=Ed25519PrivateKey.generate())
    liar.execute("UPDATE audit_checkpoint SET note = :note WHERE size = :size", note=note, size=size)
    assert log_refused(two["acme"]).reason == "CHECKPOINT_FORGED"


def test_nothing_is_done_while_the_log_cannot_be_looked_at(two: AgentAlliance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the excuse: a hub could hold back a departure from the log, and have members publish for who is gone."""

    def excused(service: AuditService, tx: Any) -> Any:
        raise FailedPrecondition("not now", reason="NOT_NOW")

    two["acme"].import_csv(products(2))
    two["acme"].publish(send=False)
    with two["acme"].connected() as (agent, hub):
        with monkeypatch.context() as patched:
            patched.setattr(AuditService, "head", excused)
            one_pass(agent, hub)
            assert agent.outbox.count(State.WAITING) == 1
        one_pass(agent, hub)
        assert agent.outbox.count(State.WAITING) == 0


def test_two_processes_of_one_agent_do_not_call_their_log_forked(
    two: AgentAlliance, liar: LyingHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one verifies newer leaves just after this one has asked for the head."""
    with two["acme"].connected() as (agent, hub), two["acme"].connected() as (other, other_hub):
        honest = hub.call

        def overtaken(request: Any, response: Any, **options: Any) -> Any:
            answer = honest(request, response, **options)
            if isinstance(request, audit_pb2.GetCheckpointRequest):
                liar.log_event(event="member_invited:brand", subject="members/someone")
                other.log.update(other_hub)
            return answer

        monkeypatch.setattr(hub, "call", overtaken)
        head = agent.log.update(hub)
        assert agent.log.size() == head.size + 1 == liar.log_size()
