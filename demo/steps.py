"""Progress of the demo on the terminal: a spinner, counts and times; plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

_TITLE_WIDTH = 48


class Step:
    """One step under way. `total` counts what it has to do, 0 where it is one thing."""

    def __init__(self, bar: Progress | None, title: str, total: int) -> None:
        self._bar = bar
        self._task = bar.add_task(title, total=total or None) if bar else None
        self._title = title
        self._now: dict[str, str] = {}
        self.outcome = ""

    def advance(self) -> None:
        """One of the total is done; any thread may say so."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)

    def now(self, what: str, state: str) -> None:
        """Shows below the title how one of several things stands, on a terminal; any thread may say so."""
        self._now[what] = state
        if self._bar is not None and self._task is not None:
            lines = (f"    {name}: {text}" for name, text in sorted(self._now.items()))
            self._bar.update(self._task, description="\n".join((self._title, *lines)))


class Steps:
    """Shows steps, one after the other."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begin = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the first step could have begun."""
        return time.monotonic() - self._begin

    @contextmanager
    def step(self, title: str, total: int = 0) -> Iterator[Step]:
        """Shows a step while its body runs, and then what its body left in `outcome`, with the time it took."""
        begin = time.monotonic()
        live = self._live(total) if self._console.is_terminal else None
        if live is None:
            self._print(f"  {title} ...")
        with live or nullcontext():
            step = Step(live, title, total)
            yield step
        self._print(f"✓ {title:<{_TITLE_WIDTH}} {time.monotonic() - begin:6.1f} s  {step.outcome}".rstrip())

    def _live(self, total: int) -> Progress:
        counts = (MofNCompleteColumn(),) if total else ()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), *counts, TimeElapsedColumn())
        return Progress(*columns, console=self._console, transient=True)

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)
