"""`alliance-hub` from a terminal: every command in its own process against a hub that serves in another."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alliance import join_code
from hub.config import FILE
from hub.migrations import newest
from tests.kit.hub_cli import Done, Serving, run
from tests.kit.member import RawMember

HEAVY = ("grpc", "sqlalchemy", "flwr", "cryptography", "alembic", "google.protobuf", "numpy", "pyarrow", "rich")
INIT = ("init", "--address", "127.0.0.1:0", "--enrolment-address", "127.0.0.1:0")
CANARY = "canary-7h2q"


class Town:
    """A served hub, and an operator's terminal."""

    def __init__(self, served: Serving) -> None:
        self.served = served

    def hub(self, *arguments: str, **variables: str) -> Done:
        return run(*arguments, home=self.served.home, **variables)

    def join(self, name: str, role: str = "brand") -> RawMember:
        """Invites on the command line, enrols with the printed code."""
        done = self.hub("member", "invite", name, "--role", role)
        assert done.code == 0, done.err
        return RawMember.enrol(join_code.parse(done.out))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    home = tmp_path_factory.mktemp("cli") / "hub"
    assert run(*INIT, home=home).code == 0
    with Serving(home) as served:
        yield Town(served)


def failed(done: Done, code: int, reason: str) -> None:
    """One line that says what to do, its exit code, and nothing on standard output."""
    assert (done.code, done.reason, done.out) == (code, reason, ""), done
    assert len(done.err.strip().splitlines()) == 1, done.err
    assert "Traceback" not in done.err


# Starting up.


def test_help_needs_nothing_heavy() -> None:
    """What keeps `--help` under 0.3 s: none of these may be imported before a command runs."""
    code = f"import sys, hub.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_names_every_command() -> None:
    done = run("--help")
    assert done.code == 0
    for command in ("init", "serve", "member", "group", "bank", "operator", "audit", "config", "doctor", "migrate"):
        assert f"\n  {command} " in done.out


def test_init_makes_a_hub_once(tmp_path: Path) -> None:
    home = tmp_path / "hub"
    done = run("init", "--alliance", "shoes.example", "--json", home=home)
    assert done.json["operator"] == "operators/admin"
    fingerprint = done.json["ca_fingerprint"]
    assert len(fingerprint.split(":")) == 32
    secret_files = [home / "ca" / "ca.key", home / "ca" / "log.key", home / "operator" / "admin" / "key.pem"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in [home, *secret_files]] == [0o700, 0o600, 0o600, 0o600]
    failed(run("init", home=home), 4, "HOME_EXISTS")
    assert list(tmp_path.iterdir()) == [home]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("--alliance", "Not A Domain"), "alliance.name"),
        (("--address", "nowhere"), "server.address"),
        (("--operator", "Dana Scully"), "operator"),
        (("--database-url", "mysql://localhost/hub"), "database.url"),
    ],
)
def test_an_init_that_fails_leaves_nothing(arguments: tuple[str, str], field: str, tmp_path: Path) -> None:
    done = run("init", *arguments, home=tmp_path / "hub")
    assert (done.code, list(tmp_path.iterdir())) == (2, [])
    assert done.err.startswith(f"error: {field}: ")


def test_commands_say_what_is_missing(tmp_path: Path) -> None:
    failed(run("serve", home=tmp_path), 7, "NOT_INITIALISED")
    failed(run("member", "list", home=tmp_path), 7, "NO_OPERATOR_KIT")
    home = tmp_path / "hub"
    run(*INIT, home=home)
    failed(run("member", "list", home=home), 7, "NO_HUB_ADDRESS")
    failed(run("--hub", "127.0.0.1:1", "member", "list", home=home), 10, "UNAVAILABLE")
    failed(
        run("--kit", str(tmp_path / "none"), "--hub", "127.0.0.1:1", "member", "list", home=home), 7, "KIT_UNREADABLE"
    )


def test_the_command_line_itself_may_be_wrong() -> None:
    assert run("nonsense").code == 2
    assert run("member", "invite").code == 2


# One hub per home, and how it ends.


def test_a_second_hub_on_the_same_home_is_refused(town: Town) -> None:
    for command in ("serve", "migrate"):
        done = town.hub(command)
        failed(done, 7, "ALREADY_RUNNING")
        assert "stop it first" in done.err
    assert town.hub("member", "list").code == 0


