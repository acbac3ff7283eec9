"""The audit log's store: entries/s with a commit per 256, root, inclusion and consistency, beside pymerkle.

Ours is the hub's own `AuditService` over SQLite as it is served (WAL, synchronous=FULL): mutations queue 256 leaves in
one transaction, the sequencer integrates them in another, with a signed checkpoint; a proof is one read transaction.
The peer keeps its tree in SQLite, too, and has default settings: its proofs are measured on a tree that was just
opened, and again once its cache in memory has answered such proofs before. 1e5 entries; 1e6 in a full run.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alliance import merkle
from bench.figure import Figure
from hub.audit import store
from hub.audit.service import AuditService
from hub.migrations import migrate
from hub.runtime.clock import utc_now
from hub.runtime.db import Database

ROOT = Path(__file__).resolve().parents[1]
COMMIT = 256
PROOFS = 200
PEER = "pymerkle"
PEER_SIZE = 100_000
SIZES = (1_000, 10_000, 100_000)


def run(*, quick: bool) -> Iterator[Figure]:
    sizes = SIZES if quick else (*SIZES, 1_000_000)
    peer = _peer()
    with tempfile.TemporaryDirectory() as folder:
        db = Database(f"sqlite:///{folder}/hub.db")
        try:
            migrate(db)
            audit = AuditService(origin="bench/log", key=Ed25519PrivateKey.generate(), clock=utc_now)
            size = 0
            for wanted in sizes:
                seconds = _append(db, audit, size, wanted)
                rate, size = (wanted - size) / seconds, wanted
                beside = peer if size == PEER_SIZE else {}
                yield _figure(
                    f"log append, {size:,} entries",
                    rate,
                    "entries/s",
                    f"a commit per {COMMIT} queued, and one per {COMMIT} integrated with a signed head",
                    beside.get("append"),
                )
                yield from _proofs(db, audit, size, beside)
        finally:
            db.close()


def _append(db: Database, audit: AuditService, first: int, last: int) -> float:
    start = time.perf_counter()
    for at in range(first, last, COMMIT):
        with db.write() as tx:
            for n in range(at, min(at + COMMIT, last)):
                digest = n.to_bytes(32, "big")
                audit.record(tx, event="batch_published:banks/b", actor="members/a", subject="banks/b", digest=digest)
        with db.write() as tx:
            audit.integrate(tx)
    return time.perf_counter() - start


def _proofs(db: Database, audit: AuditService, size: int, peer: dict[str, float]) -> Iterator[Figure]:
    draw = random.Random(size)  # because it chooses what to measure
    indices = [draw.randrange(1, size) for _ in range(PROOFS)]
    works: tuple[tuple[str, Callable[[int], object]], ...] = (
        ("root", lambda _: _root(db, size)),
        ("inclusion", lambda index: _inclusion(db, audit, index, size)),
        ("consistency", lambda index: _consistency(db, audit, index, size)),
    )
    for name, work in works:
        took = []
        for index in indices:
            start = time.perf_counter()
            work(index)
            took.append(time.perf_counter() - start)
        how = f"median of {PROOFS}, each a read transaction; at most {2 * size.bit_length()} nodes read"
        rate = 1 / statistics.median(took)
        full = f"log {name}, {size:,} entries"
        target = 200.0 if name == "inclusion" and peer else None
        yield _figure(full, rate, "proofs/s", f"{how}; the peer's tree just opened", peer.get(name), target=target)
        if f"{name}_warm" in peer:
            yield _figure(
                f"{full}, peer warm",
                rate,
                "proofs/s",
                f"{how}; the peer holds the tree in memory",
                peer[f"{name}_warm"],
            )


def _root(db: Database, size: int) -> bytes:
    with db.read() as tx:
        return merkle.frontier_at(size, lambda nodes: store.read_nodes(tx, nodes)).root


def _inclusion(db: Database, audit: AuditService, index: int, size: int) -> object:
    with db.read() as tx:
        return audit.inclusion(tx, index=index, size=size)


def _consistency(db: Database, audit: AuditService, first: int, size: int) -> object:
    with db.read() as tx:
        return audit.consistency(tx, first=first, second=size)


def _figure(
    name: str, ours: float, unit: str, method: str, peer: float | None, *, target: float | None = None
) -> Figure:
    return Figure(
        name=name,
        ours=ours,
        unit=unit,
        method=method,
        peer=peer,
        peer_name=PEER if peer is not None else "",
        target=target,
    )


def _peer() -> dict[str, float]:
    """What the peer measured at its size, nothing (told on standard error) where it is not installed."""
    command = [str(ROOT / ".venv-bench" / "bin" / "python"), "-m", "bench.peers.merkle_tree", str(PEER_SIZE)]
    try:
        done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        last = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
        print(f'bench audit_log: no peer {PEER} ({last}); run "make bench-env" to have it', file=sys.stderr)
        return {}
    measured: dict[str, float] = json.loads(done.stdout)
    return measured
