"""An agent with its channel key in a PKCS#11 token, a real one in software: joins, runs, renews, says what is wrong."""

from __future__ import annotations

import queue
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from alliance.errors import AllianceError, FailedPrecondition, InvalidInput, NotAuthenticated, Unavailable
from member_agent import channel_key, doctor, enrolment, keystore, recovery
from member_agent.config import Home, Settings
from member_agent.keystore import Secrets
from tests.kit.agents import AgentHome, quick_keys
from tests.kit.hub import RunningHub, running_hub
from tests.kit.softhsm import OTHER_PIN, PIN, SoftToken, soft_token
from tests.kit.watched_proxy import WatchedProxy

__all__ = ["soft_token"]
SECOND = 1 / 3600


@pytest.fixture
def acme(hub: RunningHub, soft_token: SoftToken, tmp_path: Path) -> AgentHome:
    """Has joined with its channel key in the token."""
    return joined(hub, tmp_path / "acme", soft_token.uri)


def joined(hub: RunningHub, folder: Path, uri: str) -> AgentHome:
    code = hub.invite("acme")
    made = AgentHome.at(code.member, folder)
    enrolment.join(made.home, code, Settings(keys_pkcs11_uri=uri))
    made.set("limits.memory_mb", 0)
    return made


def secrets(home: Home) -> Secrets:
    return keystore.load(home.keys_file, home.passphrase(home.load()[0]))


def renew(agent: AgentHome) -> None:
    with agent.connected() as (opened, hub):
        enrolment.renew(opened.home, opened.settings, opened.secrets, hub)


def refused(agent: AgentHome) -> AllianceError:
    """Why the agent does not reach its hub."""
    with pytest.raises(AllianceError) as error, agent.connected() as (_, hub):
        hub.handshake()
    return error.value


def problem(agent: AgentHome, check: str) -> tuple[str, str]:
    """The doctor's word."""
    (found,) = [one for one in doctor.examine(agent.home) if one.check == check]
    return found.problem, found.remedy


def test_an_agent_joins_runs_and_renews_and_its_key_is_nowhere_else(
    hub: RunningHub, soft_token: SoftToken, tmp_path: Path
) -> None:
    """By the command line; the daemon and `renew` sign their handshakes by the token."""
    acme = AgentHome.at(hub.invite("other").member, tmp_path / "acme")
    code = acme.folder / "join.code"
    code.write_text(hub.invite("acme").encode())
    said = acme.run_cli("join", "--code-file", code, "--pkcs11-uri", soft_token.uri)
    (first,) = soft_token.private_keys()
    assert first["LABEL"] == "channel"
    assert first["EXTRACTABLE"] is False
    assert first["SENSITIVE"] is first["ALWAYS_SENSITIVE"] is first["NEVER_EXTRACTABLE"] is first["LOCAL"] is True
    assert first["VALUE"] is None
    held = secrets(acme.home)
    assert (held.channel_key, held.token_key) == (b"", first["ID"])
    assert acme.json_of("status")["channel_key"] == f"token {soft_token.label}, object channel"
    with acme.daemon() as daemon:
        daemon.wait_for("connected")
        assert daemon.terminate() == 0
    acme.run_cli("renew")
    (second,) = soft_token.private_keys()
    assert second["ID"] == secrets(acme.home).token_key != first["ID"]
    assert [one.problem for one in doctor.examine(acme.home) if one.problem] == []
    kept = [file for file in acme.home.path.rglob("*") if file.is_file()]
    assert [file.name for file in kept if PIN.encode() in file.read_bytes()] == []
    assert PIN not in said.stdout + said.stderr


@pytest.mark.slow
def test_run_renews_at_two_thirds_and_destroys_the_former_key(soft_token: SoftToken, tmp_path: Path) -> None:
    with running_hub(tmp_path, membership_certificate_hours=10 * SECOND) as hub:
        acme = joined(hub, tmp_path / "acme", soft_token.uri)
        acme.set("sync.seconds", 1)
        first = secrets(acme.home).token_key
        with acme.daemon() as daemon:
            daemon.wait_for("certificate_renewed")
            assert daemon.wait_for("token_keys_destroyed")["count"] == 1
            assert daemon.terminate() == 0
        assert first not in [key["ID"] for key in soft_token.private_keys()]


def test_the_former_key_stays_until_the_new_one_has_worked(acme: AgentHome, soft_token: SoftToken) -> None:
    first = secrets(acme.home)
    renew(acme)
    second = secrets(acme.home)
    assert {key["ID"] for key in soft_token.private_keys()} == {first.token_key, second.token_key}
    settings, _ = acme.home.load()
    # Whoever still has the former one, destroys neither.
    assert channel_key.settle(acme.home, settings, first) == 0
    assert channel_key.settle(acme.home, settings, second) == 1
    assert [key["ID"] for key in soft_token.private_keys()] == [second.token_key]


