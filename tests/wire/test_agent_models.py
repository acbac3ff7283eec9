"""A round releases a model, agents fetch it, and listings are screened by it: over real mutual TLS, real processes."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from alliance.errors import Corrupt
from alliance.v1 import federation_pb2 as pb
from member_agent.catalog.readers.records import Record
from member_agent.screening.model import model_score
from member_agent.training.models import Held
from member_agent.training.scorer import Scorer
from tests.kit.agents import AgentAlliance, AgentHome, alliance_of_agents, products
from tests.kit.federation import ended, trigger
from tests.kit.lying_hub import LyingHub, flipped_byte
from tests.kit.waiting import eventually

MEMBERS = {"acme": "brand", "bigmart": "marketplace"}
DETECTOR = "detectors/fake-shops"
FOUL, FAIR = ("login", "verify", "free-gift"), ("catalogue", "about", "shoes")
SHOP = products(3)
COPY = {"id": "copy", "title": SHOP[1]["title"], "url": "http://other.example/shoes/1"}
FOUL_COPY = {"id": "foul-copy", "title": SHOP[2]["title"], "url": "http://x.example/login/9"}
FOUL_ONE = {"id": "foul", "title": "garden hose with nozzle", "url": "http://y.example/verify/7"}
FAIR_ONE = {"id": "fair", "title": "wooden chair", "url": "http://z.example/about/3"}
BAD_ONE = {"id": "bad", "title": "tin of paint", "url": "no address"}
ALL = (COPY, FOUL_COPY, FOUL_ONE, FAIR_ONE, BAD_ONE)


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
    """Two members that trained a detector together, in two rounds; neither has looked for the model yet."""
    folder = tmp_path_factory.mktemp("trained")
    with alliance_of_agents(MEMBERS, folder=folder) as made:
        acme, bigmart = made["acme"], made["bigmart"]
        acme.import_csv(SHOP)
        acme.publish()
        settings = ("--setting", "bits=12", "--setting", "rate=0.5", "--setting", "epochs=3", "--setting", "batch=8")
        acme.run_cli("detector", "propose", "fake-shops", "--group", made.group, "--code", "url-risk", *settings)
        made.hub.admin.call(pb.ApproveDetectorRequest(name=DETECTOR), pb.ApproveDetectorResponse)
        for seed, agent in enumerate(made.agents.values()):
            join(agent, generated_urls(folder / f"urls-{seed}.csv", seed))
        with acme.daemon(), bigmart.daemon():
            first = trigger(made.hub, DETECTOR, quorum=2, seconds=60, rounds=2)
            for number in range(2):
                done = ended(made.hub, f"rounds/{int(first.name.partition('/')[2]) + number}")
        assert done.state == pb.ROUND_STATE_RELEASED, done
        yield made


def join(agent: AgentHome, data: Path) -> None:
    columns = ("--column", "url=link", "--column", "label=is_fake")
    agent.run_cli("detector", "join", "fake-shops", "--data", data, *columns)


@pytest.fixture
def shop(trained: AgentAlliance) -> AgentHome:
    """The marketplace, with bank and model as synced."""
    return synced(trained["bigmart"])


def synced(agent: AgentHome) -> AgentHome:
    """As `alliance-agent sync`, in this process."""
    agent.sync()
    with agent.connected() as (opened, hub):
        opened.models.fetch(hub)
    return agent


def held(agent: AgentHome) -> Held:
    with agent.open() as opened:
        (one,) = opened.models.held()
        return one


def listed(shop: AgentHome, *rows: Mapping[str, object]) -> Path:
    return shop.write_csv(rows, "listings.csv")


def screened(shop: AgentHome, table: Path, *options: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The summary, and the rows of the result by listing."""
    out = shop.folder / "results.jsonl"
    summary = shop.json_of("screen", table, "--out", out, "--no-report-hits", *options)
    rows = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    return summary, {row["listing"]: row for row in rows}


