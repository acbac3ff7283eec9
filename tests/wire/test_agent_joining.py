"""Joining: every wrong code has its own error, and an enrolment that was cut off is finished by the same command."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from alliance import join_code, tls
from alliance.errors import AllianceError, Corrupt, InvalidInput, NotAuthenticated, NotPermitted, Unavailable
from alliance.join_code import JoinCode
from alliance.names import MemberId
from hub.audit.service import AuditService
from hub.membership.model import Role
from member_agent import enrolment
from member_agent.config import Settings
from tests.kit.agents import AgentHome, alliance_of_agents
from tests.kit.clock import ShiftedClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.hub_process import free_address
from tests.kit.watched_proxy import WatchedProxy


@pytest.fixture(autouse=True)
def no_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC goes around every proxy for a target these name, and machines name loopback in them."""
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy", "NO_GRPC_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def acme(tmp_path: Path) -> AgentHome:
    """A home that has not joined."""
    return AgentHome.at(MemberId("members/acme"), tmp_path / "acme")


def refused(home: AgentHome, code: JoinCode) -> AllianceError:
    """Why a join is refused; nothing must look joined after it."""
    with pytest.raises(AllianceError) as error:
        AgentHome.join(code, home.folder)
    assert not home.home.settings_file.exists()
    return error.value


def enrolled(hub: RunningHub) -> list[tuple[str, bytes]]:
    """Whom the hub has enrolled, with their signing keys."""
    with hub.services.db.read() as tx:
        rows = tx.execute(text("SELECT name, signing_key FROM member WHERE standing = 'active' ORDER BY name"))
        return [(row.name, bytes(row.signing_key)) for row in rows]


def certificates(hub: RunningHub) -> int:
    with hub.services.db.read() as tx:
        return len(tx.execute(text("SELECT serial FROM certificate WHERE subject LIKE 'members/%'")).all())


def test_a_member_joins_with_what_it_was_invited_as(hub: RunningHub, acme: AgentHome) -> None:
    code = hub.invite("acme", Role.ASSOCIATION)
    joined = enrolment.join(acme.home, code)
    assert (joined.member, joined.role) == ("members/acme", "association")
    assert joined.ca_fingerprint == tls.fingerprint(hub.services.pki.ca)
    assert not acme.home.pending_join_file.exists()
    acme.set("limits.memory_mb", 0)
    with acme.connected() as (agent, opened):
        assert opened.handshake().caller == "members/acme"
        assert enrolled(hub) == [("members/acme", agent.identity.public.signing_key)]


def test_what_is_secret_is_sealed_on_disk(hub: RunningHub, acme: AgentHome) -> None:
    code = hub.invite("acme")
    AgentHome.join(code, acme.folder)
    with acme.open() as agent:
        secrets = {
            "signing": agent.secrets.signing_key[-40:-8],  # within the private scalar's DER
            "sealing": agent.secrets.sealing_key,
            "channel": agent.secrets.channel_key[-40:-8],
            "data": agent.secrets.data_key,
            "invitation": code.secret,
        }
    for file in (path for path in acme.home.path.rglob("*") if path.is_file()):
        kept = file.read_bytes()
        for name, secret in secrets.items():
            assert secret not in kept, f"{name} in {file.name}"
            assert secret.hex().encode() not in kept, f"{name} in hex in {file.name}"


def test_a_wrong_code_is_unknown(hub: RunningHub, acme: AgentHome) -> None:
    right = hub.invite("acme")
    wrong = join_code.JoinCode(
        alliance=right.alliance, address=right.address, member=right.member, ca=right.ca, secret=os.urandom(32)
    )
    error = refused(acme, wrong)
    assert (type(error), error.reason, error.exit_code) == (NotPermitted, "INVITATION_UNKNOWN", 6)
    AgentHome.join(right, acme.folder)  # the same home, the right code


