"""An active hub: it holds its own CA, its own log key and its own database, and does what it likes with all three.

Each lie is told to every member's agent. Each agent refuses it, stops (`alliance-agent sync` and the daemon exit with
11) and keeps evidence; nothing that it held changes, and no key reaches a puppet. The same alliance without the lie is
the control. Two logs for two members are in `test_agent_split_view`, an old epoch served again in
`test_agent_rotation`, more lies about keys and banks in `test_agent_lying_hub_keys` and `_banks`.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from alliance import canonical
from alliance.canonical import AuditEvent
from alliance.errors import Corrupt
from alliance.names import MemberId
from alliance.v1 import key_pb2, membership_pb2
from member_agent import audit_log
from member_agent.evidence import ALARMS
from tests.kit.agents import AgentAlliance, AgentHome, alliance_of_agents, products
from tests.kit.lying_hub import LyingHub
from tests.kit.member import RawMember


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AgentAlliance]:
    """acme and bigmart founded it, and admitted zoo; all hold the group's key and acme's products."""
    monkeypatch.setattr(audit_log, "WAIT_SECONDS", 1.0)
    members = {"acme": "brand", "bigmart": "marketplace", "zoo": "marketplace"}
    with alliance_of_agents(members, folder=tmp_path) as running:
        running["acme"].import_csv(products(3))
        running["acme"].publish()
        all_sync(running)
        yield running


@pytest.fixture
def liar(three: AgentAlliance) -> LyingHub:
    return LyingHub(three.hub)


@pytest.fixture
def puppet(three: AgentAlliance, liar: LyingHub) -> RawMember:
    """Enrolled and put into the group by the rules, as an operator can: log and all. Its keys are the hub's."""
    made = three.hub.enrol("puppet")
    three.hub.add_to_group(three.group, made)
    three.hub.integrate()
    return made


def all_sync(three: AgentAlliance) -> None:
    three.hub.integrate()
    for home in three.agents.values():
        home.sync()
        assert not home.home.evidence.exists()


def held(home: AgentHome) -> object:
    """What a lie must not change: keys, banks, and the identities of those that were admitted."""
    with home.open() as agent, agent.db.read() as tx:
        keys = tx.exec_driver_sql("SELECT * FROM group_key ORDER BY 1, 2").all()
        known = "('members/acme', 'members/bigmart', 'members/zoo')"
        pinned = tx.exec_driver_sql(f"SELECT * FROM member_identity WHERE member IN {known} ORDER BY 1").all()
        return keys, pinned, agent.banks.states()


def alarmed(home: AgentHome, reason: str) -> None:
    """The agent refuses for this reason, keeps what it had and evidence of the rest, and so does a new attempt."""
    before = held(home)
    with pytest.raises(Corrupt) as caught:
        home.sync()
    assert (caught.value.reason, caught.value.exit_code) == (reason, 11)
    assert reason in ALARMS
    [file] = home.home.evidence.iterdir()
    kept = json.loads(file.read_text())
    assert (kept["reason"], kept["member"]) == (reason, home.member)
    assert held(home) == before


def all_alarmed(three: AgentAlliance, reason: str) -> None:
    for home in three.agents.values():
        alarmed(home, reason)
    assert three["zoo"].run_cli("sync", check=None).returncode == 11
    with three["bigmart"].daemon() as daemon:
        assert daemon.process.wait(20) == 11


def wraps(liar: LyingHub, member: RawMember) -> int:
    return len(liar.rows("SELECT 1 FROM key_wrap WHERE recipient = :to", to=member.name))


def admission(three: AgentAlliance, member: RawMember) -> bytes:
    """What a member would sign to admit it."""
    digest = canonical.identity_digest(member.identity.signing_key, member.identity.sealing_key)
    return canonical.admission_bytes(three.hub.settings.alliance_name, member.name, "brand", digest)


def forge(three: AgentAlliance, liar: LyingHub, member: RawMember, signer: MemberId, signature: bytes) -> None:
    """Shows the signature, and logs it as an honest hub would log a right one."""
    liar.show_admission(member.name, signer, signature)
    digest = canonical.admission_digest(admission(three, member), signature)
    liar.log_event(event=f"admission_signed:{signer}", subject=member.name, digest=digest)


# Puppets.


def test_an_honest_newcomer_alarms_nobody(three: AgentAlliance, liar: LyingHub) -> None:
    """The control: admitted by two, wrapped in, and its products are believed."""
    late = three.newcomer("late")
    three["acme"].sync()
    late.import_csv(products(2, first=10))
    late.publish()
    all_sync(three)
    assert sum(int(one.alive().sum()) for one in three["zoo"].contents()) == 5


