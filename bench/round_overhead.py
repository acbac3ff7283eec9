"""round_overhead: an empty round with three agent processes, from planned to released, over real mTLS, beside Flower's.

The detector has no arrays: what is left is recruiting, two broadcasts, six training-process messages, six answers, and
every transition committed (SQLite, synchronous=FULL) with its audit leaf. 100 rounds in a series (quick: 20).

The peer is Flower's own engine, one release with ours: a SuperLink with its state in memory, three SuperNodes, TLS but
no certificates of nodes, FedAvg over nothing, from the start of one round to that of the next. It takes an environment
of its own (`make bench-env`), and some seconds a round: 3 after the first, which fetches the app (quick: the first).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from alliance.v1 import federation_pb2 as pb
from bench import kit, rounds
from bench.figure import Figure
from bench.peers import flower_engine

FLOWER = "Flower 1.41 SuperLink and 3 SuperNodes"


def run(*, quick: bool) -> Iterator[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="alliance-bench-"))
    count = 20 if quick else 100
    spec = pb.DetectorSpec(code="null", metrics=["nothing"], aggregation="STRATEGY_FED_AVG", max_examples=1_000_000)
    try:
        with kit.serving_hub(folder) as operator, rounds.federation(folder, operator, spec, "null"):
            rounds.series(operator, 3)  # agents and training processes are up and warm
            took = np.array([rounds.seconds(one) for one in rounds.series(operator, count)]) * 1000
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ours, (flower, told) = float(np.median(took)), _flower(quick=quick)
    yield Figure(
        name="round_overhead_ms",
        ours=ours,
        peer=None if flower is None else flower * 1000,
        peer_name=FLOWER,
        unit="ms",
        target=20.0,
        judged="ours",
        bound="at_most",
        method=f"empty round, 3 agent processes, median of {count}; p90 {np.percentile(took, 90):.1f} ms; {told}",
    )
    yield Figure(
        name="round_overhead_vs_flower",
        ours=1000 / ours,
        peer=None if flower is None else 1 / flower,
        peer_name=FLOWER,
        unit="empty rounds/s",
        target=300.0,
        method=f"one after the other, 3 members; {told}",
    )


def _flower(*, quick: bool) -> tuple[float | None, str]:
    """Seconds of an empty round of Flower's engine, and how they were measured."""
    rounds_, seconds = (1, 40.0) if quick else (4, 300.0)
    found = flower_engine.run(rounds_, seconds=seconds)
    if found is None:
        return None, 'Flower\'s did not run: "make bench-env" makes its environment'
    counted = found if quick else found[1:]
    if not counted:
        return None, f"Flower's ended no round in {seconds:.0f} s"
    return float(np.median(counted)), f"Flower's: TLS, median of {len(counted)}"