def test_a_released_model_is_fetched_and_its_score_reasons_and_version_are_in_every_row(shop: AgentHome) -> None:
    version = held(shop).label
    assert version.startswith("2-")
    summary, found = screened(shop, listed(shop, *ALL))
    assert set(found) == {"copy", "foul-copy", "foul"}
    assert all(row["models"] == [f"{DETECTOR} {version}"] for row in found.values())

    both = found["foul-copy"]
    assert both["score"] == max(both["match_score"], both["model_scores"][0])
    assert both["reasons"][0].startswith("title alike")
    assert any(reason.startswith("fake-shops: ") and "login" in reason for reason in both["reasons"])
    alone = found["foul"]
    assert (alone["fingerprint"], alone["match_score"], alone["score"]) == ("", None, alone["model_scores"][0])
    assert alone["score"] > 60
    assert all(reason.startswith("fake-shops: ") for reason in alone["reasons"])
    assert found["copy"]["model_scores"][0] < 50 <= found["copy"]["score"] == found["copy"]["match_score"]

    assert summary["models"] == {DETECTOR: version}
    assert (summary["listings"], summary["matches"], summary["scored"], summary["risks"]) == (5, 2, 4, 2)
    assert summary["problems"] == ["row 6, url: not a URL with a host [URL_UNREADABLE], no score by fake-shops"]


def test_a_member_asks_its_own_blend_unless_it_wants_the_model_as_released(shop: AgentHome) -> None:
    table, blended = listed(shop, *ALL), held(shop)
    shared = blended.label.partition("+")[0]
    assert blended.label == f"{shared}+{blended.asked.hex()[:12]}" != shared
    scores: dict[str, int] = {}
    for version, options in ((blended.label, ()), (shared, ("--as-released",))):
        summary, found = screened(shop, table, *options)
        assert summary["models"] == {DETECTOR: version}
        scores[version] = found["foul"]["model_scores"][0]
    with shop.open() as agent, agent.trainer() as trainer:
        released, mine = agent.models.held(as_released=True)[0], agent.models.held()[0]
        rows = [Record(1, {"url": FOUL_ONE["url"]})]
        for one in (mine, released):
            key = agent.feature_keys.of(agent.models.consent(DETECTOR), one.settings)
            (score,) = Scorer(trainer, one, agent.models.path(one), None, key=key).score(rows, {"url": "url"})
            assert score is not None
            assert scores[one.label] == model_score(score)
    assert "blend" not in shop.run_cli("egress", "summary").stdout


def test_what_is_held_is_shown_and_asked_for_once(trained: AgentAlliance) -> None:
    acme = trained["acme"]
    acme.run_cli("sync")
    (acme.home.models / held(acme).digest.hex()).unlink()
    (came,) = acme.json_of("sync")["models"]
    assert (came["model"], came["version"], came["new"]) == (DETECTOR, held(acme).label, True)
    downloads = _downloads(acme)
    (again,) = acme.json_of("sync")["models"]
    assert (again["version"], again["new"]) == (came["version"], False)
    assert _downloads(acme) == downloads
    assert acme.json_of("status")["models"] == {DETECTOR: came["version"]}
    assert acme.json_of("detector", "list")[0]["held"] == came["version"]
    assert "models" not in acme.run_cli("egress", "summary").stdout


def _downloads(agent: AgentHome) -> int:
    rows = agent.json_of("egress", "log", "--last", "1000")
    return sum(row["message"].endswith("DownloadBlobRequest") for row in rows)


def test_every_format_has_what_models_say(shop: AgentHome) -> None:
    table = listed(shop, *ALL)
    for suffix in ("csv", "jsonl", "parquet"):
        shop.run_cli("screen", table, "--out", shop.folder / f"all.{suffix}", "--no-report-hits")
    lines = [json.loads(line) for line in (shop.folder / "all.jsonl").read_text().splitlines()]
    assert pq.read_table(shop.folder / "all.parquet").to_pylist() == lines
    with (shop.folder / "all.csv").open(newline="") as file:
        told = list(csv.DictReader(file))
    assert [row["models"] for row in told] == [line["models"][0] for line in lines]
    assert [row["model_scores"] for row in told] == [str(line["model_scores"][0]) for line in lines]
    assert [row["match_score"] for row in told] == [str(line["match_score"] or "") for line in lines]
    assert [row["reasons"] for row in told] == ["; ".join(line["reasons"]) for line in lines]


def test_models_or_banks_can_be_left_out_and_the_threshold_moved(shop: AgentHome) -> None:
    table = listed(shop, *ALL)
    summary, found = screened(shop, table, "--no-models")
    assert (summary["models"], summary["scored"]) == ({}, 0)
    assert set(found) == {"copy", "foul-copy"}
    assert all((row["models"], row["score"]) == ([], row["match_score"]) for row in found.values())
    summary, found = screened(shop, table, "--no-banks")
    assert (summary["versions"], summary["matches"], set(found)) == ({}, 0, {"foul-copy", "foul"})
    assert set(screened(shop, table, "--model-threshold", "0")[1]) == {"copy", "foul-copy", "foul", "fair"}
    for options, code, said in (
        (("--no-models", "--model", "fake-shops"), 2, "--model: named and excluded at once"),
        (("--no-banks", "--no-models"), 7, "no model can be asked"),
    ):
        refused = shop.run_cli("screen", table, "--out", shop.folder / "no.csv", *options, check=code)
        assert said in refused.stderr
    assert not (shop.folder / "no.csv").exists()


