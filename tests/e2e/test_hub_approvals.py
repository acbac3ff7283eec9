"""What one admin cannot do alone, on the command line: proposed by one, done when another approves it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from alliance import channel, join_code
from alliance.errors import AllianceError
from alliance.v1 import console_pb2
from alliance.v1 import membership_pb2 as pb
from hub.operator_client import OperatorClient
from tests.kit.hub_cli import Done, Serving, run
from tests.kit.member import RawMember

INIT = ("init", "--address", "127.0.0.1:0", "--enrolment-address", "127.0.0.1:0")
PENDING = "APPROVAL_PENDING"


class Console:
    """A served hub with two admins, each with a kit."""

    def __init__(self, served: Serving, folder: Path) -> None:
        self.served = served
        self.folder = folder
        self.first, self.second = served.home / "operator" / "admin", folder / "dana"
        assert self.by(self.first, "operator", "add", "dana", "--role", "admin", "--out", str(self.second)).code == 0

    def by(self, kit: Path, *arguments: str) -> Done:
        return run("--kit", str(kit), "--hub", self.served.address, *arguments)

    def join(self, name: str) -> RawMember:
        return RawMember.enrol(join_code.parse(self.by(self.first, "member", "invite", name, "--role", "brand").out))

    def standing(self, name: str) -> str:
        return str(self.by(self.first, "member", "show", name, "--json").json["standing"])

    def open(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.by(self.second, "approval", "list", "--json").json
        return found


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    folder = tmp_path_factory.mktemp("approvals")
    assert run(*INIT, home=folder / "hub").code == 0
    with Serving(folder / "hub") as served:
        yield Console(served, folder)


def expel(console: Console, name: str) -> str:
    """The first admin's attempt; gives the number of the action that waits."""
    done = console.by(console.first, "member", "expel", name, "--reason", "sold fakes", "--yes")
    assert (done.reason, done.out) == (PENDING, "")
    [waiting] = [one for one in console.open() if f"members/{name}" in one["request"]]
    assert waiting["call"] == "ExpelMember"
    assert waiting["proposer"] == "operators/admin"
    return waiting["name"].partition("/")[2]


def test_an_admin_alone_expels_nobody_and_two_do(console: Console) -> None:
    console.join("acme").close()
    number = expel(console, "acme")
    assert console.by(console.first, "approval", "approve", number, "--yes").reason == "OWN_ACTION"
    assert console.standing("acme") == "active"
    done = console.by(console.second, "approval", "approve", number, "--yes", "--json")
    assert done.json["state"] == "approved"
    assert console.standing("acme") == "expelled"
    assert console.by(console.second, "approval", "approve", number, "--yes").reason == "ACTION_CLOSED"


def test_a_rejected_proposal_does_nothing(console: Console) -> None:
    console.join("bolt").close()
    number = expel(console, "bolt")
    assert console.by(console.second, "approval", "reject", number, "--json").json["state"] == "rejected"
    assert console.by(console.second, "approval", "approve", number, "--yes").reason == "ACTION_CLOSED"
    assert console.standing("bolt") == "active"


def test_what_fails_when_it_is_approved_stays_open(console: Console) -> None:
    member = console.join("cord")
    number = expel(console, "cord")
    member.call(pb.LeaveAllianceRequest(), pb.LeaveAllianceResponse)
    member.close()
    assert console.by(console.second, "approval", "approve", number, "--yes").reason == "STANDING"
    assert number in [one["name"].partition("/")[2] for one in console.open()]
    console.by(console.second, "approval", "reject", number)


def test_what_is_approved_is_what_was_looked_at(console: Console) -> None:
    console.join("dusk").close()
    number = expel(console, "dusk")
    client = OperatorClient(console.second, console.served.address)
    try:
        request = console_pb2.ApproveActionRequest(name=f"actions/{number}", request_digest=bytes(32))
        with pytest.raises(AllianceError) as caught:
            client.call(request, console_pb2.ApproveActionResponse)
    finally:
        client.close()
    assert caught.value.reason == "ACTION_CHANGED"
    assert console.standing("dusk") == "active"


def test_only_what_needs_two_is_proposed(console: Console) -> None:
    client = OperatorClient(console.first, console.served.address)
    try:
        method = channel.routes()[pb.SuspendMemberRequest.DESCRIPTOR.full_name].lstrip("/")
        with pytest.raises(AllianceError) as caught:
            client.call(console_pb2.ProposeActionRequest(method=method), console_pb2.ProposeActionResponse)
    finally:
        client.close()
    assert caught.value.reason == "ACTION_UNKNOWN"


def test_a_third_admin_is_certified_by_two(console: Console) -> None:
    out = console.folder / "erin"
    add = ("operator", "add", "erin", "--role", "admin", "--out", str(out))
    assert console.by(console.first, *add).reason == PENDING
    assert console.by(console.first, *add).reason == PENDING
    number = json.loads((out / "pending.json").read_text())["action"].partition("/")[2]
    assert console.by(console.second, "approval", "approve", number, "--yes").code == 0
    assert console.by(console.first, *add).code == 0
    names = [one["name"] for one in console.by(out, "operator", "list", "--json").json]
    assert names == ["operators/admin", "operators/dana", "operators/erin"]


def test_a_viewer_is_certified_and_an_auditor_revoked(console: Console) -> None:
    """Certifying anyone but an admin takes one; revoking anyone takes two, and bites at once."""
    out = console.folder / "vera"
    assert console.by(console.first, "operator", "add", "vera", "--role", "viewer", "--out", str(out)).code == 0
    assert console.by(out, "member", "list").code == 0
    assert console.by(console.first, "operator", "revoke", "vera", "--yes").reason == PENDING
    [number] = [one["name"] for one in console.open() if one["call"] == "RevokeOperator"]
    assert console.by(console.second, "approval", "approve", number, "--yes").code == 0
    assert console.by(out, "member", "list").reason == "CERTIFICATE_REVOKED"


@pytest.mark.parametrize("policy", ["never", "always"])
def test_the_policy_is_the_operators_own(policy: str, tmp_path: Path) -> None:
    """`always` holds for a single admin too: nothing of that kind happens until there is another."""
    home = tmp_path / "hub"
    assert run(*INIT, home=home).code == 0
    with Serving(home, ALLIANCE_HUB_APPROVALS_TWO_ADMINS=policy) as served:
        kit = home / "operator" / "admin"
        add = ("operator", "add", "dana", "--role", "admin", "--out", str(tmp_path / "dana"))
        first = run("--kit", str(kit), "--hub", served.address, *add)
        assert first.reason == (PENDING if policy == "always" else "")
        alone = run("--kit", str(kit), "--hub", served.address, "operator", "revoke", "admin", "--yes")
        assert alone.reason == (PENDING if policy == "always" else "")


def test_the_last_admin_is_not_revoked(tmp_path: Path) -> None:
    home = tmp_path / "hub"
    assert run(*INIT, home=home).code == 0
    with Serving(home):
        assert run("operator", "revoke", "admin", "--yes", home=home).reason == "LAST_ADMIN"
