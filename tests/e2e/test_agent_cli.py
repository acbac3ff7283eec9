"""The agent's command line as its users run it: real processes, real mutual TLS, exit codes and JSON."""

from __future__ import annotations

import configparser
import csv
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from alliance.errors import Corrupt
from alliance.names import MemberId
from alliance.release import VERSION
from tests.kit.agents import AgentAlliance, AgentHome, alliance_of_agents, products
from tests.kit.connect_proxy import ConnectProxy
from tests.kit.hub import RunningHub

SHOP = products(6)


@pytest.fixture(autouse=True)
def no_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC goes around every proxy for a target these name, and machines name loopback in them."""
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy", "NO_GRPC_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def one(tmp_path: Path) -> Iterator[AgentAlliance]:
    with alliance_of_agents({"acme": "brand"}, folder=tmp_path) as running:
        yield running


def published(home: AgentHome) -> dict[str, tuple[bool, str]]:
    """Per product: whether it was withdrawn, and how often it matched."""
    rows = home.json_of("published")
    return {row["product"]: (row["withdrawn"], row["hits"]) for row in rows}


@pytest.mark.slow
def test_a_whole_life(hub: RunningHub, tmp_path: Path) -> None:
    acme = AgentHome.at(MemberId("members/acme"), tmp_path / "acme")
    joined = acme.run_cli("join", "--json", text=hub.invite("acme").encode() + "\n")
    assert json.loads(joined.stdout)["member"] == "members/acme"
    bigmart = AgentHome.join(hub.invite("bigmart"), tmp_path / "bigmart")
    group = hub.create_group("shoes")
    hub.create_bank("titles", group)
    shop = AgentAlliance(hub=hub, folder=tmp_path, agents={}, group=group, banks=())
    for home in (acme, bigmart):
        shop.add_to_group(home)

    catalogue = acme.write_csv(SHOP, "shop.csv")
    assert acme.json_of("catalog", "import", catalogue, "--yes")["new"] == 6
    assert acme.json_of("publish", "--no-send")["rows"] == 6
    (waiting,) = acme.json_of("egress", "preview")
    assert (waiting["message"], waiting["fields"]["batch"]["row_count"]) == ("PublishBatchRequest", 6)
    waits = acme.json_of("status")
    assert (waits["outbox"]["waiting"], waits["running"], waits["hub_answers"]) == (1, "no", VERSION)
    acme.run_cli("sync")
    (bank,) = bigmart.json_of("sync")["banks"]
    assert (bank["cursor"], bank["rows"]) == (1, 6)

    listings = bigmart.write_csv([{"id": "copy", "title": SHOP[2]["title"]}], "listings.csv")
    results = tmp_path / "results.jsonl"
    assert bigmart.json_of("screen", listings, "--out", results)["matches"] == 1
    (match,) = map(json.loads, results.read_text().splitlines())
    assert (match["listing"], match["publisher"]) == ("copy", "members/acme")
    bigmart.sync()
    hits = published(acme)
    assert (hits["p2"], hits["p1"]) == ((False, "1_to_9"), (False, "none"))

    assert acme.json_of("withdraw", "--product", "p2")["withdrawn"] == 1
    assert published(acme)["p2"] == (True, "1_to_9")
    bigmart.sync()
    bigmart.run_cli("screen", listings, "--out", results)
    assert results.read_text() == ""

    assert acme.json_of("audit", "verify")["verified"] is True
    kinds = acme.json_of("egress", "summary")["by_type"]
    assert {"enrolment", "sealed batch", "batch header", "tombstone", "question"} <= set(kinds)
    before = waits["certificate_until"]
    assert acme.json_of("renew")["certificate_until"] >= before
    assert acme.json_of("leave", "--yes")["standing"] == "left"
    bigmart.sync()
    assert sum(int(bank.alive().sum()) for bank in bigmart.contents()) == 0


def test_every_result_format_says_the_same(one: AgentAlliance, tmp_path: Path) -> None:
    acme = one["acme"]
    acme.import_csv(SHOP)
    acme.publish()
    acme.sync()
    listings = acme.write_csv([{"id": "ä;\n", "title": p["title"]} for p in SHOP], "listings.csv")
    for suffix in ("csv", "jsonl", "parquet"):
        acme.run_cli(
            "screen", listings, "--out", tmp_path / f"results.{suffix}", env={"LC_ALL": "C", "PYTHONUTF8": "0"}
        )
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 6
    assert pq.read_table(tmp_path / "results.parquet").to_pylist() == lines
    with (tmp_path / "results.csv").open(newline="", encoding="utf-8") as file:
        numbers = ("row", "score", "match_score")
        told = [{**row, **{name: int(row[name]) for name in numbers}} for row in csv.DictReader(file)]
    joined = [{name: "; ".join(v) if isinstance(v, list) else v for name, v in line.items()} for line in lines]
    assert told == joined


def test_a_result_file_without_a_format_is_refused_before_any_work(one: AgentAlliance, tmp_path: Path) -> None:
    listings = one["acme"].write_csv(SHOP, "listings.csv")
    refused = one["acme"].run_cli("screen", listings, "--out", tmp_path / "results.xls", check=2)
    assert "[INVALID_INPUT]" in refused.stderr
    assert ".parquet" in refused.stderr


def test_everything_goes_through_the_proxy(hub: RunningHub, tmp_path: Path) -> None:
    acme = AgentHome.at(MemberId("members/acme"), tmp_path / "acme")
    code = hub.invite("acme").encode()
    with ConnectProxy() as proxy:
        acme.run_cli("join", "--proxy", proxy.url, text=code)
        assert proxy.targets == [hub.enrolment_address]
        acme.run_cli("sync")
        assert proxy.targets == [hub.enrolment_address, hub.address]
        examined = acme.json_of("doctor")
        assert {"check": "proxy", "problem": "", "remedy": "", "found": proxy.url} in examined
        # What gRPC takes from the environment, the doctor takes too.
        carried = proxy.connections
        exempt = acme.run_cli("doctor", "--json", env={"no_proxy": "127.0.0.1"})
        assert next(row for row in json.loads(exempt.stdout) if row["check"] == "proxy")["found"] == "none"
        assert proxy.connections == carried
    gone = acme.run_cli("sync", check=10)  # nothing goes around a proxy that is down
    assert "alliance-agent doctor" in gone.stderr


def test_a_proxy_of_the_environment_is_taken(one: AgentAlliance) -> None:
    with ConnectProxy() as proxy:
        one["acme"].run_cli("sync", env={"https_proxy": proxy.url})
        assert proxy.targets == [one.hub.address]


def test_a_proxy_that_refuses_is_a_clear_failure(one: AgentAlliance) -> None:
    with ConnectProxy(refuse=True) as proxy:
        one["acme"].set("hub.proxy", proxy.url)
        refused = one["acme"].run_cli("sync", check=10)
        assert proxy.refused > 0
    assert refused.stderr.count("\n") == 1
    assert refused.stderr.startswith("error: ")


def test_too_little_memory_is_a_clear_failure(one: AgentAlliance) -> None:
    one["acme"].set("limits.memory_mb", 16)
    refused = one["acme"].run_cli("sync", check=9)
    assert refused.stderr.startswith("error: limits.memory_mb: ")
    assert refused.stderr.count("\n") == 1


def test_a_bank_of_others_is_not_there(one: AgentAlliance) -> None:
    one.hub.create_bank("foreign", one.hub.create_group("others"))
    one["acme"].import_csv(SHOP)
    refused = one["acme"].run_cli("publish", "--bank", "foreign", check=3)
    assert "[BANK_NOT_FOUND]" in refused.stderr


def test_a_home_that_has_not_joined_says_so(tmp_path: Path) -> None:
    nobody = AgentHome.at(MemberId("members/nobody"), tmp_path)
    for command in ("run", "publish"):
        refused = nobody.run_cli(command, check=7)
        assert 'run "alliance-agent join" first [NOT_JOINED]' in refused.stderr
    damaged = nobody.run_cli("join", text="alliance1_abc", check=2)
    assert "[JOIN_CODE_MALFORMED]" in damaged.stderr


def test_the_doctor_says_what_is_wrong_when_the_hub_is_gone(tmp_path: Path) -> None:
    with alliance_of_agents({"acme": "brand"}, folder=tmp_path) as one:
        assert all(not row["problem"] for row in one["acme"].json_of("doctor"))
    examined = json.loads(one["acme"].run_cli("doctor", "--json", check=1).stdout)
    problems = {row["check"] for row in examined if row["problem"]}
    assert problems == {"hub reachable", "tls inspection", "hub answers"}
    assert all(row["remedy"] for row in examined if row["problem"])


def test_the_doctor_opens_the_keys_first(one: AgentAlliance) -> None:
    passphrase = one["acme"].home.path / "passphrase"
    passphrase.write_text("wrong")
    (row,) = (row for row in json.loads(one["acme"].run_cli("doctor", "--json", check=1).stdout) if row["problem"])
    assert "does not open keys.sealed" in row["problem"]
    passphrase.chmod(0o644)
    (row,) = (row for row in json.loads(one["acme"].run_cli("doctor", "--json", check=1).stdout) if row["problem"])
    assert ("readable by others" in row["problem"], "chmod 600" in row["remedy"]) == (True, True)


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    folder = tmp_path / "a home 100% odd $HERE"
    with alliance_of_agents({"acme": "brand"}, folder=folder) as one:
        acme = one["acme"]
    acme.set("limits.cpus", 2)
    acme.set("limits.memory_mb", 900)
    printed = acme.run_cli("service", "install", "--dry-run", "--user", "root").stdout
    unit = configparser.RawConfigParser(strict=True)
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # because systemd's keys have capitals
    unit.read_string(printed)
    section = unit["Service"]
    assert (section["CPUQuota"], section["MemoryMax"], section["User"]) == ("200%", "900M", "root")
    # An alarm is not started away.
    assert section["RestartPreventExitStatus"] == str(Corrupt.exit_code)
    home = str(acme.home.path).replace("%", "%%")
    assert section["ReadWritePaths"] == f'"{home}"'
    assert section["ExecStart"].endswith(f'--home "{home.replace("$", "$$")}" run')
    if verify := shutil.which("systemd-analyze"):
        file = tmp_path / "alliance-agent.service"
        file.write_text(printed)
        found = subprocess.run([verify, "verify", str(file)], capture_output=True, text=True, timeout=60)
        assert (found.returncode, found.stderr) == (0, "")