def test_a_file_of_urls_needs_neither_titles_nor_a_bank(trained: AgentAlliance) -> None:
    acme = trained["acme"]
    acme.run_cli("sync")
    acme.home.banks_file.unlink()
    table = acme.write_csv([{"link": FOUL_ONE["url"]}, {"link": ""}], "urls.csv")
    summary, found = screened(acme, table)
    assert set(found) == {FOUL_ONE["url"]}
    assert summary["problem_count"] == 1
    refused = acme.run_cli("screen", table, "--out", acme.folder / "no.csv", "--no-models", check=2)
    assert "[TITLE_UNMAPPED]" in refused.stderr
    acme.run_cli("sync")


def test_columns_that_are_not_found_are_asked_for(shop: AgentHome) -> None:
    table = shop.write_csv([{"id": "a", "title": SHOP[0]["title"], "where": FOUL_ONE["url"]}], "odd.csv")
    summary, found = screened(shop, table)
    assert summary["models_left_out"] == {
        DETECTOR: "the file has no column for url; name it: --role url=COLUMN",
    }
    assert found["a"]["models"] == []
    out = ("--out", shop.folder / "odd-result.csv")
    assert f"not asked: {DETECTOR}: the file has no column for url" in shop.run_cli("screen", table, *out).stderr
    assert "[COLUMN_UNSAID]" in shop.run_cli("screen", table, *out, "--model", "fake-shops", check=2).stderr
    found = screened(shop, table, "--role", "url=where")[1]
    assert found["a"]["model_scores"][0] > 60


def test_screening_asks_no_hub(shop: AgentHome) -> None:
    settings = shop.home.settings_file.read_text()
    shop.set("hub.address", "127.0.0.1:1")
    try:
        assert screened(shop, listed(shop, FOUL_ONE))[1]["foul"]["models"] == [f"{DETECTOR} {held(shop).label}"]
    finally:
        shop.home.settings_file.write_text(settings)


def test_without_a_model_it_says_how_to_get_one(trained: AgentAlliance) -> None:
    bigmart, out = trained["bigmart"], trained["bigmart"].folder / "none.csv"
    table = listed(bigmart, FOUL_ONE)
    never = bigmart.run_cli("screen", table, "--out", out, "--model", "other", check=7)
    assert 'run "alliance-agent detector join other" first [MODEL_NOT_HELD]' in never.stderr
    # Who leaves has no model any more; who joins again has none before it syncs.
    synced(bigmart)
    bigmart.run_cli("detector", "leave", "fake-shops")
    assert bigmart.json_of("sync")["models"] == []
    assert [path.name for path in bigmart.home.models.iterdir() if path.is_file()] == ["lock"]
    join(bigmart, trained.folder / "urls-1.csv")
    early = bigmart.run_cli("screen", table, "--out", out, "--model", "fake-shops", check=7)
    assert 'run "alliance-agent sync"' in early.stderr
    assert screened(bigmart, listed(bigmart, COPY))[0]["models"] == {}


def test_a_damaged_model_is_left_out_or_refused_and_fetched_again(shop: AgentHome) -> None:
    path = shop.home.models / held(shop).digest.hex()
    with flipped_byte(path):
        table = listed(shop, *ALL)
        summary, found = screened(shop, table)
        assert set(found) == {"copy", "foul-copy"}
        assert "[MODEL_DAMAGED]" in summary["models_left_out"][DETECTOR]
        refused = shop.run_cli("screen", table, "--out", shop.folder / "no.csv", "--model", "fake-shops", check=11)
        assert 'remove it, then run "alliance-agent sync" [MODEL_DAMAGED]' in refused.stderr
    path.unlink()
    (came,) = shop.json_of("sync")["models"]
    assert came["new"]
    assert screened(shop, table)[0]["scored"] == 4


