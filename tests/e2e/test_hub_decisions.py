"""The policy and the released model, decided by two admins on the command line; what was decided survives a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alliance import join_code
from alliance.errors import AllianceError
from alliance.v1 import federation_pb2 as pb
from alliance.v1 import membership_pb2
from hub.operator_client import OperatorClient
from tests.kit.federation import Trainee, plus, spec
from tests.kit.hub_cli import Done, Serving, run
from tests.kit.member import RawMember

INIT = ("init", "--address", "127.0.0.1:0", "--enrolment-address", "127.0.0.1:0", "--admission-cosigners", "0")
PENDING = "APPROVAL_PENDING"
DETECTOR = "detectors/d"


class Console:
    """A hub with two admins, each with a kit; served anew by each `serving`."""

    def __init__(self, folder: Path) -> None:
        self.home, self.second = folder / "hub", folder / "dana"
        self.first = self.home / "operator" / "admin"
        self.served: Serving | None = None

    def by(self, kit: Path, *arguments: str) -> Done:
        assert self.served is not None
        return run("--kit", str(kit), "--hub", self.served.address, *arguments)

    def two(self, *arguments: str) -> Done:
        """What the first proposes and the second approves; gives the approval."""
        alone = self.by(self.first, *arguments)
        assert (alone.reason, alone.out) == (PENDING, "")
        (waiting,) = self.by(self.second, "approval", "list", "--json").json
        return self.by(self.second, "approval", "approve", waiting["name"].partition("/")[2], "--yes", "--json")

    def policy(self) -> dict[str, object]:
        found: dict[str, object] = self.by(self.first, "policy", "show", "--json").json
        return found

    def models(self) -> dict[int, dict[str, object]]:
        return {row["version"]: row for row in self.by(self.first, "model", "list", "d", "--json").json}


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    made = Console(tmp_path_factory.mktemp("decisions"))
    assert run(*INIT, home=made.home).code == 0
    with Serving(made.home) as made.served:
        out = ("--out", str(made.second))
        assert made.by(made.first, "operator", "add", "dana", "--role", "admin", *out).code == 0
        yield made


def test_two_change_the_policy_and_the_settings_say_so(console: Console) -> None:
    before = console.policy()
    assert before["certificate_seconds"] == 86_400
    done = console.two("policy", "set", "certificate_seconds", "7200").json
    assert done["state"] == "approved"
    # What the second admin is asked, on one line.
    etag = before["etag"]
    assert done["request"] == f"policy=(etag={etag} certificate_seconds=7200) update_mask=(paths=certificate_seconds)"
    after = console.policy()
    assert (after["revision"], after["certificate_seconds"]) == (int(str(before["revision"])) + 1, 7200)
    assert console.two("policy", "set", "strictest_ceiling", "green").code == 0
    refused = console.by(console.first, "bank", "create", "shoes", "--group", "shoes", "--scheme", "pdq-256")
    assert refused.reason == "CEILING_ABOVE_POLICY"

    # Read where the hub's home is, no certificate needed.
    shown = run("config", "show", "--origin", "--json", home=console.home).json
    told = {row["setting"]: (row["value"], row["origin"]) for row in shown}
    assert told["membership.certificate_hours"] == (2.0, "policy")
    assert told["fingerprints.strictest_ceiling"] == ("green", "policy")
    assert told["approvals.two_admins"] == ("auto", "policy")
    assert told["log.level"][1] != "policy"


def test_what_was_decided_holds_after_a_restart_whatever_the_environment_says(tmp_path: Path) -> None:
    made = Console(tmp_path)
    assert run(*INIT, home=made.home).code == 0
    with Serving(made.home) as made.served:
        assert made.by(made.first, "policy", "set", "two_admins", "always").code == 0
    with Serving(made.home, ALLIANCE_HUB_APPROVALS_TWO_ADMINS="never") as made.served:
        assert made.by(made.first, "policy", "set", "two_admins", "never").reason == PENDING
        assert (made.policy()["two_admins"], made.policy()["revision"]) == ("always", 1)


def test_of_two_proposals_for_one_policy_the_second_is_made_anew(console: Console) -> None:
    for value in ("3600", "7200"):
        assert console.by(console.first, "policy", "set", "invitation_seconds", value).reason == PENDING
    waiting = console.by(console.second, "approval", "list", "--json").json
    later, earlier = (row["name"].partition("/")[2] for row in waiting)
    assert console.by(console.second, "approval", "approve", earlier, "--yes").code == 0
    assert console.by(console.second, "approval", "approve", later, "--yes").reason == "POLICY_CHANGED"
    assert console.policy()["invitation_seconds"] == 3600
    assert console.by(console.first, "approval", "reject", later).code == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("least_quorum", "many"), "INVALID_INPUT"),
        (("two_admins", "sometimes"), "INVALID_INPUT"),
        (("strictest_ceiling", "pink"), "TLP_UNKNOWN"),
        (("revision", "9"), "INVALID_INPUT"),
    ],
)
def test_a_value_that_is_none_is_refused_before_anything_is_proposed(
    arguments: tuple[str, str], reason: str, console: Console
) -> None:
    assert console.by(console.first, "policy", "set", *arguments).reason == reason
    assert console.by(console.second, "approval", "list", "--json").json == []


class Trained:
    """Two members that train a detector, each round adding one to every value."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.members = [self._join(name) for name in ("acme", "zoo")]
        self.hub = OperatorClient(console.first, console.served.address if console.served else "")
        group = membership_pb2.CreateGroupRequest(name="groups/shoes")
        self.hub.call(group, membership_pb2.CreateGroupResponse)
        for member in self.members:
            add = membership_pb2.AddGroupMemberRequest(group="groups/shoes", member=member.name)
            self.hub.call(add, membership_pb2.AddGroupMemberResponse)
        wanted = pb.ProposeDetectorRequest(name=DETECTOR, group="groups/shoes", spec=spec())
        self.hub.call(wanted, pb.ProposeDetectorResponse)

    def _join(self, name: str) -> RawMember:
        invited = self.console.by(self.console.first, "member", "invite", name, "--role", "brand")
        return RawMember.enrol(join_code.parse(invited.out))

    def train(self) -> None:
        for member in self.members:
            member.call(pb.JoinDetectorRequest(name=DETECTOR), pb.JoinDetectorResponse)
            Trainee(member, spec(), plus(1.0))

    def round(self) -> None:
        done = self.console.by(self.console.first, "round", "trigger", "--detector", "d", "--quorum", "2", "--json")
        number = done.json["round"].partition("/")[2]
        assert self.console.by(self.console.first, "round", "watch", number).code == 0

    def released(self) -> int:
        return self.members[0].call(pb.GetModelRequest(detector=DETECTOR), pb.GetModelResponse).version

    def close(self) -> None:
        self.hub.close()
        for member in self.members:
            member.close()


