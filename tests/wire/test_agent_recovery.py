"""An agent is lost, or was off for too long: its member comes back by its identity, and the lost one is out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from alliance.errors import AllianceError, Corrupt, NotAuthenticated, NotPermitted, Unavailable
from alliance.v1 import enrolment_pb2 as pb
from member_agent import backup, enrolment, recovery
from member_agent.backup import Backup
from member_agent.config import Settings
from tests.kit.agents import AgentAlliance, AgentHome, alive, alliance_of_agents, products, quick_keys
from tests.kit.clock import ShiftedClock
from tests.kit.watched_proxy import WatchedProxy


def backed_up(home: AgentHome) -> Backup:
    with home.open() as agent:
        return recovery.backup_of(agent.home, agent.settings, agent.secrets)


def recovered(lost: AgentHome, made: Backup, folder: Path) -> AgentHome:
    """A new home of the same member."""
    home = AgentHome.at(lost.member, folder)
    with quick_keys():
        recovery.recover(home.home, made)
    home.set("limits.memory_mb", 0)
    return home


def agent_of(home: AgentHome) -> str:
    return home.home.load()[0].hub_agent


def revoke(home: AgentHome, name: str) -> None:
    with home.connected() as (_, hub):
        hub.call(
            pb.RevokeAgentRequest(request_id="0" * 8 + "-0000-0000-0000-" + "0" * 12, name=name), pb.RevokeAgentResponse
        )


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
def two(tmp_path: Path, clock: ShiftedClock) -> Iterator[AgentAlliance]:
    with alliance_of_agents({"acme": "brand", "bigmart": "marketplace"}, folder=tmp_path, clock=clock) as running:
        yield running


def test_a_lost_agent_is_replaced_with_all_its_member_had(two: AgentAlliance, tmp_path: Path) -> None:
    lost, other = two["acme"], two["bigmart"]
    lost.import_csv(products(3))
    lost.publish()
    other.import_csv(products(2, first=10, brand="Other"))
    other.publish()
    made = backed_up(lost)

    home = recovered(lost, made, tmp_path / "new")
    home.sync()
    assert alive(home.contents()) == 5
    revoke(home, agent_of(lost))
    with lost.connected() as (_, hub), pytest.raises(NotAuthenticated) as error:
        hub.handshake()
    assert error.value.reason == "CERTIFICATE_REVOKED"

    home.import_csv(products(4, first=20))
    report, sent = home.publish()
    assert (report.products, sent.sent if sent else 0) == (4, 1)
    other.sync()
    assert alive(other.contents()) == 9

    answer = home.json_of("withdraw", "--other-agents")
    assert (answer["withdrawn"], answer["sent"], answer["failed"]) == (3, 1, 0)
    assert home.json_of("withdraw", "--other-agents")["withdrawn"] == 0
    other.sync()
    assert alive(other.contents()) == 6


def test_the_whole_of_it_on_the_command_line(two: AgentAlliance, tmp_path: Path) -> None:
    lost = two["acme"]
    lost.import_csv(products(2))
    lost.publish()
    file, code = tmp_path / "acme.backup", tmp_path / "code"
    shown = lost.json_of("identity", "backup", "--out", file)
    code.write_text(shown["recovery_code"])
    digest = lost.json_of("identity", "show")

    home = AgentHome.at(lost.member, tmp_path / "new")
    row = home.json_of("recover", file, "--code-file", code)
    assert (row["member"], row["keys"], row["banks"]) == (lost.member, {two.group: "held"}, {two.bank: 2})
    assert home.json_of("identity", "show") == digest
    listed = {one["agent"]: one for one in home.json_of("agents", "list")}
    assert {name for name, one in listed.items() if one["this"]} == {agent_of(home)}
    home.run_cli("agents", "revoke", agent_of(lost).removeprefix("agents/"))
    assert "[CERTIFICATE_REVOKED]" in lost.run_cli("sync", check=5).stderr
    assert "[AGENT_IS_CALLER]" in home.run_cli("agents", "revoke", agent_of(home), check=7).stderr
    assert "[ALREADY_JOINED]" in home.run_cli("recover", file, check=4, text=shown["recovery_code"]).stderr
    printed = lost.run_cli("identity", "backup", "--out", tmp_path / "second.backup", check=0).stdout
    assert "RECOVERY CODE of members/acme" in printed


def test_a_page_of_another_backup_opens_nothing(two: AgentAlliance, tmp_path: Path) -> None:
    file = tmp_path / "acme.backup"
    backup.write(file, backup.seal(backed_up(two["acme"]), backup.new_code()))
    home = AgentHome.at(two["acme"].member, tmp_path / "new")
    other = backup.code_text(backup.new_code())
    assert "[RECOVERY_CODE_WRONG]" in home.run_cli("recover", file, check=5, text=other).stderr
    assert "[RECOVERY_CODE_MALFORMED]" in home.run_cli("recover", file, check=2, text=other[:-1]).stderr
    assert not home.home.settings_file.exists()


def test_a_recovery_whose_answer_was_lost_is_finished_by_the_same_command(two: AgentAlliance, tmp_path: Path) -> None:
    lost, home = two["acme"], AgentHome.at(two["acme"].member, tmp_path / "new")
    made = backed_up(lost)
    with WatchedProxy(cut=lambda: agents(lost) == 2) as proxy, quick_keys(), pytest.raises(Unavailable):
        recovery.recover(home.home, made, Settings(hub_proxy=proxy.url))
    assert not home.home.settings_file.exists()
    finished = recovered(lost, made, tmp_path / "new")
    assert agents(lost) == 2
    assert not finished.home.pending_join_file.exists()
    finished.sync()


def test_a_recovery_cut_off_before_the_hub_saw_it_is_asked_anew_later(
    two: AgentAlliance, tmp_path: Path, clock: ShiftedClock
) -> None:
    lost, home = two["acme"], AgentHome.at(two["acme"].member, tmp_path / "new")
    made = backed_up(lost)
    with quick_keys(), pytest.raises(Unavailable):
        recovery.recover(home.home, replace(made, enrolment_address="127.0.0.1:1"))
    long_ago = ShiftedClock()
    long_ago.advance(minutes=-30)
    home.home.pending_join_file.unlink()
    with quick_keys(), pytest.raises(AllianceError) as error:
        recovery.recover(home.home, made, clock=long_ago)
    assert error.value.reason == "REQUEST_EXPIRED"
    recovered(lost, made, tmp_path / "new").sync()


def test_a_hub_with_another_log_is_not_recovered_from(two: AgentAlliance, tmp_path: Path) -> None:
    made = replace(backed_up(two["acme"]), log_key=bytes(32))
    with pytest.raises(Corrupt) as error:
        recovered(two["acme"], made, tmp_path / "new")
    assert error.value.reason == "CERTIFICATE_WRONG"
    assert not AgentHome.at(two["acme"].member, tmp_path / "new").home.settings_file.exists()


@pytest.fixture
def off_for_long(tmp_path: Path) -> Iterator[AgentAlliance]:
    """acme's certificate was good for a second, and that is over; the next one is good for as long as usual."""
    with alliance_of_agents({}, folder=tmp_path) as running:
        running.hub.set_policy(certificate_seconds=1)
        acme = running.newcomer("acme")
        running.hub.set_policy(certificate_seconds=86_400)
        time.sleep(1.1)
        yield replace(running, agents={"acme": acme})