def test_a_puppet_in_the_group_gets_no_key(three: AgentAlliance, liar: LyingHub, puppet: RawMember) -> None:
    """Nothing is claimed that is not so: it waits, like any newcomer, and everybody goes on."""
    all_sync(three)
    assert wraps(liar, puppet) == 0


def test_a_puppet_that_the_hub_says_waits_and_asks_keys_for(
    three: AgentAlliance, liar: LyingHub, puppet: RawMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub lists it among those that lack a key: no member's agent takes its word."""
    monkeypatch.setattr("hub.membership.model.Member.takes_part", property(lambda member: True))
    all_sync(three)
    assert wraps(liar, puppet) == 0


def test_a_puppet_that_the_hub_says_is_admitted(three: AgentAlliance, liar: LyingHub, puppet: RawMember) -> None:
    liar.claim_admitted(puppet.name)
    for home in three.agents.values():
        alarmed(home, "ADMISSION_FORGED")
    assert wraps(liar, puppet) == 0


def test_puppets_that_admit_each_other(three: AgentAlliance, liar: LyingHub, puppet: RawMember) -> None:
    """Every signature is right, and none is of a member that counts."""
    others = [three.hub.enrol(f"puppet-{n}") for n in range(3)]
    three.hub.integrate()
    for other in others:
        forge(three, liar, puppet, other.name, other.sign(admission(three, puppet)))
        forge(three, liar, other, puppet.name, puppet.sign(admission(three, other)))
    all_sync(three)
    liar.claim_admitted(puppet.name)
    for home in three.agents.values():
        alarmed(home, "ADMISSION_FORGED")
    assert wraps(liar, puppet) == 0


# Forged admissions.


def test_signatures_that_the_founders_did_not_make(three: AgentAlliance, liar: LyingHub, puppet: RawMember) -> None:
    for name in ("acme", "bigmart"):
        forge(three, liar, puppet, three[name].member, puppet.sign(admission(three, puppet)))
    liar.claim_admitted(puppet.name)
    all_alarmed(three, "ADMISSION_FORGED")
    assert wraps(liar, puppet) == 0


def test_the_founders_signatures_under_somebody_else(three: AgentAlliance, liar: LyingHub, puppet: RawMember) -> None:
    """They did sign: zoo's admission."""
    for row in liar.rows("SELECT signer, signature FROM admission WHERE member = :zoo", zoo=three["zoo"].member):
        forge(three, liar, puppet, MemberId(row.signer), bytes(row.signature))
    for home in three.agents.values():
        alarmed(home, "ADMISSION_FORGED")


def test_the_founders_very_leaves_of_another(three: AgentAlliance, liar: LyingHub, puppet: RawMember) -> None:
    """Every digest in the log is that of a right signature: of zoo's admission."""
    leaves = [AuditEvent.from_bytes(bytes(row.data)) for row in liar.rows("SELECT data FROM audit_leaf")]
    signed = [leaf for leaf in leaves if leaf.event.startswith("admission_signed:")]
    assert {leaf.subject for leaf in signed} == {three["zoo"].member}
    for leaf in signed:
        liar.log_event(event=leaf.event, subject=puppet.name, digest=leaf.digest)
    liar.claim_admitted(puppet.name)
    for home in three.agents.values():
        alarmed(home, "ADMISSION_FORGED")
    assert wraps(liar, puppet) == 0


def test_one_signature_for_two_signers(three: AgentAlliance, liar: LyingHub, puppet: RawMember) -> None:
    """acme was talked into it, and the hub counts its signature as that of bigmart too."""
    with three["acme"].open() as acme:
        signature = acme.identity.sign(admission(three, puppet))
    forge(three, liar, puppet, three["acme"].member, signature)
    digest = canonical.admission_digest(admission(three, puppet), signature)
    liar.log_event(event=f"admission_signed:{three['bigmart'].member}", subject=puppet.name, digest=digest)
    liar.claim_admitted(puppet.name)
    for home in three.agents.values():
        alarmed(home, "ADMISSION_FORGED")
    assert wraps(liar, puppet) == 0


def test_an_admission_in_the_log_that_the_hub_shows_no_signature_of(
    three: AgentAlliance, liar: LyingHub, puppet: RawMember
) -> None:
    """It counts for nobody; who is said to have signed knows that it did not."""
    for name in ("acme", "bigmart"):
        event = f"admission_signed:{three[name].member}"
        liar.log_event(event=event, subject=puppet.name, digest=os.urandom(32))
    three["zoo"].sync()
    for name in ("acme", "bigmart"):
        alarmed(three[name], "ADMISSION_FORGED")
    assert wraps(liar, puppet) == 0


def test_signatures_shown_and_not_logged(three: AgentAlliance, liar: LyingHub, puppet: RawMember) -> None:
    """One member was talked into it: k - 1 and the hub are not enough, and what is not public does not count."""
    with three["acme"].open() as acme:
        signature = acme.identity.sign(admission(three, puppet))
    liar.show_admission(puppet.name, three["acme"].member, signature)
    liar.claim_admitted(puppet.name)
    for home in three.agents.values():
        alarmed(home, "ADMISSION_FORGED")


def test_another_policy(three: AgentAlliance, liar: LyingHub) -> None:
    liar.log_event(event="admission_policy:0", subject=three.hub.settings.alliance_name)
    all_alarmed(three, "ADMISSION_POLICY_CHANGED")


def test_the_policy_of_the_hubs_database_is_nobodys(three: AgentAlliance, liar: LyingHub) -> None:
    """The hub lets the next one in by itself; the members' agents do not."""
    liar.execute("UPDATE admission_policy SET cosigners = 0")
    three.hub.add_to_group(three.group, three.hub.enrol("puppet"))
    three.hub.integrate()
    for home in three.agents.values():
        alarmed(home, "ADMISSION_FORGED")


# A second acme.


def test_a_second_acme_in_the_log(three: AgentAlliance, liar: LyingHub) -> None:
    """acme itself, and everybody else: the name is one identity's for good."""
    liar.log_event(event="member_enrolled:brand", subject=three["acme"].member, digest=os.urandom(32))
    all_alarmed(three, "IDENTITY_CHANGED")


def test_a_second_acme_among_the_members(three: AgentAlliance, liar: LyingHub) -> None:
    liar.execute("UPDATE member SET sealing_key = :key WHERE name = :acme", key=os.urandom(32), acme="members/acme")
    liar.execute("UPDATE member SET signing_key = :key WHERE name = :acme", key=os.urandom(91), acme="members/acme")
    # Somebody new is the occasion to look at the members again.
    three.hub.add_to_group(three.group, three.hub.enrol("late"))
    liar.claim_admitted(MemberId("members/late"))
    for home in three.agents.values():
        alarmed(home, "IDENTITY_CHANGED")


# Group keys.


def test_another_key_for_the_group(three: AgentAlliance, liar: LyingHub) -> None:
    liar.execute("UPDATE key_epoch SET commitment = :other", other=os.urandom(32))
    all_alarmed(three, "COMMITMENT_MISMATCH")


def test_a_puppets_key_for_a_newcomer(three: AgentAlliance, liar: LyingHub, puppet: RawMember) -> None:
    """The newcomer has nothing to compare with but the log; the hub even logs an epoch of the puppet's."""
    fresh = three.hub.create_group("fresh")
    late = three.newcomer("late", in_group=False)
    late.sync()
    liar.put_into_group(fresh, late.member)
    liar.put_into_group(fresh, puppet.name)
    for member in (late.member, puppet.name):
        liar.log_event(event=f"group_joined:{fresh}", subject=member)
    liar.claim_admitted(puppet.name)
    with late.open() as agent:
        sealing_key = agent.identity.public.sealing_key
    request, secret = puppet.epoch_request(fresh, [puppet], epoch=1)
    request.wraps.append(puppet.wrap(late.member, sealing_key, fresh, 1, secret))
    puppet.call(request, key_pb2.CreateEpochResponse)
    three.hub.integrate()
    alarmed(late, "ADMISSION_FORGED")


def test_the_evidence_shows_what_the_hub_said(three: AgentAlliance, liar: LyingHub, puppet: RawMember) -> None:
    """Who reads it needs neither the agent nor the hub: the forged signature is in it, and the leaf."""
    signature = puppet.sign(admission(three, puppet))
    forge(three, liar, puppet, three["acme"].member, signature)
    alarmed(three["zoo"], "ADMISSION_FORGED")
    [file] = three["zoo"].home.evidence.iterdir()
    kept = json.loads(file.read_text())
    said = {one["message"]: base64.b64decode(one["protobuf"]) for one in kept["hub_said"]}
    members = membership_pb2.ListMembersResponse.FromString(said["alliance.v1.ListMembersResponse"]).members
    [shown] = [one for one in members if one.name == puppet.name]
    assert [(one.signer, one.signature) for one in shown.admissions] == [("members/acme", signature)]
    leaf = kept["log"]["last_leaves"][-1]
    assert (leaf["event"], leaf["subject"]) == ("admission_signed:members/acme", puppet.name)
    assert leaf["digest"] == canonical.admission_digest(admission(three, puppet), signature).hex()
