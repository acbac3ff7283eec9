"""round_bytes: how fast a large model goes round, beside bare mutual TLS streams of as many bytes.

A real hub (its own process, SQLite with synchronous=FULL) and three agent processes; the model is one array of 1e7
float32, 40 MB (quick: 2.5e6, 10 MB), and a member's training changes one value. A round is timed by the hub's clock
from planned to released: everything it does to the bytes is inside (digests at both ends, disk and fsync, the checks
of every update, the strategy, the audit log). The peer is four processes too, moves as many bytes in the same
directions, three at a time and one direction after the other, and does nothing but SHA-256 over what it receives.
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

ARRAY = "w"
# The hub's names of directions, in the order of a round: updates up, then the new model down.
WAYS = (("up", "in"), ("down", "out"))


def run(*, quick: bool) -> Iterator[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="alliance-bench-"))
    count, repeats = (2_500_000, 5) if quick else (10_000_000, 9)
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
            moved, ours, peer = _turns(folder, operator, port, size, repeats)
            most = _memory(process, "VmHWM")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    model = f"one array of {count:,} float32, {size / 1e6:.0f} MB, FedAvg, 3 agent processes"
    fast, limit = (sum(moved.values()) / np.median(times) / 1e6 for times in (ours, peer))
    yield Figure(
        name="round_bytes_per_s",
        ours=float(fast),
        peer=float(limit),
        peer_name="as many bytes over bare mutual TLS streams, digested and discarded",
        unit="MB/s",
        target=0.6,
        method=f"{model}: {_told(moved, size)} a round, from planned to released; median of {repeats}, "
        f"{np.median(ours) * 1000:.0f} ms, in turn with the peer, {np.median(peer) * 1000:.0f} ms",
    )
    yield Figure(
        name="round_hub_memory",
        ours=(most - rest) / size,
        unit="models",
        target=3.0,
        judged="ours",
        bound="at_most",
        method=f"{model}: the hub's peak resident memory over {repeats + 1} rounds, page cache that it maps included, "
        f"less that before the first, {rest / 1e6:.0f} MB",
    )


def _turns(
    folder: Path, operator: OperatorClient, port: int, size: int, repeats: int
) -> tuple[dict[str, int], list[float], list[float]]:
    """The bytes a round moved by direction, and the seconds of every round and of its peer."""
    rounds.series(operator, 1)  # agents are connected, and have the model that the first timed round starts from
    ours, peer = [], []
    with _peers(folder, size) as move:
        move("down")
        for _ in range(repeats):
            before = _moved(port)
            (one,) = rounds.series(operator, 1)
            moved = {way: total - before[way] for way, total in _moved(port).items()}
            ours.append(rounds.seconds(one))
            peer.append(sum(move(way) for way, total in moved.items() for _ in range(_times(total, size))))
    return moved, ours, peer


def _times(total: int, size: int) -> int:
    """How often every member moved a model. Members that had part of one would make the peer's bytes differ."""
    assert total % (len(rounds.MEMBERS) * size) == 0, (total, size)
    return total // (len(rounds.MEMBERS) * size)


def _told(moved: dict[str, int], size: int) -> str:
    return " and ".join(f"{_times(total, size)} x 3 models {way}" for way, total in moved.items())


@contextmanager
def _peers(folder: Path, size: int) -> Iterator[Callable[[str], float]]:
    """Gives what moves a model to or from three members at once, and tells the seconds."""
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
            for member in members:
                assert member.stdin is not None
                member.stdin.write(f"{way}\n")
                member.stdin.flush()
            for member in members:
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
