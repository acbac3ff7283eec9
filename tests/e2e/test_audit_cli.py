"""The audit's commands as a person runs them, at both ends, and what their exit codes say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alliance.v1 import membership_pb2
from tests.kit.agents import AgentAlliance, alliance_of_agents, products
from tests.kit.hub_cli import run
from tests.kit.lying_hub import LyingHub


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentAlliance]:
    members = {"acme": "brand", "bigmart": "marketplace"}
    with alliance_of_agents(members, folder=tmp_path_factory.mktemp("audit")) as a:
        a["acme"].import_csv(products(3))
        a["acme"].publish()
        for name in ("bigmart", "acme"):
            a[name].sync()
        yield a


def verified(what: Path, key: str, script: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(script), str(what), "--key", key]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_member_verifies_compares_and_shows_who_saw_what(pair: AgentAlliance) -> None:
    acme, bigmart = pair["acme"], pair["bigmart"]
    found = acme.json_of("audit", "verify", "--leaves")
    assert (found["verified"], found["witnesses"]) == (True, 1)
    rows = {row["member"]: row for row in acme.json_of("audit", "status")}
    assert set(rows) == {f"{acme.member} (this one)", bigmart.member}
    assert rows[f"{acme.member} (this one)"]["behind"] == 0
    note = bigmart.run_cli("audit", "head").stdout
    same = acme.run_cli("audit", "compare", "-", "--json", text=note)
    assert json.loads(same.stdout)["same"] is True
    forged = acme.run_cli("audit", "compare", "-", text=note.replace("log\n", "log\n9", 1), check=11)
    assert "[CHECKPOINT_FORGED]" in forged.stderr


def test_a_member_proves_what_it_sent_and_a_stranger_checks_it(pair: AgentAlliance, tmp_path: Path) -> None:
    acme = pair["acme"]
    sent = next(
        row for row in acme.json_of("egress", "log", "--last", "500") if row["message"] == "PublishBatchRequest"
    )
    proof = tmp_path / "proof.json"
    shown = acme.run_cli("egress", "prove", str(sent["id"]), "--out", proof).stdout
    assert "batch_published" in shown
    acme.run_cli("audit", "export", "--out", tmp_path / "export")
    key = acme.run_cli("audit", "head", "--key").stdout.strip()
    script = tmp_path / "export" / "verify_log.py"
    for what in (proof, tmp_path / "export"):
        done = verified(what, key, script)
        assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(proof.read_text())
    document["leaf_index"] += 1
    proof.write_text(json.dumps(document))
    done = verified(proof, key, script)
    assert (done.returncode, done.stderr.startswith("does not hold: ")) == (1, True)
    assert "[NOT_LOGGED]" in acme.run_cli("egress", "prove", "1", check=7).stderr
    assert "[PAYLOAD_NOT_FOUND]" in acme.run_cli("egress", "prove", "ab" * 32, check=3).stderr


def test_the_operator_exports_the_same_log(pair: AgentAlliance, tmp_path: Path) -> None:
    done = run("audit", "export", "--out", str(tmp_path / "export"), home=pair.hub.home.path)
    assert done.code == 0, done.err
    key = pair["acme"].run_cli("audit", "head", "--key").stdout.strip()
    assert (tmp_path / "export" / "log-key").read_text().strip() == key
    checked = verified(tmp_path / "export", key, tmp_path / "export" / "verify_log.py")
    assert (checked.returncode, "2 members saw" in checked.stdout) == (0, True), checked.stderr


def test_fsck_backup_and_restore_as_commands(tmp_path: Path) -> None:
    with alliance_of_agents({"acme": "brand"}, folder=tmp_path / "alliance") as a:
        home, file = a.hub.home.path, tmp_path / "hub.tar"
        sound = run("fsck", "--json", home=home)
        assert (sound.code, sound.json["findings"]) == (0, [])
        took = run("backup", "--out", str(file), "--json", home=home)
        assert took.code == 0, took.err
        assert run("backup", "--out", str(file), home=home).reason == "FILE_EXISTS"
        LyingHub(a.hub).execute("UPDATE member SET role = 'regulator'")
        altered = run("fsck", home=home)
        assert (altered.code, altered.reason) == (11, "STORE_CORRUPT")
        assert "members/acme  its role is regulator" in altered.out
    wrong = run("restore", str(file), "--digest", "ab" * 32, home=tmp_path / "second")
    assert (wrong.code, wrong.reason) == (11, "BACKUP_ALTERED")
    made = run("restore", str(file), "--verify", "--digest", took.json["digest"], "--json", home=tmp_path / "second")
    assert made.code == 0, made.err
    assert (made.json["verified"], made.json["missing"]) == (True, ["passphrase"])
    assert "put passphrase into the home" in made.err
    again = run("restore", str(file), home=tmp_path / "second")
    assert (again.code, again.reason) == (4, "HOME_EXISTS")


def test_identities_and_keys_that_changed_are_sound_too(tmp_path: Path) -> None:
    """Admissions are of the identity of their time, sealed keys of the newest; the export has who cosigns now."""
    members = {"acme": "brand", "bigmart": "marketplace", "rival": "brand"}
    with alliance_of_agents(members, folder=tmp_path / "alliance") as a:
        acme, home = a["acme"], a.hub.home.path
        for agent in a.agents.values():
            agent.sync()
        acme.run_cli("identity", "rotate", "--yes")
        request = membership_pb2.ExpelMemberRequest(name=a["rival"].member, reason="sold fakes")
        a.hub.admin.call(request, membership_pb2.ExpelMemberResponse)
        for name in ("acme", "bigmart", "acme"):
            a[name].sync()
        sound = run("fsck", "--json", home=home)
        assert (sound.code, sound.json["findings"]) == (0, [])
        acme.run_cli("audit", "export", "--out", tmp_path / "export")
        key = acme.run_cli("audit", "head", "--key").stdout.strip()
        checked = verified(tmp_path / "export", key, tmp_path / "export" / "verify_log.py")
        assert checked.returncode == 0, checked.stderr
        assert acme.member in {row["member"] for row in _lines(tmp_path / "export" / "cosignatures.jsonl")}


def _lines(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text().splitlines()]
