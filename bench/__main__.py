"""`python -m bench NAME [--quick] [--json]`: run one benchmark; `python -m bench` lists them.

A benchmark is a module `bench/NAME.py` with a docstring (first line: what it measures) and
`run(*, quick: bool) -> Iterator[Figure]`. Exit status 0 whatever the figures say; 2 for bad usage.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from pathlib import Path

NOT_BENCHMARKS = {"__init__", "__main__", "data", "figure", "heart", "kit", "phishing", "report"}
NOT_BENCHMARKS |= {"rounds", "simulation"}


def names() -> list[str]:
    found = {p.stem for p in Path(__file__).parent.glob("*.py")} - NOT_BENCHMARKS
    return sorted(name for name in found if not name.startswith("_"))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", nargs="?", choices=names(), help="which benchmark; without it, the list")
    parser.add_argument("--quick", action="store_true", help="at most 60 s, at the size the benchmark documents")
    parser.add_argument("--json", action="store_true", help="one JSON object per figure")
    args = parser.parse_args(argv)
    if args.name is None:
        for name in names():
            doc = importlib.import_module(f"bench.{name}").__doc__ or ""
            print(f"{name:16s} {doc.splitlines()[0]}")
        return 0
    for figure in importlib.import_module(f"bench.{args.name}").run(quick=args.quick):
        if args.json:
            print(figure.as_json(quick=args.quick), flush=True)
        else:
            peer = "" if figure.peer is None else f"  peer {figure.peer:,.4g} ({figure.peer_name})"
            ratio = "" if figure.ratio is None else f"  ratio {figure.ratio:.3g}"
            held = figure.holds(quick=args.quick)
            verdict = "" if held is None else ("  holds" if held else "  MISSED")
            target = "" if figure.target is None else f"  target {figure.judged} {figure.bound} {figure.target:g}"
            print(f"{figure.name}: {figure.ours:,.4g} {figure.unit}{peer}{ratio}{target}{verdict}", flush=True)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    # As Ctrl-C does: what a benchmark started ends with it.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(main())
