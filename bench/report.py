"""`python -m bench NAME --json | python -m bench.report`: rewrites the page's rows of the figures it is given.

docs/reference/benchmarks.md is made of these rows alone; a figure that was not measured anew keeps its row.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "benchmarks.md"
HEAD = """\
# Benchmarks

Every figure is measured beside its peer or physical limit in the same run; `python -m bench NAME` runs one,
`--quick` a smaller one of at most a minute. Absolute figures are of one shared two-core machine and say little;
ratios carry over. A target that was missed says so. This page is written by `python -m bench.report`.

| figure | ours | unit | peer | ratio | target | holds | how |
|---|---|---|---|---|---|---|---|
"""
_ROW = re.compile(r"\| `(?P<name>[^`]+)` \|.*")


def row(figure: dict[str, object]) -> str:
    """A figure as a line of the table."""
    peer = "" if figure["peer"] is None else f"{_number(figure['peer'])} ({figure['peer_name']})"
    bound = "" if figure["target"] is None else f"{figure['judged']} {figure['bound']} {_number(figure['target'])}"
    held = {True: "yes", False: "**no**", None: ""}[figure["holds"]]  # type: ignore[index]  # because JSON is untyped
    size = " (quick)" if figure["quick"] else ""
    cells = (
        f"`{figure['name']}`",
        _number(figure["ours"]),
        figure["unit"],
        peer,
        "" if figure["ratio"] is None else _number(figure["ratio"]),
        bound.replace("_", " "),
        held,
        f"{figure['method']}{size}",
    )
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def merged(page: str, figures: Iterable[dict[str, object]]) -> str:
    """The page with these figures' rows new, all rows sorted by name."""
    rows = {found["name"]: line for line in page.splitlines() if (found := _ROW.match(line))}
    rows |= {str(figure["name"]): row(figure) for figure in figures}
    return HEAD + "\n".join(rows[name] for name in sorted(rows)) + "\n"


def _number(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, int | float) else str(value)


def main() -> None:
    page = PAGE.read_text() if PAGE.exists() else ""
    PAGE.write_text(merged(page, (json.loads(line) for line in sys.stdin if line.startswith("{"))))


if __name__ == "__main__":
    main()