def test_two_promote_what_is_held_and_take_it_back(console: Console) -> None:
    trained = Trained(console)
    try:
        approve = ("detector", "approve", "d", "--release", "by-promotion", "--json")
        assert console.by(console.first, *approve).json["release"] == "by_promotion"
        trained.train()
        trained.round()
        trained.round()
        assert trained.released() == 0
        done = console.two("model", "promote", "d", "2", "--yes").json
        assert (done["state"], done["request"]) == ("approved", "detector=detectors/d version=2")
        assert trained.released() == 2
        assert console.two("model", "promote", "d", "1", "--yes").code == 0
        assert trained.released() == 1
        rows = console.models()
        assert [(n, row["released"], row["next_round_starts_here"]) for n, row in rows.items()] == [
            (2, False, False),
            (1, True, True),
            (0, False, False),
        ]
        trained.round()
        assert (trained.released(), console.models()[3]["trained_from"]) == (1, 1)

        assert console.two("model", "release", "d", "automatic").code == 0
        trained.round()
        assert trained.released() == 4
        asked = pb.GetModelRequest(detector=DETECTOR, version=2)
        assert trained.members[0].call(asked, pb.GetModelResponse).digest.hex() == rows[2]["digest"]
        with pytest.raises(AllianceError) as caught:
            trained.members[0].call(pb.GetModelRequest(detector=DETECTOR, version=5), pb.GetModelResponse)
        assert caught.value.reason == "MODEL_UNKNOWN"
        assert run("fsck", home=console.home).code == 0
    finally:
        trained.close()
