"""What the round benchmarks share: agents in processes of their own, one detector, series timed at the hub."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alliance.v1 import federation_pb2 as pb
from bench import kit
from hub.operator_client import OperatorClient
from member_agent.app import open_agent
from member_agent.config import Home
from member_agent.training import consents
from member_agent.training.consents import Consent

DETECTOR = "detectors/bench"
MEMBERS = ("one", "two", "three")
ENDED = (pb.ROUND_STATE_RELEASED, pb.ROUND_STATE_FAILED, pb.ROUND_STATE_CANCELLED)
PATIENCE_SECONDS = 300.0


@contextmanager
def federation(folder: Path, operator: OperatorClient, spec: pb.DetectorSpec, code: str) -> Iterator[None]:
    """A detector that three members joined, their agents running."""
    operator.call(pb.ProposeDetectorRequest(name=DETECTOR, group=kit.GROUP, spec=spec), pb.ProposeDetectorResponse)
    operator.call(pb.ApproveDetectorRequest(name=DETECTOR), pb.ApproveDetectorResponse)
    rows = folder / "rows.csv"
    rows.write_text("url,label\n" + "a,0\n" * 8)
    processes = []
    try:
        for name in MEMBERS:
            home = kit.member(folder, operator, name)
            _consent(home, rows, code)
            command = [sys.executable, "-m", "bench.peers.round_agent", str(home.path), code]
            processes.append(subprocess.Popen(command))
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _consent(home: Home, rows: Path, code: str) -> None:
    with open_agent(home) as agent, agent.connect() as hub:
        with agent.db.write() as tx:
            consents.save_consent(
                tx, Consent(detector=DETECTOR, group=kit.GROUP, code=code, path=rows, columns={}, seed=1)
            )
        hub.call(pb.JoinDetectorRequest(request_id=str(uuid.uuid4()), name=DETECTOR), pb.JoinDetectorResponse)


def series(operator: OperatorClient, rounds: int) -> list[pb.Round]:
    """Runs so many rounds one after the other; gives them oldest first."""
    request = pb.TriggerRoundRequest(detector=DETECTOR, rounds=rounds, quorum=len(MEMBERS), deadline_seconds=120)
    first = _number(operator.call(request, pb.TriggerRoundResponse).round)
    ends = time.monotonic() + PATIENCE_SECONDS
    # The newest one alone: what a hub pays for being asked is no part of its rounds.
    while (newest := _newest(operator, 1)[0]).state not in ENDED or (
        newest.state == pb.ROUND_STATE_RELEASED and _number(newest) < first + rounds - 1
    ):
        assert time.monotonic() < ends, newest
        # Seldom: a look costs the hub milliseconds.
        time.sleep(1.0)
    found = [one for one in reversed(_newest(operator, 1000)) if _number(one) >= first]
    assert all(one.state == pb.ROUND_STATE_RELEASED for one in found), found[-1]
    return found


def _newest(operator: OperatorClient, count: int) -> list[pb.Round]:
    request = pb.ListRoundsRequest(page_size=count, detector=DETECTOR)
    return list(operator.call(request, pb.ListRoundsResponse).rounds)


def _number(one: pb.Round) -> int:
    return int(one.name.partition("/")[2])


def seconds(one: pb.Round) -> float:
    """How long a round took, by the hub's clock, from planned to released."""
    return (one.end_time.ToMicroseconds() - one.create_time.ToMicroseconds()) / 1e6
