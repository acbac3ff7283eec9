"""Progress of the demo: what a terminal shows while a step lasts, and what stays."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from demo.steps import Steps


def shown(*, terminal: bool) -> str:
    text = StringIO()
    with Steps(Console(file=text, width=120, force_terminal=terminal)).step("members train", 2) as step:
        step.now("url-risk", "rounds/1 training (5 invited)")
        step.now("tabular-risk", "rounds/2 recruiting")
        step.advance()
        step.outcome = "2 rounds"
    return text.getvalue()


def test_a_terminal_shows_how_each_thing_stands_below_the_title() -> None:
    text = shown(terminal=True)
    assert "url-risk: rounds/1 training (5 invited)" in text
    assert text.rindex("tabular-risk: rounds/2 recruiting") < text.rindex("url-risk: rounds/1") < text.rindex("✓")


def test_without_a_terminal_only_what_came_of_it_stays() -> None:
    text = shown(terminal=False)
    assert "rounds/1" not in text
    assert text.splitlines()[-1].endswith("2 rounds")