def test_without_its_blend_a_member_asks_the_shared_model(trained: AgentAlliance) -> None:
    acme = trained["acme"]
    synced(acme)
    shared = held(acme).label.partition("+")[0]
    table, blend = listed(acme, *ALL), acme.home.models / "blends" / held(acme).asked.hex()
    with flipped_byte(blend):
        assert "[MODEL_DAMAGED]" in screened(acme, table)[0]["models_left_out"][DETECTOR]
        assert screened(acme, table, "--no-banks", "--as-released")[0]["models"] == {DETECTOR: shared}
    kept = blend.read_bytes()
    blend.unlink()
    assert screened(acme, table, "--no-banks")[0]["models"] == {DETECTOR: shared}
    blend.write_bytes(kept)


def test_bytes_of_another_digest_are_not_kept(trained: AgentAlliance) -> None:
    bigmart = trained["bigmart"]
    synced(bigmart)
    model = held(bigmart)
    (bigmart.home.models / model.digest.hex()).unlink()
    with (
        flipped_byte(LyingHub(trained.hub).blob(model.digest)),
        bigmart.connected() as (agent, hub),
        pytest.raises(Corrupt) as raised,
    ):
        agent.models.fetch(hub)
    assert raised.value.reason == "DIGEST_MISMATCH"
    assert not (bigmart.home.models / model.digest.hex()).exists()
    synced(bigmart)
    assert (bigmart.home.models / model.digest.hex()).exists()


def test_a_running_agent_fetches_what_a_round_releases(trained: AgentAlliance) -> None:
    acme, bigmart = trained["acme"], trained["bigmart"]
    synced(bigmart)
    before = held(bigmart)
    bigmart.set("sync.seconds", 1)
    with acme.daemon(), bigmart.daemon():
        done = ended(trained.hub, trigger(trained.hub, DETECTOR, quorum=2, seconds=60).name)
        assert done.state == pb.ROUND_STATE_RELEASED, done
        eventually(lambda: held(bigmart).version != before.version, "the round's model", pause=0.05)
    after = held(bigmart)
    assert (after.version, after.digest) == (done.number, done.result_digest)
    # The one before stays for whoever began to screen with it.
    kept = {path.name for path in bigmart.home.models.iterdir() if path.is_file()}
    assert kept == {"lock", before.digest.hex(), after.digest.hex()}


def test_a_model_that_was_taken_back_is_followed_and_one_that_was_withdrawn_is_dropped(trained: AgentAlliance) -> None:
    bigmart = trained["bigmart"]
    synced(bigmart)
    later, table = held(bigmart), listed(bigmart, *ALL)

    def promote(version: int) -> pb.Model:
        request = pb.PromoteModelRequest(detector=DETECTOR, version=version)
        return trained.hub.admin.call(request, pb.PromoteModelResponse).model

    first = promote(1)
    (came,) = bigmart.json_of("sync")["models"]
    back = held(bigmart)
    assert came["new"]
    assert back.version == first.version == 1 < later.version
    assert back.digest == first.digest
    summary, found = screened(bigmart, table, "--as-released")
    assert summary["models"] == {DETECTOR: f"1-{first.digest.hex()[:12]}"}
    assert found["foul"]["models"] == [f"{DETECTOR} 1-{first.digest.hex()[:12]}"]

    promote(0)
    assert bigmart.json_of("sync")["models"] == []
    assert screened(bigmart, listed(bigmart, COPY))[0]["models"] == {}

    promote(later.version)
    synced(bigmart)
    assert (held(bigmart).version, held(bigmart).digest) == (later.version, later.digest)


def test_a_hub_that_names_no_key_for_the_features_gets_no_update(trained: AgentAlliance) -> None:
    """It would learn of what the weights are: n-grams of a member's URLs, that anybody can hash."""
    acme, bigmart = trained["acme"], trained["bigmart"]
    request = pb.ListDetectorsRequest()
    (named,) = trained.hub.admin.call(request, pb.ListDetectorsResponse).detectors
    assert {one.name: one.value for one in named.spec.train_settings}["key_epoch"] == 1
    kept = named.spec.SerializeToString(deterministic=True)
    for at, setting in enumerate(named.spec.train_settings):
        if setting.name == "key_epoch":
            del named.spec.train_settings[at]
            break
    liar, change = LyingHub(trained.hub), "UPDATE detector SET spec = :spec WHERE name = :name"
    liar.execute(change, spec=named.spec.SerializeToString(deterministic=True), name=DETECTOR)
    try:
        with acme.daemon(), bigmart.daemon():
            done = ended(trained.hub, trigger(trained.hub, DETECTOR, quorum=2, seconds=60).name)
    finally:
        liar.execute(change, spec=kept, name=DETECTOR)
    assert done.state == pb.ROUND_STATE_FAILED
    assert {slot.reason for slot in done.participants} == {"the member declined: failed"}
