"""pymerkle's tree in SQLite, in a process of its own: `python -m bench.peers.merkle_tree SIZE` prints rates as JSON.

Proofs are measured on a tree that was just opened, and again on one whose cache has answered others before (`_warm`).
"""

from __future__ import annotations

import importlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

COMMIT = 256
COLD, WARM = 5, 200


def measure(size: int) -> dict[str, float]:
    """Rates per second."""
    tree_of: Any = importlib.import_module("pymerkle").SqliteTree
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/tree.db"
        tree = tree_of(file, algorithm="sha256")
        start = time.perf_counter()
        for at in range(0, size, COMMIT):
            tree.append_entries([b"%0120d" % n for n in range(at, min(at + COMMIT, size))])
        found = {"append": size / (time.perf_counter() - start)}
        tree.close()
        draw = random.Random(size)  # because it chooses what to measure
        works: dict[str, Callable[[Any, int], object]] = {
            "root": lambda tree, _: tree.get_root(size),
            "inclusion": lambda tree, index: tree.prove_inclusion(index, size),
            "consistency": lambda tree, index: tree.prove_consistency(index, size),
        }
        for name, work in works.items():
            cold = []
            for _ in range(COLD):
                fresh = tree_of(file, algorithm="sha256")
                cold.append(_seconds(work, fresh, draw.randrange(1, size)))
                fresh.close()
            found[name] = 1 / statistics.median(cold)
            kept = tree_of(file, algorithm="sha256")
            taken = [_seconds(work, kept, draw.randrange(1, size)) for _ in range(2 * WARM)]
            kept.close()
            found[f"{name}_warm"] = 1 / statistics.median(taken[WARM:])
        return found


def _seconds(work: Callable[[Any, int], object], tree: Any, index: int) -> float:
    start = time.perf_counter()
    work(tree, index)
    return time.perf_counter() - start


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
