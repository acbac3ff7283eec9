"""A federated round end to end: real daemons, real training processes, generated rows, each member sees its gain."""

from __future__ import annotations

import csv
import random
import time
from pathlib import Path

import pytest

from alliance.gains import gain
from alliance.v1 import federation_pb2 as pb
from tests.kit.agents import AgentAlliance, AgentHome, alliance_of_agents
from tests.kit.federation import ended, shown, trigger
from tests.kit.waiting import eventually

MEMBERS = {"acme": "brand", "bigmart": "marketplace", "office": "regulator"}
BAD = ("login", "verify", "secure-update", "free-gift", "account-limited")
GOOD = ("catalogue", "about", "contact", "shoes", "returns")


def generated_urls(path: Path, seed: int, rows: int = 400) -> Path:
    """Generated rows: bad URLs have telling words in odd places; every row has a domain of its own."""
    draw = random.Random(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["link", "is_fake"])
        for n in range(rows):
            bad = draw.random() < 0.4
            words = BAD if bad else GOOD
            writer.writerow([f"http://shop{seed}{n}.example/{draw.choice(words)}/{draw.choice(words)}{n}", int(bad)])
    return path


def joined(made: AgentAlliance, agent: AgentHome, folder: Path, seed: int) -> None:
    data = generated_urls(folder / f"urls-{seed}.csv", seed)
    columns = ("--column", "url=link", "--column", "label=is_fake")
    agent.json_of("detector", "join", "fake-shops", "--data", data, *columns)


@pytest.mark.slow
def test_members_train_together_and_each_sees_its_gain(tmp_path: Path) -> None:
    with alliance_of_agents(MEMBERS, folder=tmp_path / "alliance") as made:
        first = made["acme"]
        proposed = first.json_of("detector", "propose", "fake-shops", "--group", made.group, "--code", "url-risk")
        assert proposed["state"] == "proposed"
        made.hub.admin.call(pb.ApproveDetectorRequest(name="detectors/fake-shops"), pb.ApproveDetectorResponse)
        for seed, name in enumerate(MEMBERS):
            joined(made, made[name], tmp_path, seed)
        with made["acme"].daemon(), made["bigmart"].daemon(), made["office"].daemon():
            started = trigger(made.hub, "detectors/fake-shops", quorum=3, seconds=60)
            done = ended(made.hub, started.name)
        assert done.state == pb.ROUND_STATE_RELEASED, done
        assert {p.state for p in done.participants} == {pb.PARTICIPANT_STATE_EVALUATED}
        for name in MEMBERS:
            gained = made[name].json_of("uplift")
            assert gained[0]["detector"] == "detectors/fake-shops"
            assert 0.5 < gained[0]["federated"] <= 1.0
            assert 0.5 < gained[0]["blended"] <= 1.0
            assert {row["metric"]: row["uplift"] for row in gained} == {
                row["metric"]: pytest.approx(gain(row["metric"], row["federated"], row["local"]), abs=2e-4)
                for row in gained
            }
        shown = first.json_of("round", "list")
        assert (shown[0]["state"], shown[0]["slot"]) == ("released", "evaluated")
        summary = first.json_of("egress", "summary")["by_type"]
        assert summary["model update"] > 0


@pytest.mark.slow
def test_a_member_without_the_file_declines_and_the_others_go_on(tmp_path: Path) -> None:
    with alliance_of_agents(MEMBERS, folder=tmp_path / "alliance") as made:
        made["acme"].json_of("detector", "propose", "fake-shops", "--group", made.group, "--code", "url-risk")
        made.hub.admin.call(pb.ApproveDetectorRequest(name="detectors/fake-shops"), pb.ApproveDetectorResponse)
        for seed, name in enumerate(MEMBERS):
            joined(made, made[name], tmp_path, seed)
        (tmp_path / "urls-2.csv").unlink()
        with made["acme"].daemon(), made["bigmart"].daemon(), made["office"].daemon():
            _present(made, 3)
            done = ended(made.hub, trigger(made.hub, "detectors/fake-shops", quorum=2, seconds=60).name)
        assert done.state == pb.ROUND_STATE_RELEASED, done
        states = {p.member: p.state for p in done.participants}
        assert states["members/office"] == pb.PARTICIPANT_STATE_REFUSED


@pytest.mark.slow
def test_an_agent_killed_in_training_comes_back_and_the_same_round_ends(tmp_path: Path) -> None:
    with alliance_of_agents(MEMBERS, folder=tmp_path / "alliance") as made:
        made["acme"].json_of("detector", "propose", "fake-shops", "--group", made.group, "--code", "url-risk")
        made.hub.admin.call(pb.ApproveDetectorRequest(name="detectors/fake-shops"), pb.ApproveDetectorResponse)
        for seed, name in enumerate(MEMBERS):
            joined(made, made[name], tmp_path, seed)
        with made["acme"].daemon(), made["bigmart"].daemon():
            with made["office"].daemon() as killed:
                started = trigger(made.hub, "detectors/fake-shops", quorum=3, seconds=90)
                _recruited(made, started.name)
                killed.process.kill()
            with made["office"].daemon():
                done = ended(made.hub, started.name)
        assert done.state == pb.ROUND_STATE_RELEASED, done


def _present(made: AgentAlliance, count: int) -> None:
    """Waits until the hub counts so many members as connected."""
    members = [agent.member for agent in made.agents.values()]

    def present() -> bool:
        with made.hub.services.db.read() as tx:
            return len(made.hub.services.membership.present(tx, members, now=time.time_ns() // 1000)) == count

    eventually(present, f"{count} members")


def _recruited(made: AgentAlliance, name: str) -> None:
    """Waits until the round has its slots."""
    eventually(lambda: list(shown(made.hub, name).participants), "the slots")
