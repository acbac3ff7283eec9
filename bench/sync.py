"""sync: how fast a new member comes by a whole bank, beside a bare mutual TLS stream of the same bytes.

A generated bank of random PDQ values (1,000,000; quick: 200,000) is published by one agent through its outbox
and synced by another, hub and agents as in production: hub in its own process, SQLite with synchronous=FULL,
every digest, signature and chain step checked, every batch stored sealed. The peer discards what it receives.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from alliance import canonical, entries, schemes
from alliance.names import BankId, bank_id
from alliance.v1 import fingerprint_pb2 as pb
from bench import kit
from bench.figure import Figure
from bench.peers import mtls_member
from member_agent import outbox
from member_agent.app import Agent, open_agent
from member_agent.clock import timestamp, utc_now
from member_agent.config import Home
from member_agent.sharing import rows, sealing
from member_agent.sharing.contents import open_bank
from member_agent.sharing.rows import Row

BATCH = 16_384
BANK = bank_id("banks/bench-images")
REPEATS = 3


def run(*, quick: bool) -> Iterator[Figure]:
    count = 200_000 if quick else 1_000_000
    folder = Path(tempfile.mkdtemp(prefix="alliance-bench-"))
    try:
        with kit.serving_hub(folder) as operator:
            request = pb.CreateBankRequest(name=BANK, group=kit.GROUP, scheme=schemes.PDQ.id)
            operator.call(request, pb.CreateBankResponse)
            kit.write_peer_keys(folder)
            publisher, reader = (kit.member(folder, operator, name) for name in ("publisher", "reader"))
            yield from _figures(folder, publisher, reader, count)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _figures(folder: Path, publisher: Home, reader: Home, count: int) -> Iterator[Figure]:
    size = f"{count:,} generated PDQ values in batches of {BATCH:,}"
    seconds, bytes_ = _publish(publisher, count)
    yield Figure(
        name="publish_fingerprints_per_s",
        ours=count / seconds,
        unit="fingerprints/s",
        method=f"{size}: pack, seal, sign, outbox, upload, append; one run",
    )
    # The compactor packs full runs once a second; the reader is to find segments as a late joiner does.
    time.sleep(3.0)
    with open_agent(reader) as agent, _bare_server(folder, bytes_) as port:
        fast, limit = [], []
        for _ in range(REPEATS):
            agent.banks.drop(BANK)
            fast.append(count / _timed(lambda: _sync(agent)))
            limit.append(bytes_ / _timed(lambda: _bare_stream(agent, port)))
        ours, peer = float(np.median(fast)), float(np.median(limit)) * count / bytes_
        yield Figure(
            name="sync_fingerprints_per_s",
            ours=ours,
            peer=peer,
            peer_name="bare mutual TLS stream of as many bytes, digested and discarded",
            unit="fingerprints/s",
            method=f"{size}, {bytes_ / count:.1f} bytes each; median of {REPEATS}, in turn with the peer",
        )
        opened = _timed(lambda: _open(agent, count))
        yield Figure(
            name="open_fingerprints_per_s",
            ours=count / opened,
            unit="fingerprints/s",
            method=f"{size}: read from disk, check digest, unseal, unpack; one run",
        )
        idle = float(np.median([_timed(lambda: _sync(agent)) for _ in range(10)])) * 1000
        yield Figure(name="sync_idle_ms", ours=idle, unit="ms", method="a sync that finds nothing new, median of 10")


def _publish(home: Home, count: int) -> tuple[float, int]:
    """Seconds, and sealed bytes."""
    random = np.random.default_rng(1)
    values = random.integers(0, 256, size=(count, 32), dtype=np.uint8)
    with open_agent(home) as agent, agent.connect() as hub:
        key = agent.target(hub, BANK).key
        me = agent.identity.public.member
        start, total = time.perf_counter(), 0
        for at in range(0, count, BATCH):
            batch = [Row(value=value.tobytes()) for value in values[at : at + BATCH]]
            plain = rows.pack(batch, width=schemes.PDQ.width)
            sealed = sealing.seal(plain, key, bank=BANK, publisher=me, scheme=schemes.PDQ.id, row_count=len(batch))
            with agent.db.write() as tx:
                header = _header(agent, BANK, key.epoch, len(batch), sealed)
                request = pb.PublishBatchRequest(request_id=str(uuid.uuid4()), batch=header)
                outbox.put(tx, request, now=utc_now(), sealed=sealed, digest=header.digest)
            total += len(sealed)
        agent.outbox.drain(hub)
        return time.perf_counter() - start, total


def _header(agent: Agent, bank: BankId, epoch: int, row_count: int, sealed: bytes) -> pb.BatchHeader:
    header = pb.BatchHeader(
        bank=bank,
        publisher=agent.identity.public.member,
        scheme=schemes.PDQ.id,
        epoch=epoch,
        row_count=row_count,
        digest=canonical.sha256(sealed),
        size=len(sealed),
        create_time=timestamp(utc_now()),
    )
    header.signature = agent.identity.sign(entries.batch_bytes(header))
    return header


def _sync(agent: Agent) -> None:
    with agent.connect() as hub:
        agent.keyring.current_all(hub)
        agent.synchroniser.run(hub)


def _open(agent: Agent, count: int) -> None:
    state = agent.banks.state(BANK)
    assert state is not None
    contents = open_bank(agent.banks, agent.keyring, state, today=0)
    assert len(contents.alive()) == count
    assert not contents.problems


@contextmanager
def _bare_server(folder: Path, bytes_: int) -> Iterator[int]:
    """The peer's server in its own process; gives its port."""
    command = [sys.executable, "-m", "bench.peers.mtls_stream", str(folder), str(bytes_)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def _bare_stream(agent: Agent, port: int) -> None:
    """Connects, and takes one stream of the bank's size with SHA-256 over all of it."""
    opened = mtls_member.connect(agent, port)
    mtls_member.download(opened)
    opened.close()


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
