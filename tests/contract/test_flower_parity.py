"""Our loop beside Flower's own, at the benchmark's smaller size: what it shows depends on no clock and no load."""

from __future__ import annotations

from bench import flower_parity
from hub.federation.model import StrategyName


def test_every_strategy_gives_what_flowers_own_loop_gives() -> None:
    figures = list(flower_parity.run(quick=True))
    assert {figure.name for figure in figures} == {f"parity_{name}" for name in StrategyName}
    assert [figure.name for figure in figures if figure.holds(quick=True) is not True] == []
    assert all(figure.ours < 1e-6 for figure in figures)
