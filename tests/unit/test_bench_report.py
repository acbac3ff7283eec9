"""A figure says what it holds, and the page of figures keeps what was not measured anew."""

from __future__ import annotations

import json

from bench.figure import Figure
from bench.report import merged


def figure(name: str, ours: float, **changes: object) -> dict[str, object]:
    fields = {"peer": 10.0, "peer_name": "peer", "target": 2.0, **changes}
    made = Figure(name=name, ours=ours, unit="x", method="counted", **fields)  # type: ignore[arg-type]  # because the keywords are the fields' own
    found: dict[str, object] = json.loads(made.as_json(quick=False))
    return found


def test_a_target_is_held_missed_or_not_judged() -> None:
    assert figure("a", 20.0)["holds"] is True
    assert figure("a", 19.0)["holds"] is False
    assert figure("a", 19.0, bound="at_most")["holds"] is True
    assert figure("a", 19.0, target=None)["holds"] is None
    assert (
        json.loads(
            Figure(name="a", ours=1, unit="x", method="", target=2, judged="ours", full_only=True).as_json(quick=True)
        )["holds"]
        is None
    )


def test_rows_are_replaced_by_name_and_kept_otherwise() -> None:
    first = merged("", [figure("b", 1.0), figure("a", 20.0)])
    second = merged(first, [figure("b", 30.0)])
    names = [line.split("`")[1] for line in second.splitlines() if line.startswith("| `")]
    assert names == ["a", "b"]
    assert "| `b` | 30 |" in second
    assert "| `a` | 20 |" in second
    assert "**no**" in first
    assert "**no**" not in second
