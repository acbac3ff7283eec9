"""`alliance-hub demo` as people run it: the result, looking around while it is up, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest

import bench.data
from demo.result import SCHEMA

UP = "Ctrl-C stops it"
MINUTES = 60.0


@contextmanager
def demo(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command, working in a temporary folder of its own; ended with the test, whatever happens."""
    with (folder / "out.txt").open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "hub", "demo", *arguments],
            cwd=folder,
            env=os.environ | {"TMPDIR": str(folder / "tmp"), "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def wait_for(process: subprocess.Popen[str], folder: Path, words: str, seconds: float) -> str:
    until = time.monotonic() + seconds
    while words not in (shown := (folder / "out.txt").read_text()):
        assert process.poll() is None, shown
        assert time.monotonic() < until, shown
        time.sleep(0.1)
    return shown


def left_behind(folder: Path) -> list[str]:
    """Files in the temporary folder, and live processes that name it."""
    found = [str(path) for path in (folder / "tmp").iterdir()]
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder / "tmp") in word for word in process.info["cmdline"] or ()):
            found.append(" ".join(process.info["cmdline"]))
    return found


def checked_result(file: Path) -> dict[str, Any]:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    result: dict[str, Any] = json.loads(file.read_text())
    jsonschema.validate(result, schema, jsonschema.Draft202012Validator)
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tmp").mkdir()
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(5 * MINUTES)
def test_generated_data_and_a_look_around(folder: Path) -> None:
    with demo(folder, "--json", "demo.json") as process:
        shown = wait_for(process, folder, UP, 5 * MINUTES)
        result = checked_result(folder / "demo.json")
        assert result["generated"] is True
        assert shown.count("GENERATED") >= 3
        assert len(result["members"]) == 8
        assert result["audit"]["verified"] is True
        assert result["audit"]["size"] > len(result["members"])
        assert result["text"]["pc"] >= 0.9
        assert result["images"]["recall"] >= 0.95
        assert set(result["images"]["by_transform"]) == {"reencoded", "resized", "cropped", "padded", "flipped"}
        assert result["egress"]["bytes"] == sum(result["egress"]["by_type"].values())
        assert result["federation"].keys() == {"url-risk"}
        gains = result["federation"]["url-risk"]["members"].values()
        assert len(gains) == 5
        assert sum(one["federated"] - one["local"] for one in gains) > 0
        assert 0.9 < result["federation"]["url-risk"]["pooled"] <= 1.0
        assert "what members gained" in shown
        assert "Of 400 product titles looked for in them, 0 were found." in shown

        (command,) = (line.split() for line in shown.splitlines() if line.strip().endswith("bank list"))
        listed = subprocess.run(
            [sys.executable, "-m", "hub", *command[1:], "--json"], capture_output=True, text=True, check=True
        )
        assert {bank["bank"]: bank["scheme"] for bank in json.loads(listed.stdout)} == {
            "banks/titles": "terms-v1",
            "banks/photos": "pdq-256",
        }
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert left_behind(folder) == []


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.timeout(6 * MINUTES)
def test_real_data_meet_what_the_project_promises(folder: Path) -> None:
    data = bench.data.folder()
    if data is None:
        pytest.skip("the real data sets are not on this machine")
    with demo(folder, "--exit", "--json", "demo.json", "--data", str(data)) as process:
        assert process.wait(5 * MINUTES) == 0, (folder / "out.txt").read_text()
    result = checked_result(folder / "demo.json")
    assert result["generated"] is False
    assert "GENERATED" not in (folder / "out.txt").read_text()
    roles = sorted(member["role"] for member in result["members"])
    assert roles == ["association", *["brand"] * 4, *["marketplace"] * 2, "regulator"]
    assert result["listings_screened"] == 22_074 + 2_152 + 5 * 372
    assert result["text"]["pc"] >= 0.9
    assert result["images"]["recall"] >= 0.95
    assert result["images"]["false_matches"] == 0
    assert result["audit"]["verified"] is True
    federation = result["federation"]
    assert {name: len(one["members"]) for name, one in federation.items()} == {"url-risk": 5, "tabular-risk": 4}
    gains = federation["url-risk"]["members"].values()
    assert sum(one["federated"] - one["local"] for one in gains) > 0
    assert all(one["federated"] > 0.9 for one in gains)
    # Together without sharing rows: nearly what one table of everyone's rows gives, and better than alone.
    pooled, together = federation["url-risk"]["pooled"], sum(one["federated"] for one in gains) / len(gains)
    assert pooled > 0.9
    assert together / pooled >= 0.98
    assert left_behind(folder) == []


@pytest.mark.slow
def test_ctrl_c_in_the_middle_leaves_nothing(folder: Path) -> None:
    with demo(folder) as process:
        wait_for(process, folder, "others join by invitation ...", 2 * MINUTES)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert left_behind(folder) == []


def test_a_missing_folder_is_refused_at_once(folder: Path) -> None:
    with demo(folder, "--exit", "--data", "nowhere") as process:
        assert process.wait(30) == 3
    assert "there is no folder" in (folder / "out.txt").read_text()
    assert left_behind(folder) == []


def test_an_unwritable_result_is_refused_before_the_work(folder: Path) -> None:
    with demo(folder, "--exit", "--json", "no/such/folder/demo.json") as process:
        assert process.wait(30) == 2
    assert "--json: cannot write" in (folder / "out.txt").read_text()
    assert left_behind(folder) == []