def test_what_ran_out_is_said_before_anything_is_sent(off_for_long: AgentAlliance) -> None:
    acme = off_for_long["acme"]
    with acme.open() as agent, pytest.raises(NotAuthenticated) as error:
        agent.connect()
    assert error.value.reason == "CERTIFICATE_EXPIRED"
    assert 'run "alliance-agent renew"' in acme.run_cli("doctor", check=1).stdout


def test_renewing_works_after_the_certificate_ran_out(off_for_long: AgentAlliance) -> None:
    acme = off_for_long["acme"]
    name = agent_of(acme)
    acme.run_cli("renew")
    acme.sync()
    assert (agent_of(acme), agents(acme)) == (name, 1)


def test_a_daemon_comes_back_by_itself(off_for_long: AgentAlliance) -> None:
    with off_for_long["acme"].daemon() as daemon:
        daemon.wait_for("certificate_regained")
        daemon.wait_for("connected")
        assert daemon.terminate() == 0


def test_the_hubs_clock_decides_what_ran_out(two: AgentAlliance, clock: ShiftedClock) -> None:
    """An agent whose clock is far behind is refused, and told of its clock when it comes back."""
    acme = two["acme"]
    clock.advance(days=40)
    with acme.connected() as (_, hub), pytest.raises(NotAuthenticated) as error:
        hub.handshake()
    assert error.value.reason == "CERTIFICATE_EXPIRED"
    with acme.open() as agent:
        with pytest.raises(AllianceError) as apart:
            recovery.come_back(agent.home, agent.settings, agent.secrets, agent.ledger)
        assert (apart.value.reason, "clocks" in apart.value.remedy) == ("REQUEST_EXPIRED", True)
        returned = recovery.come_back(agent.home, agent.settings, agent.secrets, agent.ledger, clock=clock)
    assert enrolment.certificate(returned).not_valid_after_utc > clock()


def test_nobody_comes_back_to_a_hub_with_another_log(two: AgentAlliance) -> None:
    acme = two["acme"]
    with acme.open() as agent:
        before = agent.home.keys_file.read_bytes()
        other = replace(agent.settings, hub_log_key=bytes(32).hex())
        with pytest.raises(Corrupt) as error:
            recovery.come_back(agent.home, other, agent.secrets, agent.ledger)
        assert error.value.reason == "CERTIFICATE_WRONG"
        assert agent.home.keys_file.read_bytes() == before


def test_a_revoked_agent_does_not_come_back(two: AgentAlliance, tmp_path: Path) -> None:
    lost = two["acme"]
    home = recovered(lost, backed_up(lost), tmp_path / "new")
    revoke(home, agent_of(lost))
    with lost.open() as agent, pytest.raises(NotPermitted) as error:
        recovery.come_back(agent.home, agent.settings, agent.secrets, agent.ledger)
    assert error.value.reason == "AGENT_REVOKED"


def agents(home: AgentHome) -> int:
    with home.connected() as (_, hub):
        return len(hub.call(pb.ListAgentsRequest(), pb.ListAgentsResponse).agents)