@pytest.mark.parametrize("damage", ["one letter", "end", "empty", "prefix"])
def test_a_damaged_code_is_said_without_asking_anyone(hub: RunningHub, acme: AgentHome, damage: str) -> None:
    code = hub.invite("acme").encode()
    changed = "B" if code[60] != "B" else "C"
    damaged = {
        "one letter": code[:60] + changed + code[61:],
        "end": code[:-20],
        "empty": "",
        "prefix": code.removeprefix("alliance1_"),
    }[damage]
    with pytest.raises(InvalidInput) as error:
        join_code.parse(damaged)
    assert (error.value.reason, error.value.exit_code) == ("JOIN_CODE_MALFORMED", 2)
    assert code[20:40] not in str(error.value)


def test_a_used_code_is_used(hub: RunningHub, acme: AgentHome, tmp_path: Path) -> None:
    code = hub.invite("acme")
    AgentHome.join(code, tmp_path / "first")
    error = refused(acme, code)
    assert (type(error), error.reason, error.exit_code) == (NotPermitted, "INVITATION_USED", 6)
    assert len(enrolled(hub)) == 1


def test_an_expired_code_is_expired(hub: RunningHub, acme: AgentHome, clock: ShiftedClock) -> None:
    code = hub.invite("acme", seconds=60)
    clock.advance(seconds=61)
    error = refused(acme, code)
    assert (type(error), error.reason, error.exit_code) == (NotPermitted, "INVITATION_EXPIRED", 6)
    assert enrolled(hub) == []


def test_a_home_joins_once(hub: RunningHub, acme: AgentHome) -> None:
    AgentHome.join(hub.invite("acme"), acme.folder)
    with pytest.raises(AllianceError) as error:
        enrolment.join(acme.home, hub.invite("other"))
    assert (error.value.reason, error.value.exit_code) == ("ALREADY_JOINED", 4)


