"""From a member's suspension to the end of its last stream, with 200 agents connected.

Every agent has its own mutual TLS connection, a watch, and an upload that sends nothing, which only the hub can end.
First the members are suspended one after another while all others stay; then, after new ones have joined, all of them
as fast as eight operators' connections go. A sample is one member: from the moment the operator's call is sent to the
moment its last stream is told. Both clocks are the machine's monotonic one. `--quick` uses 40 agents.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from alliance.v1 import membership_pb2
from bench import kit
from bench.figure import Figure
from hub.operator_client import OperatorClient

AGENTS, QUICK_AGENTS, PROCESSES, OPERATORS = 200, 40, 4, 8
PROMISED_SECONDS = 5.0
PATIENCE_SECONDS = 60.0


class Streams:
    """When each member's streams ended, as the agents' processes tell it."""

    def __init__(self) -> None:
        self.ends: dict[str, list[float]] = {}
        self._changed = threading.Condition()

    def read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            member, reason, moment = line.split()
            assert reason == "MEMBER_SUSPENDED", line
            with self._changed:
                self.ends.setdefault(member, []).append(float(moment))
                self._changed.notify_all()

    def last(self, member: str) -> float:
        """When the second of its two streams ended."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.ends.get(member, ())) == 2, PATIENCE_SECONDS), member
            return max(self.ends[member])


@contextmanager
def connected(operator: OperatorClient, names: list[str]) -> Iterator[Streams]:
    """Members with their streams open, in a few processes."""
    streams, processes = Streams(), []
    for n in range(PROCESSES):
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.peers.revocation_agents"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdin is not None
        for name in names[n::PROCESSES]:
            process.stdin.write(f"{kit.invitation(operator, name).encode()}\n")
        process.stdin.write("\n")
        process.stdin.flush()
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        readers = [threading.Thread(target=streams.read, args=(process,)) for process in processes]
        for reader in readers:
            reader.start()
        yield streams
        for reader in readers:
            reader.join(PATIENCE_SECONDS)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def suspend(operator: OperatorClient, name: str) -> float:
    """Returns when the call was sent."""
    start = time.monotonic()
    request = membership_pb2.SuspendMemberRequest(name=f"members/{name}", reason="benchmark")
    operator.call(request, membership_pb2.SuspendMemberResponse)
    return start


def one_by_one(operator: OperatorClient, names: list[str]) -> list[float]:
    with connected(operator, names) as streams:
        samples = []
        for name in names:
            start = suspend(operator, name)
            samples.append(streams.last(f"members/{name}") - start)
        return samples


def at_once(operator: OperatorClient, names: list[str]) -> list[float]:
    with connected(operator, names) as streams, ThreadPoolExecutor(OPERATORS) as pool:
        starts = pool.map(lambda name: suspend(operator, name), names)
        return [streams.last(f"members/{name}") - start for name, start in zip(names, starts, strict=True)]


def percentile(samples: list[float], share: float) -> float:
    return sorted(samples)[min(len(samples) - 1, int(share * len(samples)))]


def run(*, quick: bool) -> Iterator[Figure]:
    count = QUICK_AGENTS if quick else AGENTS
    method = (
        f"{count} agents, each a watch and a silent upload over its own mTLS connection; operator's call to last end"
    )
    with tempfile.TemporaryDirectory() as folder, kit.serving_hub(Path(folder)) as operator:
        for name, measure in (("one_by_one", one_by_one), ("at_once", at_once)):
            samples = measure(operator, [f"{name.replace('_', '-')}-{n}" for n in range(count)])
            for label, share in (("p50", 0.5), ("p99", 0.99)):
                yield Figure(
                    name=f"revocation_{name}_{label}",
                    ours=percentile(samples, share),
                    unit="s",
                    method=method,
                    target=PROMISED_SECONDS if label == "p99" else None,
                    judged="ours",
                    bound="at_most",
                )
