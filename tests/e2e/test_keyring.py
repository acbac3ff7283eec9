"""The passphrase in a keyring, a real one: the file of `keyrings.alt`. Each command is a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alliance import os_keyring
from alliance.errors import FailedPrecondition, InvalidInput
from hub.config import Settings as HubSettings
from member_agent.config import Settings as AgentSettings
from tests.kit.agents import AgentHome
from tests.kit.hub import RunningHub

PHRASE = "correct horse battery staple"


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it is, for the processes that are started; it is empty."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyrings.alt.file.PlaintextKeyring")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


def put(service: str, name: str) -> None:
    """As the errors say: `keyring set SERVICE NAME`."""
    subprocess.run([sys.executable, "-m", "keyring", "set", service, name], input=PHRASE, text=True, check=True)


def hub_cli(*arguments: str | Path, check: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "hub", *map(str, arguments)], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == check, done.stderr
    return done.stdout + done.stderr


def test_an_agent_joins_and_works_with_its_passphrase_in_the_keyring(
    hub: RunningHub, keyring: Path, tmp_path: Path
) -> None:
    acme = AgentHome.at(hub.invite("other").member, tmp_path / "acme")
    code = acme.folder / "join.code"
    code.write_text(hub.invite("acme").encode())
    command = ("join", "--code-file", code, "--passphrase-keyring", "alliance-agent/acme")
    both = acme.run_cli(*command, "--passphrase-file", code, check=InvalidInput.exit_code)
    assert "give one of them" in both.stderr
    missing = acme.run_cli(*command, check=FailedPrecondition.exit_code)
    assert 'run "keyring set alliance-agent acme"' in missing.stderr
    put("alliance-agent", "acme")
    acme.run_cli(*command)
    assert acme.json_of("status")["member"] == "members/acme"
    assert not (acme.home.path / "passphrase").exists()
    unit = acme.run_cli("service", "install", "--dry-run")
    assert "a service has no keyring" in unit.stderr
    assert "LoadCredential" not in unit.stdout
    assert [file for file in acme.home.path.rglob("*") if file.is_file() and PHRASE.encode() in file.read_bytes()] == []


def test_a_hub_is_made_with_its_passphrase_in_the_keyring(keyring: Path, tmp_path: Path) -> None:
    home = tmp_path / "hub"
    put("alliance-hub", "ours")
    both = ("--passphrase-keyring", "alliance-hub/ours", "--passphrase-file", tmp_path / "phrase")
    assert "give one of them" in hub_cli("--home", home, "init", *both, check=InvalidInput.exit_code)
    hub_cli("--home", home, "init", "--passphrase-keyring", "alliance-hub/ours")
    assert 'keyring = "alliance-hub/ours"' in (home / "hub.toml").read_text()
    assert not (home / "passphrase").exists()
    # Never started, is all that is wrong with it.
    assert "the hub was never started" in hub_cli("--home", home, "doctor", check=1)


def test_without_a_keyring_or_the_library_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = "from alliance import os_keyring; os_keyring.passphrase('a/b')"
    none = os.environ | {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    done = subprocess.run([sys.executable, "-c", looks], capture_output=True, text=True, env=none)
    assert "a service has none, and uses keys.credential" in done.stderr
    # As Python has it for a module that is not to be found.
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(FailedPrecondition) as error:
        os_keyring.passphrase("a/b")
    assert error.value.remedy == "pip install keyring"


@pytest.mark.parametrize("entry", ["alliance", "/name", "service/"])
@pytest.mark.parametrize("settings", [HubSettings, AgentSettings])
def test_an_entry_has_a_service_and_a_name_and_no_credential_beside_it(
    settings: type[HubSettings | AgentSettings], entry: str
) -> None:
    with pytest.raises(InvalidInput):
        settings(keys_keyring=entry).validate()
    with pytest.raises(InvalidInput):
        settings(keys_keyring="service/name", keys_credential="other").validate()
    settings(keys_keyring="service/name").validate()
