"""The demo's comparison: a model of everyone's rows in one table, judged on each member's held-back rows."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from demo import generated_urls, urls
from member_agent.catalog.readers.records import Record
from member_agent.training import dataset
from member_agent.training.detector import settle
from member_agent.training.detectors.url_risk import UrlRisk

COLUMNS = {"url": "url", "label": "label"}
PUBLISHERS = ("nike", "sony", "bosch")


def asked(files: list[Path], *, rounds: int, settings: str) -> subprocess.CompletedProcess[str]:
    """The process as the demo starts it."""
    options = ["--detector", "url-risk", "--metric", "f1", "--columns", "url,label", "--settings", settings]
    command = [sys.executable, "-m", "demo.pooled", *options, "--rounds", str(rounds), "--rows", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_it_is_trained_as_long_on_all_rows_and_judged_as_members_are(tmp_path: Path) -> None:
    dealt = generated_urls.dealt(PUBLISHERS, random.Random(1))
    files = list(urls.training(dealt, tmp_path, source="GENERATED URLs").files.values())
    code = UrlRisk().with_key(bytes(32))
    settings = settle(code, {"bits": 12.0, "epochs": 2.0})
    rows = [
        [Record(n, row) for n, row in enumerate(csv.DictReader(path.read_text().splitlines()), start=2)]
        for path in files
    ]
    own = [dataset.split(code.read(mine, COLUMNS, settings)) for mine in rows]
    # One table holds back what the members hold back, and nothing else.
    train, held_back = dataset.split(code.read([row for mine in rows for row in mine], COLUMNS, settings))
    assert len(train) == sum(len(part) for part, _ in own)
    assert set(held_back.groups.tolist()) == {group for _, part in own for group in part.groups.tolist()}
    arrays = code.initial(settings)
    for number in (1, 2):
        arrays = code.train(arrays, train, settings, np.random.default_rng((0, number))).arrays
    each = [code.evaluate(arrays, part, settings)["f1"] for _, part in own]
    assert min(each) < max(each)
    told = asked(files, rounds=2, settings="bits=12,epochs=2")
    assert json.loads(told.stdout)["pooled"] == pytest.approx(np.mean(each), abs=1e-9)


def test_what_is_wrong_is_told_in_a_line(tmp_path: Path) -> None:
    dealt = generated_urls.dealt(PUBLISHERS, random.Random(1))
    files = list(urls.training(dealt, tmp_path, source="GENERATED URLs").files.values())
    told = asked(files, rounds=1, settings="columns=3")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.endswith("[SETTING_UNKNOWN]\n")