def test_of_two_processes_with_one_code_one_joins(hub: RunningHub, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.write_text(hub.invite("acme").encode())
    homes = [AgentHome.at(MemberId("members/acme"), tmp_path / name) for name in ("left", "right")]
    running = [
        subprocess.Popen(home.command("join", "--code-file", code), stderr=subprocess.PIPE, text=True) for home in homes
    ]
    errors = [process.communicate(timeout=60)[1] for process in running]
    codes = [process.returncode for process in running]
    assert sorted(codes) == [0, 6], errors
    lost = codes.index(6)
    assert "[INVITATION_USED]" in errors[lost]
    assert [name for name, _ in enrolled(hub)] == ["members/acme"]
    # The loser's home is as good as new.
    fresh = AgentHome.join(hub.invite("other"), homes[lost].folder)
    with fresh.connected() as (_, opened):
        assert opened.handshake().caller == "members/other"


@pytest.fixture
def cutting(hub: RunningHub) -> Iterator[WatchedProxy]:
    """A proxy through which no answer comes any more once the hub has enrolled someone."""
    with WatchedProxy(cut=lambda: bool(enrolled(hub))) as proxy:
        yield proxy


def test_a_join_whose_answer_was_lost_is_finished_by_joining_again(
    hub: RunningHub, acme: AgentHome, cutting: WatchedProxy
) -> None:
    code = hub.invite("acme")
    with pytest.raises(Unavailable):
        enrolment.join(acme.home, code, Settings(hub_proxy=cutting.url))
    assert cutting.cuts > 0
    ((_, key),) = enrolled(hub)
    assert not acme.home.settings_file.exists()

    joined = AgentHome.join(code, acme.folder)
    with joined.connected() as (agent, opened):
        assert agent.identity.public.signing_key == key
        assert opened.handshake().caller == "members/acme"
    assert (len(enrolled(hub)), certificates(hub)) == (1, 1)


def test_a_join_killed_before_the_answer_is_finished_by_the_same_command(
    hub: RunningHub, acme: AgentHome, tmp_path: Path
) -> None:
    code = tmp_path / "code"
    code.write_text(hub.invite("acme").encode())
    with WatchedProxy() as proxy:
        command = acme.command("join", "--code-file", code, "--proxy", proxy.url)
        process = subprocess.Popen(command, stderr=subprocess.PIPE)

        def kill_when_enrolled() -> bool:
            if not enrolled(hub):
                return False
            process.send_signal(signal.SIGKILL)
            return True

        proxy.cut = kill_when_enrolled
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not acme.home.settings_file.exists()
    ((_, key),) = enrolled(hub)

    acme.run_cli("join", "--code-file", code)
    with acme.connected() as (agent, opened):
        assert agent.identity.public.signing_key == key
        opened.handshake()
    assert certificates(hub) == 1


@pytest.mark.parametrize(
    "false",
    [{"request": tls.certificate_request(tls.new_channel_key())}, {"member": "members/other"}],
    ids=["a key that the hub chose", "another member"],
)
def test_an_answer_that_is_not_for_this_agent_is_refused(
    hub: RunningHub, acme: AgentHome, monkeypatch: pytest.MonkeyPatch, false: dict[str, Any]
) -> None:
    issue = hub.services.pki.issue_member
    monkeypatch.setattr(
        type(hub.services.pki), "issue_member", lambda pki, tx, **asked: issue(tx, **{**asked, **false})
    )
    error = refused(acme, hub.invite("acme"))
    assert (type(error), error.reason, error.exit_code) == (Corrupt, "CERTIFICATE_WRONG", 11)


def test_an_answer_without_the_logs_key_is_refused(
    tmp_path: Path, acme: AgentHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that knew no key of the log could verify nothing."""
    monkeypatch.setattr(AuditService, "public_key", property(lambda service: b"no key"))
    with running_hub(tmp_path) as hub:
        error = refused(acme, hub.invite("acme"))
    assert (type(error), error.reason) == (Corrupt, "CERTIFICATE_WRONG")


def test_an_agent_two_hours_behind_is_told_of_its_clock_and_joins_when_it_is_right(
    tmp_path: Path, acme: AgentHome
) -> None:
    """The hub's clock is two hours ahead: to the agent its certificate is not valid yet."""
    clock, address = ShiftedClock(), free_address()
    with running_hub(tmp_path, server_enrolment_address=address) as hub:
        code = hub.invite("acme")
    clock.advance(hours=2)
    with running_hub(tmp_path, clock=clock, server_enrolment_address=address):
        error = refused(acme, code)
        assert (type(error), error.reason, error.exit_code) == (Unavailable, "CLOCK_SKEW", 10)
        assert "NTP" in error.remedy
    with running_hub(tmp_path, server_enrolment_address=address):
        AgentHome.join(code, acme.folder)


@pytest.mark.parametrize(("hours", "says"), [(2, "behind"), (-2, "ahead")])
def test_the_doctor_sees_a_clock_two_hours_off(
    hub: RunningHub, clock: ShiftedClock, acme: AgentHome, hours: int, says: str
) -> None:
    """The certificate is valid by either clock, so that nothing but the difference shows."""
    code = hub.invite("acme")
    clock.advance(hours=min(hours, 0))
    AgentHome.join(code, acme.folder)
    clock.advance(hours=max(hours, 0))
    examined = acme.run_cli("doctor", check=1).stdout
    (line,) = [line for line in examined.splitlines() if line.startswith("hub answers")]
    assert f"s {says}" in line
    assert "synchronise the clock (NTP)" in line


def test_a_certificate_from_the_future_is_refused_with_the_remedy(tmp_path: Path) -> None:
    clock = ShiftedClock()
    with alliance_of_agents({"acme": "brand"}, folder=tmp_path, clock=clock) as running:
        clock.advance(hours=-2)
        with running["acme"].connected() as (_, hub), pytest.raises(NotAuthenticated) as error:
            hub.handshake()
    assert (error.value.reason, error.value.exit_code) == ("CERTIFICATE_NOT_YET_VALID", 5)
    assert "clocks" in error.value.remedy
