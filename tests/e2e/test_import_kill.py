"""Kill -9 in the middle of an import: nothing acknowledged is lost, nothing is doubled."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from member_agent.catalog.model import ImportCounts, Origin, source_name
from member_agent.catalog.service import CatalogService

ROWS = 50_000
KILLS = 4
SHOP = source_name("shop")
CHILD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from member_agent.catalog.model import Origin, source_name
from member_agent.catalog.service import CatalogService

with CatalogService(Path(sys.argv[1]), lambda: datetime.now(UTC)) as service:
    plan = service.plan_import(Origin(path=Path(sys.argv[2])), source=source_name("shop"))
    service.run_import(plan, prune=True, progress=lambda step: print(step.rows, flush=True))
print("done", flush=True)
"""


def _generated(path: Path, *, titles: str, step: int) -> Path:
    """A generated catalogue of `ROWS` rows: every `step`th as in the other file, some broken, some twice."""
    with path.open("w") as file:
        file.write("id,title,brand,gtin,price\n")
        for n in range(ROWS):
            title = f"Shoe {n}" if n % step == 0 else f"{titles} {n}"
            if n % 997 == 5:
                file.write(f'{n},"never closed\n')
            elif n % 991 == 7:
                file.write(f"{n - 7},Again,,,\n")
            else:
                file.write(f"{n},{title},Brand {n % 50},,{n / 100}\n")
    return path


def _open(home: Path) -> CatalogService:
    return CatalogService(home, lambda: datetime.now(UTC))


def _import(home: Path, path: Path) -> ImportCounts:
    with _open(home) as service:
        return service.run_import(service.plan_import(Origin(path=path), source=SHOP), prune=True).counts


def _contents(home: Path) -> list[object]:
    with _open(home) as service:
        products = [(one.id, one.source_key, one.title, one.content_digest) for one in service.products()]
        errors = (home / "errors" / "shop.csv").read_text()
        return [products, sorted(service.changes().withdrawn), errors]


def _killed(home: Path, path: Path, chance: random.Random) -> tuple[int, bool]:
    """Starts the import and kills it some time after its first commit; (last row acknowledged, whether it ended)."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, home, path], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child, child.stdout as lines:
        acknowledged = [next(lines)]
        time.sleep(chance.random() * 0.2)
        child.send_signal(signal.SIGKILL)
        acknowledged += lines
    numbers = [int(line) for line in acknowledged if line.strip().isdigit()]
    return max(numbers, default=0), "done\n" in acknowledged


@pytest.mark.slow
def test_an_import_killed_at_random_ends_as_one_that_was_not(tmp_path: Path) -> None:
    chance = random.Random(2)
    old = _generated(tmp_path / "old.csv", titles="Boot", step=2)
    new = _generated(tmp_path / "new.csv", titles="Hat", step=3)
    with new.open("a") as file:
        file.write("brand new,Cap,,,\n")
    with old.open("a") as file:
        file.write("gone,Glove,,,\n")
    _import(tmp_path / "whole", old)
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    expected = _import(tmp_path / "whole", new)
    assert min(expected.new, expected.changed, expected.unchanged, expected.rejected, expected.withdrawn) > 0

    kills, before = 0, 0
    for _ in range(KILLS):
        acknowledged, ended = _killed(tmp_path / "killed", new, chance)
        assert not ended, "the kills came too late to show anything"
        with _open(tmp_path / "killed") as service:
            committed = service.plan_import(Origin(path=new), source=SHOP).resumes_after
        assert committed >= acknowledged > before, "every start goes on after the last row, and keeps what it said"
        kills, before = kills + 1, committed
    assert kills == KILLS
    assert _import(tmp_path / "killed", new) == expected
    assert _contents(tmp_path / "killed") == _contents(tmp_path / "whole")
