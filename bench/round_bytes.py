"""round_bytes: how fast a large model goes round, beside bare mutual TLS streams of as many bytes.

A real hub (its own process, SQLite with synchronous=FULL) and three agent processes; the model is one array of 1e7
float32, 40 MB (quick: 2.5e6, 10 MB), and a member's training changes one value. A round is timed by the hub's clock
from planned to released; series of three rounds and of the peer's turns take turns. Everything a round does to the
bytes is inside: the ledger's digests, disk and fsync, the checks of every update, the strategy, the audit log. Agents
start from the model their last round ended with, so a model goes down once a round (and twice in an agent's first).

The peer is four processes too and discards everything. It moves the bytes that the hub counted, in the same directions,
three streams at a time and one direction after the other, over the same TLS, and does the same digests: SHA-256 of
what goes up by its sender, for that is its name, of the new model once by the server, and of all that is received.
"""

from __future__ import annotations

import functools
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from alliance import tensors
from alliance.v1 import federation_pb2 as pb
from bench import kit, rounds
from bench.figure import Figure
from hub.operator_client import OperatorClient

ARRAY, SERIES = "w", 3
# The hub's names of directions, in the order of a round: updates up, then the new model down.
WAYS = (("up", "in"), ("down", "out"))


def run(*, quick: bool) -> Iterator[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="alliance-bench-"))
    count, series = (2_500_000, 2) if quick else (10_000_000, 10)
    arrays = (tensors.ArraySpec(name=ARRAY, dtype="float32", shape=(count,)),)
    size = tensors.encoded_size(arrays)
    spec = pb.DetectorSpec(
        code="copy",
        arrays=[pb.ArraySpec(name=ARRAY, dtype="float32", shape=[count])],
        metrics=["accuracy"],
        aggregation="STRATEGY_FED_AVG",
        max_examples=1_000_000,
    )
    port = _free_port()
    try:
        with kit.serving_hub(folder, metrics_port=port) as operator, rounds.federation(folder, operator, spec, "copy"):
            process = Path(f"/proc/{kit.hub_process(folder)}")
            rest = _memory(process, "VmRSS")
            (process / "clear_refs").write_text("5")  # starts VmHWM anew
            moved, ours, peer = _turns(folder, operator, port, size, series)
            most = _memory(process, "VmHWM")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    model = f"one array of {count:,} float32, {size / 1e6:.0f} MB, FedAvg, 3 agent processes"
    fast, limit = (sum(moved.values()) / np.median(times) / 1e6 for times in (ours, peer))
    yield Figure(
        name="round_bytes_per_s",
        ours=float(fast),
        peer=float(limit),
        peer_name="as many bytes and digests over bare mutual TLS streams, discarded",
        unit="MB/s",
        target=0.6,
        full_only=True,
        method=f"{model}: {_told(moved, size)} a round; planned to released {np.median(ours) * 1000:.0f} ms, the peer "
        f"{np.median(peer) * 1000:.0f} ms; medians of {len(ours)} in {series} series, in turn",
    )
    yield Figure(
        name="round_hub_memory",
        ours=(most - rest) / size,
        unit="models",
        target=3.0,
        full_only=True,
        judged="ours",
        bound="at_most",
        method=f"{model}: the hub's greatest resident memory in {len(ours) + 1} rounds, mapped files included, less "
        f"that before the first, {rest / 1e6:.0f} MB",
    )


def _turns(
    folder: Path, operator: OperatorClient, port: int, size: int, series: int
) -> tuple[dict[str, int], list[float], list[float]]:
    """The bytes a round moved by direction, and the seconds of every round and of the peer's turns."""
    rounds.series(operator, 1)  # agents are connected, and have the model that the first timed round starts from
    ours, peer = [], []
    with _peers(folder, size) as move:
        move("down")
        for _ in range(series):
            before = _moved(port)
            ours += [rounds.seconds(one) for one in rounds.series(operator, SERIES)]
            moved = {way: (total - before[way]) // SERIES for way, total in _moved(port).items()}
            for _ in range(SERIES):
                each = [move(way) for way, total in moved.items() for _ in range(_times(total, size))]
                peer.append(sum(each) + move("digest"))
    return moved, ours, peer


def _times(total: int, size: int) -> int:
    """How often every member moved a model. Members that had part of one would make the peer's bytes differ."""
    assert total % (len(rounds.MEMBERS) * size) == 0, (total, size)
    return total // (len(rounds.MEMBERS) * size)


def _told(moved: dict[str, int], size: int) -> str:
    return " and ".join(f"{_times(total, size)} x 3 models {way}" for way, total in moved.items())


@contextmanager
def _peers(folder: Path, size: int) -> Iterator[Callable[[str], float]]:
    """Gives what moves a model to or from three members at once, or has the server digest one; tells the seconds."""
    write = functools.partial(subprocess.Popen, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with ExitStack() as stack:

        def start(module: str, *arguments: str) -> subprocess.Popen[str]:
            process = write([sys.executable, "-m", f"bench.peers.{module}", *arguments])
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        kit.write_peer_keys(folder)
        at = _line(start("mtls_stream", str(folder), str(size)))
        members = [start("mtls_member", str(folder / name), at, str(size)) for name in rounds.MEMBERS]
        assert all(_line(member) == "ready" for member in members)

        def move(way: str) -> float:
            begun = time.perf_counter()
            asked = members[:1] if way == "digest" else members
            for member in asked:
                assert member.stdin is not None
                member.stdin.write(f"{way}\n")
                member.stdin.flush()
            for member in asked:
                float(_line(member))
            return time.perf_counter() - begun

        yield move


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _moved(port: int) -> dict[str, int]:
    """Bytes of blobs up and down since the hub's start, by its own metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#")
    return {way: int(float(lines.get(f'alliance_blob_bytes_total{{direction="{name}"}}', 0))) for way, name in WAYS}


def _memory(process: Path, name: str) -> int:
    """Bytes, of a line in kB of /proc/PID/status."""
    lines = (line.split() for line in (process / "status").read_text().splitlines())
    return next(int(words[1]) * 1024 for words in lines if words[0] == f"{name}:")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
