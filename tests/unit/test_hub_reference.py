"""The reference pages that tables of the code are written to say what the tables say now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from alliance.status import CODES

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("script", ["access_table.py", "exit_codes.py"])
def test_a_written_page_is_in_step(script: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_kind_of_error_has_its_own_exit_code() -> None:
    assert sorted(kind.exit_code for kind in CODES) == list(range(1, len(CODES) + 1))
