"""A hub under an offline root, by its command line: the root's key is never in the home, and both are renewed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from alliance import anchors, join_code
from tests.kit.agents import AgentHome
from tests.kit.hub_cli import Serving, run
from tests.kit.hub_process import free_address
from tests.kit.waiting import eventually


class Offline:
    """A hub that serves, and the folder of its root elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.home, self.root, self.folder = folder / "hub", folder / "usb-stick" / "root", folder
        made = run(
            "init",
            "--offline-root",
            str(self.root),
            "--address",
            free_address(),
            "--enrolment-address",
            free_address(),
            home=self.home,
        )
        assert made.code == 0, made.err

    def hub(self, *arguments: str, code: int = 0) -> Any:
        done = run(*arguments, "--json", home=self.home)
        assert done.code == code, done.err
        return done.json if not code else done.reason

    def authorities(self) -> dict[str, dict[str, Any]]:
        return {row["phase"]: row for row in self.hub("ca", "show")}

    def sign(self, root: Path, *more: str) -> Path:
        """The way of a request to the machine of the root and back; no hub is asked."""
        request, signed = self.folder / "request.pem", self.folder / "signed.pem"
        self.hub("ca", "request", "--out", str(request))
        done = run("ca", "sign", str(request), "--root", str(root), "--out", str(signed), *more, home=Path("/nowhere"))
        assert done.code == 0, done.err
        return signed

    def wait_for(self, phase: str, authority: str) -> None:
        eventually(lambda: self.authorities().get(phase, {}).get("authority") == authority, f"{authority} as {phase}")

    def join(self, name: str) -> AgentHome:
        code = self.hub("member", "invite", name, "--role", "brand")["join_code"]
        return AgentHome.join(join_code.parse(code), self.folder / name)


def follow(home: AgentHome) -> list[x509.Certificate]:
    """What the agent pins when it has followed; renews as `run` does."""
    from member_agent import enrolment, trust

    with home.connected() as (agent, hub):
        if agent.follow_authorities(hub).renew:
            enrolment.renew(agent.home, agent.settings, agent.secrets, hub)
    with home.connected() as (_, hub):
        hub.handshake()
    return trust.read(home.home)


@pytest.mark.slow
def test_a_hub_under_an_offline_root_from_init_to_a_new_root(tmp_path: Path) -> None:
    offline = Offline(tmp_path)
    assert sorted(path.name for path in offline.root.iterdir()) == ["passphrase", "root.key", "root.pem"]
    [root] = anchors.read_pem((offline.root / "root.pem").read_bytes())
    sealed = (offline.root / "root.key").read_bytes()
    assert all(sealed != file.read_bytes() for file in offline.home.rglob("*") if file.is_file())
    with Serving(offline.home):
        acme = offline.join("acme")
        assert follow(acme) == [root]
        assert acme.run_cli("doctor").returncode == 0
        first = offline.authorities()["active"]["authority"]
        assert offline.hub("ca", "rotate", code=7) == "OFFLINE_ROOT"

        # Another issuing key under the same root: at once, and nothing to pin.
        signed = offline.sign(offline.root)
        second = offline.hub("ca", "install", str(signed))["authority"]
        assert offline.hub("ca", "install", str(signed), code=7) == "CA_REQUEST_UNKNOWN"
        assert {phase: row["authority"] for phase, row in offline.authorities().items()} == {
            "active": second,
            "outgoing": first,
        }
        assert follow(acme) == [root]

        # Another root, which the old one vouches for.
        signed = offline.sign(offline.root, "--new-root", str(tmp_path / "root2"))
        third = offline.hub("ca", "install", str(signed), "--overlap", "3")["authority"]
        [root2] = anchors.read_pem((tmp_path / "root2" / "root.pem").read_bytes())
        assert offline.authorities()["announced"]["authority"] == third
        assert follow(acme) == [root, root2]
        offline.wait_for("active", third)
        assert set(follow(acme)) == {root, root2}
        for name in (first, second):
            offline.hub("ca", "retire", name, "--yes")
        assert follow(acme) == [root2]
        late = offline.join("late")
        assert follow(late) == [root2]
        assert [row["phase"] for row in offline.hub("ca", "show")] == ["active"]
    with Serving(offline.home):
        assert follow(acme) == [root2]
        assert run("doctor", home=offline.home).code == 0


def test_what_is_not_right_at_the_root_is_said(tmp_path: Path) -> None:
    offline = Offline(tmp_path)
    request = tmp_path / "request.pem"
    request.write_text("no request")
    there = ("--root", str(offline.root), "--out", str(tmp_path / "out"))
    assert run("ca", "sign", str(request), *there).code == 2
    again = run("init", "--offline-root", str(offline.root), home=tmp_path / "other")
    assert (again.reason, (tmp_path / "other").exists()) == ("FOLDER_EXISTS", False)
    (offline.root / "passphrase").unlink()
    with Serving(offline.home):
        offline.hub("ca", "request", "--out", str(request))
    assert run("ca", "sign", str(request), *there).reason == "PASSPHRASE_MISSING"
    assert not (tmp_path / "out").exists()


def test_keys_of_the_hub_open_with_their_passphrase_only(tmp_path: Path) -> None:
    home, phrase = tmp_path / "hub", tmp_path / "phrase"
    assert run("init", "--passphrase-file", str(phrase), home=home).reason == "PASSPHRASE_MISSING"
    phrase.write_text("correct horse")
    phrase.chmod(0o600)
    assert run("init", "--passphrase-file", str(phrase), home=home).code == 0
    assert not (home / "passphrase").exists()
    for name in ("ca.key", "log.key"):
        assert b"PRIVATE KEY" not in (home / "ca" / name).read_bytes()
    phrase.write_text("battery staple")
    refused = run("serve", home=home)
    assert (refused.reason, refused.code) == ("PASSPHRASE_WRONG", 5)
    rows = {row["check"]: row["problem"] for row in run("doctor", "--json", home=home).json}
    assert "does not open" in rows["keys open"]
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "hub").write_text("correct horse")
    named = {"ALLIANCE_HUB_KEYS_CREDENTIAL": "hub", "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    rows = {row["check"]: row["problem"] for row in run("doctor", "--json", home=home, **named).json}
    assert rows["keys open"] == ""