def test_a_renewal_that_the_hub_refuses_leaves_no_key(acme: AgentHome, soft_token: SoftToken, hub: RunningHub) -> None:
    before = soft_token.private_keys()
    with acme.connected() as (opened, connected):
        connected.handshake()
        hub.stop()
        with pytest.raises(Unavailable):
            enrolment.renew(opened.home, opened.settings, opened.secrets, connected)
    assert soft_token.private_keys() == before


def test_two_agents_share_a_token_and_leave_each_others_keys(
    acme: AgentHome, soft_token: SoftToken, hub: RunningHub, tmp_path: Path
) -> None:
    code = hub.invite("bigmart")
    bigmart = AgentHome.at(code.member, tmp_path / "bigmart")
    enrolment.join(bigmart.home, code, Settings(keys_pkcs11_uri=soft_token.uri))
    renew(acme)
    channel_key.settle(acme.home, acme.home.load()[0], secrets(acme.home))
    held = {secrets(acme.home).token_key, secrets(bigmart.home).token_key}
    assert {key["ID"] for key in soft_token.private_keys()} == held


def test_an_absent_token_is_an_error_that_says_so_and_its_return_the_end_of_it(
    acme: AgentHome, soft_token: SoftToken
) -> None:
    soft_token.unplug()
    error = refused(acme)
    assert isinstance(error, Unavailable)
    assert (error.reason, error.remedy) == ("TOKEN_ABSENT", "put it in, or mend the token's name")
    assert problem(acme, "channel key") == (f"there is no token {soft_token.label}, object channel", error.remedy)
    assert "there is no token" in acme.json_of("status")["hub_answers"]
    soft_token.plug_in()
    with acme.connected() as (_, hub):
        assert hub.handshake().alliance == "alliance.example"


def test_grpc_is_told_of_a_signature_and_of_an_error(acme: AgentHome, soft_token: SoftToken) -> None:
    """It waits for either; a call would end by its deadline only."""
    signer = channel_key.signer(channel_key.of(secrets(acme.home), soft_token.uri))
    assert signer is not None
    told: queue.Queue[bytes | Exception] = queue.Queue()
    signer(b"a handshake", None, told.put)
    signature = told.get(timeout=60)
    assert isinstance(signature, bytes)
    public = enrolment.certificate(secrets(acme.home)).public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(signature, b"a handshake", ec.ECDSA(hashes.SHA256()))
    soft_token.unplug()
    signer(b"a handshake", None, told.put)
    assert told.get(timeout=60) is signer.failure
    assert isinstance(signer.failure, Unavailable)
    soft_token.plug_in()
    signer(b"a handshake", None, told.put)
    assert isinstance(told.get(timeout=60), bytes)
    assert signer.failure is None


def test_a_daemon_waits_for_its_token(acme: AgentHome, soft_token: SoftToken) -> None:
    soft_token.unplug()
    with acme.daemon() as daemon:
        assert daemon.wait_for("hub_unreachable")["reason"] == "TOKEN_ABSENT"
        soft_token.plug_in()
        daemon.wait_for("connected")
        assert daemon.terminate() == 0


def test_a_daemon_whose_key_a_command_destroyed_goes_on_with_the_new_one(
    acme: AgentHome, soft_token: SoftToken
) -> None:
    """It finds out when its connection is lost: the key for another handshake is gone."""
    lost = threading.Event()
    with WatchedProxy(cut=lost.is_set) as proxy:
        acme.set("hub.proxy", proxy.url)
        acme.set("sync.seconds", 1)
        with acme.daemon() as daemon:
            daemon.wait_for("connected")
            first = secrets(acme.home).token_key
            with acme.connected() as (opened, hub):
                renewed = enrolment.renew(opened.home, opened.settings, opened.secrets, hub)
                assert channel_key.settle(opened.home, opened.settings, renewed) == 1
            assert first not in [key["ID"] for key in soft_token.private_keys()]
            lost.set()
            daemon.wait_for("hub_unreachable")
            lost.clear()
            daemon.wait_for("connected")
            assert daemon.terminate() == 0
    assert proxy.cuts > 0


def test_a_wrong_pin_ends_the_daemon_and_is_tried_once(acme: AgentHome, soft_token: SoftToken) -> None:
    """A token locks itself after a few: neither retries of the connection nor of the daemon may spend them."""
    soft_token.set_pin(OTHER_PIN)
    with acme.daemon() as daemon:
        assert daemon.process.wait(60) == NotAuthenticated.exit_code
    assert "TOKEN_PIN_WRONG" in daemon.last_line()
    assert refused(acme).reason == "TOKEN_PIN_WRONG"
    # Were it tried again, it would be right now.
    soft_token.change_own_pin(OTHER_PIN)
    assert refused(acme).reason == "TOKEN_PIN_WRONG"
    assert "does not open" in problem(acme, "channel key")[0]
    soft_token.change_own_pin(PIN)
    soft_token.set_pin(PIN)
    with acme.connected() as (_, hub):
        hub.handshake()


