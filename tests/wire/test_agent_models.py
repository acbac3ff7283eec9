"""A round releases a model, agents fetch it, and listings are screened by it: over real mutual TLS, real processes."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from alliance.v1 import federation_pb2 as pb
from member_agent.training.models import Held
from tests.kit.agents import AgentAlliance, AgentHome, alliance_of_agents, products
from tests.kit.federation import ended, trigger

MEMBERS = {"acme": "brand", "bigmart": "marketplace"}
DETECTOR = "detectors/fake-shops"
FOUL, FAIR = ("login", "verify", "free-gift"), ("catalogue", "about", "shoes")
SHOP = products(3)


def generated_urls(path: Path, seed: int, rows: int = 120) -> Path:
    """Generated rows: foul URLs have telling words; every row has a domain of its own."""
    draw = random.Random(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["link", "is_fake"])
        for n in range(rows):
            foul = draw.random() < 0.5
            word = draw.choice(FOUL if foul else FAIR)
            writer.writerow([f"http://shop{seed}{n}.example/{word}/{n}", int(foul)])
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentAlliance]:
    """Two members that trained a detector together in two rounds; the marketplace has no model yet."""
    folder = tmp_path_factory.mktemp("trained")
    with alliance_of_agents(MEMBERS, folder=folder) as made:
        acme = made["acme"]
        acme.import_csv(SHOP)
        acme.publish()
        settings = ("--setting", "bits=12", "--setting", "rate=0.5", "--setting", "epochs=3", "--setting", "batch=8")
        acme.run_cli("detector", "propose", "fake-shops", "--group", made.group, "--code", "url-risk", *settings)
        made.hub.admin.call(pb.ApproveDetectorRequest(name=DETECTOR), pb.ApproveDetectorResponse)
        for seed, agent in enumerate(made.agents.values()):
            data = generated_urls(folder / f"urls-{seed}.csv", seed)
            agent.run_cli(
                "detector", "join", "fake-shops", "--data", data, "--column", "url=link", "--column", "label=is_fake"
            )
        with acme.daemon(), made["bigmart"].daemon():
            first = trigger(made.hub, DETECTOR, quorum=2, seconds=60, rounds=2)
            ended(made.hub, first.name, seconds=60)
            done = ended(made.hub, f"rounds/{int(first.name.partition('/')[2]) + 1}", seconds=60)
        assert done.state == pb.ROUND_STATE_RELEASED, done
        yield made


@pytest.fixture
def shop(trained: AgentAlliance) -> AgentHome:
    """The marketplace, with bank and model as synced."""
    trained["bigmart"].json_of("sync")
    return trained["bigmart"]


def listed(shop: AgentHome, *rows: Mapping[str, object]) -> Path:
    return shop.write_csv(rows, "listings.csv")


COPY = {"id": "copy", "title": SHOP[1]["title"], "url": "http://other.example/shoes/1"}
FOUL_COPY = {"id": "foul-copy", "title": SHOP[2]["title"], "url": "http://x.example/login/9"}
FOUL_ONE = {"id": "foul", "title": "garden hose with nozzle", "url": "http://y.example/verify/7"}
FAIR_ONE = {"id": "fair", "title": "wooden chair", "url": "http://z.example/about/3"}
BAD_ONE = {"id": "bad", "title": "tin of paint", "url": "no address"}


def screened(shop: AgentHome, table: Path, *options: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The summary, and the rows of the result."""
    out = shop.folder / "results.jsonl"
    summary = shop.json_of("screen", table, "--out", out, "--no-report-hits", *options)
    return summary, [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def test_a_released_model_is_fetched_and_its_score_reasons_and_version_are_in_every_row(shop: AgentHome) -> None:
    (held,) = held_by(shop)
    label = f"{DETECTOR} 2-{held.digest.hex()[:12]}"
    summary, rows = screened(shop, listed(shop, COPY, FOUL_COPY, FOUL_ONE, FAIR_ONE, BAD_ONE))
    found = {row["listing"]: row for row in rows}
    assert set(found) == {"copy", "foul-copy", "foul"}
    assert all(row["models"] == [label] for row in rows)

    both = found["foul-copy"]
    assert both["score"] == max(both["match_score"], both["model_scores"][0])
    assert both["reasons"][0].startswith("title alike")
    assert any(reason.startswith("fake-shops: ") and "login" in reason for reason in both["reasons"])
    alone = found["foul"]
    assert (alone["fingerprint"], alone["match_score"], alone["score"]) == ("", None, alone["model_scores"][0])
    assert alone["score"] > 60
    assert all(reason.startswith("fake-shops: ") for reason in alone["reasons"])
    assert found["copy"]["model_scores"][0] < 50 <= found["copy"]["score"] == found["copy"]["match_score"]

    assert summary["models"] == {DETECTOR: f"2-{held.digest.hex()[:12]}"}
    assert (summary["listings"], summary["matches"], summary["scored"], summary["risks"]) == (5, 2, 4, 2)
    assert summary["problems"] == ["row 6, url: not a URL with a host [URL_UNREADABLE], no score by fake-shops"]


def held_by(shop: AgentHome) -> Sequence[Held]:
    with shop.open() as agent:
        return agent.models.held()
