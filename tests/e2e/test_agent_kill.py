"""Kill -9 of agent and hub in the middle of publish and sync: nothing acknowledged is lost, nothing is doubled."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from alliance.names import Digest
from alliance.v1 import fingerprint_pb2 as pb
from member_agent.sharing import published
from tests.kit.agents import AgentAlliance, AgentHome, alive, alliance_of_agents, products, seen
from tests.kit.hub_process import HubProcess, free_address

PRODUCTS = 3000
# The real command line, with batches and flushes small enough that a kill comes between many of them.
CHILD = """
from member_agent.sharing import publishing, sync
publishing.BATCH_ROWS, sync._FLUSH_BYTES = 50, 1
from member_agent.__main__ import main
main()
"""
SENT = "SELECT count(*) FROM outbox WHERE state = 'sent'"
MADE = "SELECT count(*) FROM outbox"
HELD = "SELECT max(cursor) FROM bank"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A brand with a generated catalogue, a marketplace, and a hub in a process of its own."""

    alliance: AgentAlliance
    acme: AgentHome
    bigmart: AgentHome
    hub: HubProcess


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    members = {"acme": "brand", "bigmart": "marketplace"}
    with alliance_of_agents(
        members, folder=tmp_path, server_address=free_address(), fingerprints_segment_entries=8
    ) as made:
        made["acme"].import_csv(products(PRODUCTS))
    with HubProcess(tmp_path) as hub:
        yield World(alliance=made, acme=made["acme"], bigmart=made["bigmart"], hub=hub)


def started(home: AgentHome, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, "--home", str(home.home.path), *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def counted(file: Path, query: str) -> int:
    """Read past the agent, while it works."""
    if not file.exists():
        return 0
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as opened:
        try:
            return int(opened.execute(query).fetchone()[0] or 0)
        except sqlite3.OperationalError:
            return 0


def progress(process: subprocess.Popen[str], file: Path, query: str, *, beyond: int) -> bool:
    """Waits until the count is beyond a number; False if the process ended before."""
    ends = time.monotonic() + 30
    while counted(file, query) <= beyond:
        if process.poll() is not None:
            return False
        assert time.monotonic() < ends, "no progress"
        time.sleep(0.002)
    return True


def ended(process: subprocess.Popen[str]) -> int:
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors, errors
    return process.returncode


def finish(home: AgentHome, *arguments: str) -> None:
    process = started(home, *arguments)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


def acknowledged(home: AgentHome) -> set[Digest]:
    """Batches that the agent believes the hub has."""
    with closing(sqlite3.connect(home.home.state_file)) as opened:
        rows = opened.execute("SELECT request FROM outbox WHERE state = 'sent' AND message = 'PublishBatchRequest'")
        return {Digest(pb.PublishBatchRequest.FromString(request).batch.digest) for (request,) in rows}


def at_hub(world: World) -> list[Digest]:
    """Batches in the order of the bank; asked of the hub as a member asks."""
    with world.acme.connected() as (_, hub):
        request, found = pb.ListEntriesRequest(bank=world.alliance.bank, page_size=100), list[Digest]()
        while True:
            page = hub.call(request, pb.ListEntriesResponse)
            found += [Digest(entry.batch.digest) for entry in page.entries if entry.HasField("batch")]
            request.after_seq = page.entries[-1].seq if page.entries else page.head_seq
            if request.after_seq >= page.head_seq:
                return found


def check_whole(world: World) -> None:
    """Every product exactly once: in the agent's own table, and with those who synced."""
    batches = at_hub(world)
    assert len(set(batches)) == len(batches)
    assert set(batches) == acknowledged(world.acme)
    with world.acme.open() as agent, agent.db.read() as tx:
        live = published.live(tx, world.alliance.bank)
    assert len({row.product for row in live}) == len(live) == PRODUCTS
    world.bigmart.sync()
    (held,) = world.bigmart.contents()
    there = {(batch.digest, row) for batch in held.batches for row in range(len(batch.rows)) if batch.alive[row]}
    assert there == {(row.batch_digest, row.row) for row in live}
    assert sum(len(batch.rows) for batch in held.batches) == PRODUCTS, "none was published twice and taken back"


@pytest.mark.slow
def test_a_publish_killed_at_random_publishes_everything_once(world: World) -> None:
    chance, state = random.Random(4), world.acme.home.state_file
    kills = {MADE: 0, SENT: 0}
    for query in (MADE, SENT, SENT):
        process, before = started(world.acme, "publish"), counted(state, query)
        if progress(process, state, query, beyond=before):
            time.sleep(chance.random() * 0.08)
            process.send_signal(signal.SIGKILL)
        if ended(process) == -signal.SIGKILL:
            kills[query] += 1
        assert set(at_hub(world)) >= acknowledged(world.acme), "what was acknowledged is there"
    assert (kills[MADE], kills[SENT]) == (1, 2), "the kills came too late to show anything"
    finish(world.acme, "publish")
    check_whole(world)


@pytest.mark.slow
def test_a_hub_killed_while_it_takes_batches_keeps_each_once(world: World) -> None:
    chance, state = random.Random(5), world.acme.home.state_file
    cut = 0
    for _ in range(2):
        process, before = started(world.acme, "publish"), counted(state, SENT)
        if progress(process, state, SENT, beyond=before):
            time.sleep(chance.random() * 0.08)
        world.hub.kill()
        code = ended(process)
        assert code in (0, 10)
        cut += code == 10
        world.hub.start()
        assert set(at_hub(world)) >= acknowledged(world.acme), "what was acknowledged is there"
        assert counted(state, "SELECT count(*) FROM outbox WHERE state = 'failed'") == 0
    assert cut == 2, "the kills came too late to show anything"
    finish(world.acme, "publish")
    check_whole(world)


@pytest.mark.slow
def test_a_sync_killed_on_either_side_ends_as_one_that_was_not(world: World) -> None:
    finish(world.acme, "publish")
    finish(world.acme, "sync")
    chance, banks = random.Random(6), world.bigmart.home.banks_file
    cut = 0
    for end in (signal.SIGKILL, None, signal.SIGKILL):
        process, before = started(world.bigmart, "sync"), counted(banks, HELD)
        if progress(process, banks, HELD, beyond=before):
            time.sleep(chance.random() * 0.02)
        if end is None:
            world.hub.kill()
            code = ended(process)
            world.hub.start()
        else:
            process.send_signal(end)
            code = ended(process)
        cut += code != 0
        assert counted(banks, HELD) >= before
    assert cut == 3, "the kills came too late to show anything"
    finish(world.bigmart, "sync")
    assert seen(world.bigmart.contents()) == seen(world.acme.contents())
    assert alive(world.bigmart.contents()) == PRODUCTS