def test_a_key_that_is_gone_is_got_over_by_the_member_identity(acme: AgentHome, soft_token: SoftToken) -> None:
    soft_token.delete_keys()
    error = refused(acme)
    assert isinstance(error, NotAuthenticated)
    assert error.reason == "CHANNEL_KEY_MISSING"
    assert '"alliance-agent renew"' in problem(acme, "channel key")[1]
    assert "former" not in acme.run_cli("renew").stderr
    assert [key["ID"] for key in soft_token.private_keys()] == [secrets(acme.home).token_key]
    assert problem(acme, "hub answers")[0] == ""


def test_what_else_may_be_wrong_has_a_remedy_too(acme: AgentHome, soft_token: SoftToken, tmp_path: Path) -> None:
    soft_token.pin_file.chmod(0o644)
    assert refused(acme).remedy == f"chmod 600 {soft_token.pin_file}"
    soft_token.pin_file.unlink()
    assert refused(acme).reason == "TOKEN_PIN_MISSING"
    soft_token.set_pin(PIN)
    acme.set("keys.pkcs11_uri", soft_token.uri.replace("libsofthsm2.so", "none.so"))
    error = refused(acme)
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "TOKEN_MODULE_MISSING"
    assert problem(acme, "channel key")[1] == "install the token's driver, or mend module-path"
    # As Python has it for a module that is not to be found.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pkcs11", None)
        assert refused(acme).remedy == "pip install python-pkcs11"
    acme.set("keys.pkcs11_uri", "")
    assert refused(acme).reason == "CHANNEL_KEY_MISSING"


def test_the_setting_moves_the_key_at_the_next_renewal(hub: RunningHub, soft_token: SoftToken, tmp_path: Path) -> None:
    acme = joined(hub, tmp_path / "acme", "")
    assert secrets(acme.home).channel_key
    acme.set("keys.pkcs11_uri", soft_token.uri)
    renew(acme)
    assert secrets(acme.home).channel_key == b""
    renew(acme)
    acme.set("keys.pkcs11_uri", "")
    # The token is not named any more: the member identity proves the agent.
    acme.run_cli("renew")
    assert (bool(secrets(acme.home).channel_key), secrets(acme.home).token_key) == (True, b"")
    with acme.connected() as (_, connected):
        connected.handshake()


def test_a_join_that_was_cut_off_goes_on_with_the_key_it_made(
    hub: RunningHub, soft_token: SoftToken, tmp_path: Path
) -> None:
    code = hub.invite("acme")
    acme = AgentHome.at(code.member, tmp_path / "acme")
    nowhere = Settings(keys_pkcs11_uri=soft_token.uri, hub_proxy="http://127.0.0.1:1")
    with pytest.raises(Unavailable):
        enrolment.join(acme.home, code, nowhere)
    made = soft_token.private_keys()
    assert len(made) == 1
    with pytest.raises(InvalidInput) as error:
        enrolment.join(acme.home, code)
    assert error.value.field == "--pkcs11-uri"
    enrolment.join(acme.home, code, Settings(keys_pkcs11_uri=soft_token.uri))
    assert soft_token.private_keys() == made
    # Begun anew with another invitation, the key of the first is not left behind.
    other = AgentHome.at(hub.invite("other").member, tmp_path / "other")
    with pytest.raises(Unavailable):
        enrolment.join(other.home, hub.invite("bigmart"), nowhere)
    enrolment.join(other.home, hub.invite("big"), Settings(keys_pkcs11_uri=soft_token.uri))
    assert {key["ID"] for key in soft_token.private_keys()} == {made[0]["ID"], secrets(other.home).token_key}


def test_a_backup_has_no_channel_key_and_a_recovered_agent_makes_its_own(
    acme: AgentHome, soft_token: SoftToken, tmp_path: Path
) -> None:
    with acme.open() as agent:
        made = recovery.backup_of(agent.home, agent.settings, agent.secrets)
    new = AgentHome.at(acme.member, tmp_path / "new")
    recovery.recover(new.home, made, Settings(keys_pkcs11_uri=soft_token.uri))
    held = {secrets(acme.home).token_key, secrets(new.home).token_key}
    assert len(held) == 2
    assert {key["ID"] for key in soft_token.private_keys()} == held
    new.set("limits.memory_mb", 0)
    for one in (acme, new):
        with one.connected() as (_, connected):
            connected.handshake()


def test_the_service_gets_what_the_token_takes(acme: AgentHome, soft_token: SoftToken) -> None:
    unit = acme.run_cli("service", "install", "--dry-run").stdout
    assert "\nPrivateDevices=no\n" in unit
    assert re.search(r"\nRestartPreventExitStatus=11 5\n", unit)
    acme.set("keys.pkcs11_uri", re.sub("pin-source=.*", "pin-source=credential:agent-pin", soft_token.uri))
    assert "\nLoadCredentialEncrypted=agent-pin\n" in acme.run_cli("service", "install", "--dry-run").stdout


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with quick_keys():
        yield
