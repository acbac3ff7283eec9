"""Picture hashing and hash search as others do it: pdqhash and faiss, in a process of their own, on one processor.

`python -m bench.peers.picture_tools TOOL FOLDER` reads its input from FOLDER (picture-*.npy, or values.npy and
queries.npy) and prints one line of JSON: the seconds taken (best of three), and for a search the number of pairs found.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"pdqhash": "pdqhash", "faiss-flat": "faiss", "faiss-multihash": "faiss"}


def run(tool: str, folder: Path) -> dict[str, float] | None:
    """What the tool measured, or None, told on standard error, where it is not installed."""
    package = PACKAGES[tool]
    own = ROOT / ".venv-bench" / "bin" / "python"
    python = sys.executable if importlib.util.find_spec(package) else str(own)
    command = [python, "-m", "bench.peers.picture_tools", tool, str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        last = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
        print(f'bench pdq: no peer {tool} ({last}); run "make bench-env" to have it', file=sys.stderr)
        return None
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def best_of_three(work: Callable[[], Any]) -> tuple[float, Any]:
    """The shortest time of three runs after one to warm up, in seconds, and the last result."""
    result = work()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return min(times), result


def _pdqhash(folder: Path) -> dict[str, float]:
    pdqhash = importlib.import_module("pdqhash")
    pictures = [np.load(path) for path in sorted(folder.glob("picture-*.npy"))]
    seconds, _ = best_of_three(lambda: [pdqhash.compute(picture) for picture in pictures])
    return {"seconds": seconds}


def _faiss(folder: Path, make: Callable[[Any], Any]) -> dict[str, float]:
    faiss = importlib.import_module("faiss")
    faiss.omp_set_num_threads(1)
    queries = np.load(folder / "queries.npy")
    index = make(faiss)
    index.add(np.load(folder / "values.npy"))
    # The published MultiHash search is exact to 31 bits for 16 hashes of 16 bits; ranges here exclude their end.
    seconds, (limits, _, _) = best_of_three(lambda: index.range_search(queries, 32))
    return {"seconds": seconds, "pairs": int(limits[-1])}


def _multihash(faiss: Any) -> Any:
    index = faiss.IndexBinaryMultiHash(256, 16, 16)
    index.nflip = 1
    return index


if __name__ == "__main__":
    name, where = sys.argv[1], Path(sys.argv[2])
    if name == "pdqhash":
        print(json.dumps(_pdqhash(where)))
    else:
        print(json.dumps(_faiss(where, (lambda f: f.IndexBinaryFlat(256)) if name == "faiss-flat" else _multihash)))
