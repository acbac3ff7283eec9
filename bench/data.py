"""Where the real data sets are, for benchmarks and tests: `ALLIANCE_DATA` or `../shared/data`."""

from __future__ import annotations

import os
from pathlib import Path


def folder() -> Path | None:
    """The folder of real data, or None on a machine that has none."""
    named = os.environ.get("ALLIANCE_DATA")
    path = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    return path if path.is_dir() else None