def test_a_taken_port_is_said(town: Town, tmp_path: Path) -> None:
    home = tmp_path / "hub"
    run("init", "--address", town.served.address, "--enrolment-address", "127.0.0.1:0", home=home)
    done = run("serve", home=home)
    assert (done.code, done.reason) == (7, "ADDRESS_IN_USE")


def test_a_terminated_hub_ends_well_and_comes_back(tmp_path: Path) -> None:
    home = tmp_path / "hub"
    run(*INIT, home=home)
    with Serving(home) as served:
        assert run("group", "create", "shoes", home=home).code == 0
        assert served.end(signal.SIGTERM) == 0
    assert run("migrate", home=home).out == f"revision {newest()}, nothing to do\n"
    with Serving(home):
        assert run("group", "list", "--json", home=home).json == [{"group": "groups/shoes", "members": ""}]


@pytest.mark.parametrize("listener", ["address", "enrolment_address"])
def test_tls_below_1_3_is_refused(listener: str, town: Town) -> None:
    host, _, port = getattr(town.served, listener).rpartition(":")
    kit = town.served.home / "operator" / "admin"

    def handshake(version: ssl.TLSVersion) -> str | None:
        context = ssl.create_default_context(cafile=str(kit / "ca.pem"))
        context.load_cert_chain(kit / "certificate.pem", kit / "key.pem")
        context.set_alpn_protocols(["h2"])
        context.maximum_version = version
        with (
            socket.create_connection((host, int(port)), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as opened,
        ):
            return opened.version()

    assert handshake(ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(ssl.TLSVersion.TLSv1_2)


# Members.


def test_a_member_from_invitation_to_expulsion(town: Town) -> None:
    invited = town.hub("member", "invite", "acme", "--role", "marketplace", "--hours", "1")
    assert (invited.out.count("\n"), invited.err[:16]) == (1, "for members/acme")
    assert town.hub("member", "show", "acme", "--json").json["standing"] == "invited"
    member = RawMember.enrol(join_code.parse(invited.out))
    member.close()
    reason = f"late fees {CANARY}"
    assert town.hub("member", "suspend", "acme", "--reason", reason).code == 0
    shown = town.hub("member", "show", "members/acme", "--json").json
    assert (shown["role"], shown["standing"], shown["reason"]) == ("marketplace", "suspended", reason)
    failed(town.hub("member", "suspend", "acme", "--reason", "again"), 7, "STANDING")
    assert town.hub("member", "reinstate", "acme", "--reason", "paid", "--json").json["standing"] == "active"
    asked = town.hub("member", "expel", "acme", "--reason", "sold fakes")
    assert asked.code == 1  # nobody answered the question
    assert (
        town.hub("member", "expel", "acme", "--reason", "sold fakes", "--yes", "--json").json["standing"] == "expelled"
    )
    listed = {row["member"]: row for row in town.hub("member", "list", "--json").json}
    assert listed["members/acme"]["enrolled"] != ""


def test_what_cannot_be_done_to_a_member(town: Town) -> None:
    failed(town.hub("member", "show", "nobody"), 3, "MEMBER_NOT_FOUND")
    failed(town.hub("member", "suspend", "No Body", "--reason", "why"), 2, "NAME_MALFORMED")
    failed(town.hub("member", "invite", "other", "--role", "pirate"), 2, "INVALID_INPUT")
    failed(town.hub("member", "invite", "other", "--role", "brand", "--hours", "10000000"), 2, "INVALID_INPUT")
    town.join("taken").close()
    failed(town.hub("member", "invite", "taken", "--role", "brand"), 4, "MEMBER_EXISTS")


def test_a_join_code_as_json_is_the_same_code(town: Town) -> None:
    shown = town.hub("member", "invite", "jason", "--role", "expert", "--json").json
    code = join_code.parse(shown["join_code"])
    assert (code.member, code.address) == (shown["member"], town.served.enrolment_address)


def test_groups_and_banks(town: Town) -> None:
    member = town.join("bagmaker")
    member.close()
    assert town.hub("group", "create", "bags").code == 0
    assert town.hub("group", "add", "bags", "bagmaker", "--json").json["members"] == member.name
    made = town.hub("bank", "create", "bags-titles", "--group", "bags", "--scheme", "terms-v1", "--json").json
    bank = {"bank": "banks/bags-titles", "group": "groups/bags", "tlp": "amber", "scheme": "terms-v1", "entries": 0}
    assert made == bank
    assert made in town.hub("bank", "list", "--json").json
    assert "banks/bags-titles" in town.hub("bank", "list").out
    failed(town.hub("group", "create", "bags"), 4, "GROUP_EXISTS")
    failed(town.hub("group", "add", "bags", "bagmaker"), 4, "MEMBER_IN_GROUP")
    failed(town.hub("bank", "create", "x", "--group", "bags", "--scheme", "md5"), 2, "SCHEME_UNKNOWN")
    failed(town.hub("bank", "create", "x", "--group", "none", "--scheme", "terms-v1"), 3, "GROUP_NOT_FOUND")


# Operators.


def test_a_viewer_looks_and_does_not_touch(town: Town, tmp_path: Path) -> None:
    town.join("viewed").close()
    kit = tmp_path / "kit"
    assert town.hub("operator", "add", "victor", "--role", "viewer", "--out", str(kit)).code == 0
    assert stat.S_IMODE((kit / "key.pem").stat().st_mode) == 0o600
    # From another machine: nothing but the kit.
    assert run("--kit", str(kit), "member", "list").code == 0
    assert run("audit", "verify", ALLIANCE_OPERATOR_KIT=str(kit)).code == 0
    refused = run("--kit", str(kit), "member", "suspend", "viewed", "--reason", "why")
    failed(refused, 6, "ROLE_NOT_PERMITTED")
    assert town.hub("member", "show", "viewed", "--json").json["standing"] == "active"
    failed(town.hub("operator", "add", "victor", "--role", "viewer", "--out", str(kit)), 4, "ALREADY_EXISTS")
    other = str(tmp_path / "other")
    failed(town.hub("operator", "add", "victor", "--role", "admin", "--out", other), 4, "OPERATOR_EXISTS")
    failed(town.hub("operator", "add", "wendy", "--role", "queen", "--out", other), 2, "INVALID_INPUT")


# The log.


def test_the_log_verifies_and_has_a_signed_head(town: Town) -> None:
    verified = town.hub("audit", "verify", "--json").json
    assert verified["verified"] is True
    assert verified["size"] > 0
    head = town.hub("audit", "head").out.splitlines()
    assert head[0] == "alliance.example/log"
    assert int(head[1]) >= verified["size"]


def test_logs_are_events_and_hold_no_payload(town: Town) -> None:
    """Refusals are logged with their reason; what people typed is not."""
    town.hub("member", "suspend", "nobody", "--reason", CANARY)
    events = [json.loads(line) for line in town.served.log.read_text().splitlines()]
    assert {"hub_serving", "rpc_refused"} <= {event["event"] for event in events}
    assert CANARY not in town.served.log.read_text()


# Settings and the doctor.


def test_settings_come_from_default_file_and_environment(town: Town) -> None:
    done = town.hub("config", "show", "--origin", "--json", ALLIANCE_HUB_LOG_LEVEL="error")
    rows = {row["setting"]: (row["value"], row["origin"]) for row in done.json}
    assert rows["server.address"] == ("127.0.0.1:0", FILE)
    assert rows["log.level"] == ("error", "$ALLIANCE_HUB_LOG_LEVEL")
    assert town.hub("config", "check").out.startswith("ok: ")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[log]\nlevel = 'loud'\n", "log.level"),
        ("[server]\nworkers = 0\n", "server.workers"),
        ("[server]\nworkers = 'many'\n", "server.workers"),
        ("[server]\npublic_address = 'hub'\n", "server.public_address"),
        ("[server]\ncolour = 'red'\n", "server.colour"),
        ("[server\n", ""),
    ],
)
def test_settings_that_serve_would_refuse_are_refused_by_check(text: str, field: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    done = run("config", "check", home=tmp_path)
    assert done.code == 2
    assert done.err.startswith(f"error: {field}")
    assert run("serve", home=tmp_path).err == done.err


def test_the_doctor_finds_a_hub_well(town: Town) -> None:
    done = town.hub("doctor", "--json")
    assert [row for row in done.json if row["problem"]] == []
    assert (done.code, len(done.json)) == (0, 7)


def test_the_doctor_names_each_problem_with_its_remedy(tmp_path: Path) -> None:
    home = tmp_path / "hub"
    run(*INIT, home=home)
    (home / "ca" / "ca.key").chmod(0o644)
    (home / "operator" / "admin" / "certificate.pem").unlink()
    (home / "hub.db").unlink()
    done = run("doctor", "--json", home=home)
    problems = {row["check"]: row["remedy"] for row in done.json if row["problem"]}
    assert done.code == 1
    assert problems.keys() == {"secret files", "database", "operator kits", "listening"}
    assert all(problems.values())
    assert run("doctor", home=tmp_path / "none").code == 1
