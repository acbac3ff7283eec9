"""The reference says what the code says: pages written from it are up to date, lists kept by hand are complete."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from hub.runtime.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
# Written by one method each, which is told the event.
MEMBERSHIP_EVENTS = {"member_suspended", "member_reinstated", "member_expelled", "member_left"}
DETECTOR_EVENTS = {f"detector_{done}" for done in ("proposed", "approved", "joined", "left")}
SCHEDULE_EVENTS = {f"schedule_{done}" for done in ("created", "paused", "resumed")}


def calls(*folders: str) -> Iterator[ast.Call]:
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*.py")):
            yield from (node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call))


def table(page: str, heading: str) -> set[str]:
    """What the first column of the tables below a heading names."""
    section = (REFERENCE / page).read_text("utf-8").partition(f"## {heading}")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_pages_written_from_the_code_are_up_to_date() -> None:
    checked = subprocess.run(
        [sys.executable, "scripts/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_every_metric_is_told() -> None:
    families = list(Metrics().registry.collect())
    names = {f"{one.name}_total" if one.type == "counter" else one.name for one in families}
    assert names == table("metrics-and-logs.md", "Metrics of the hub")


def test_every_log_event_is_told() -> None:
    events = {
        call.args[0].value
        for call in calls("hub", "member_agent")
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "log"
        and call.func.attr in {"debug", "info", "warning", "error"}
        and isinstance(call.args[0], ast.Constant)
    }
    assert events == table("metrics-and-logs.md", "Log events")


def test_every_entry_of_the_log_is_told() -> None:
    written = {word.value for call in calls("hub") for word in call.keywords if word.arg == "event"}
    events = {_event(value) for value in written if not isinstance(value, ast.Name)}
    events |= MEMBERSHIP_EVENTS | DETECTOR_EVENTS | SCHEDULE_EVENTS
    assert events == {name.partition(":")[0] for name in table("formats.md", "Leaf of the audit log")}


def _event(value: ast.expr) -> str:
    """`member_enrolled` of "member_enrolled" and f"member_enrolled:{role}", `round_STATE` of f"round_{state}"."""
    first = value.values[0] if isinstance(value, ast.JoinedStr) else value
    assert isinstance(first, ast.Constant)
    name = str(first.value).partition(":")[0]
    return f"{name}STATE" if name.endswith("_") else name
