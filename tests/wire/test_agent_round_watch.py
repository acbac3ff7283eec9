"""`round list` and `round watch` as a member's engineer uses them: real processes beside rounds of raw members."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from alliance.v1 import federation_pb2 as pb
from member_agent.ledger import Ledger
from tests.kit.agents import AgentAlliance, AgentHome, alliance_of_agents
from tests.kit.federation import Trainee, create_detector, ended, plus, shown, spec, trigger
from tests.kit.member import RawMember
from tests.kit.waiting import eventually


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Two raw members train a detector; an agent that joined it too is not there, and looks."""

    made: AgentAlliance
    agent: AgentHome
    raw: tuple[RawMember, RawMember]
    spec: pb.DetectorSpec
    detector: str


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with alliance_of_agents({"acme": "brand"}, folder=tmp_path, membership_admission_cosigners=1) as made:
        raw = made.hub.enrol("globex"), made.hub.enrol("bazaar")
        for member in raw:
            made.admit(member.name)
            made.hub.add_to_group(made.group, member)
        wanted = spec()
        detector = create_detector(made.hub, made.group, wanted, *raw)
        with made["acme"].connected() as (_, hub):
            hub.call(pb.JoinDetectorRequest(request_id=str(uuid.uuid4()), name=detector), pb.JoinDetectorResponse)
        yield Watched(made=made, agent=made["acme"], raw=raw, spec=wanted, detector=detector)


@contextmanager
def watching(agent: AgentHome, *options: str, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    process = subprocess.Popen(agent.command("round", "watch", *options), text=True, **streams)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_round_is_followed_to_its_release_one_object_per_change(watched: Watched) -> None:
    go = threading.Event()

    def waits(model: Any) -> Any:
        go.wait(20)
        return plus(1.0)(model)

    Trainee(watched.raw[0], watched.spec, plus(1.0))
    Trainee(watched.raw[1], watched.spec, waits)
    started = trigger(watched.made.hub, watched.detector, quorum=2, seconds=60)
    with watching(watched.agent, "--json") as process:
        assert process.stdout is not None
        seen: list[dict[str, Any]] = []
        for line in process.stdout:
            seen.append(json.loads(line))
            if (seen[-1]["answered"], seen[-1]["state"]) == (1, "training"):
                go.set()
        assert process.wait(20) == 0
    assert {row["round"] for row in seen} == {started.name}
    half = next(row for row in seen if row["answered"] == 1)
    assert (half["state"], half["asked"], half["slots"]) == ("training", 2, {"invited": 1, "reported": 1})
    assert (half["detector"], half["number"], half["quorum"]) == (watched.detector, 1, 2)
    assert 0 < half["seconds_left"] <= 60
    last = seen[-1]
    assert (last["state"], last["answered"], last["asked"], last["slot"]) == ("released", 2, 2, "")
    assert last["metrics"][0] | {"metric": "accuracy", "members": 2, "federated_mean": 0.8} == last["metrics"][0]
    times = [{k: v for k, v in row.items() if k not in ("time", "seconds", "seconds_left")} for row in seen]
    assert all(one != other for one, other in pairwise(times))
    # Afterwards its last state is told at once.
    number = started.name.partition("/")[2]
    (told,) = watched.agent.run_cli("round", "watch", number, "--json").stdout.splitlines()
    assert json.loads(told)["state"] == "released"
    (listed,) = watched.agent.json_of("round", "list", "--detector", watched.detector)
    assert (listed["round"], listed["state"], listed["slot"]) == (started.name, "released", "")


def test_it_waits_for_the_next_round_and_tells_why_one_failed(watched: Watched) -> None:
    with watching(watched.agent, "--detector", watched.detector) as process:
        eventually(lambda: _asked(watched.agent) > 1)
        started = trigger(watched.made.hub, watched.detector, quorum=2, seconds=1)
        ended(watched.made.hub, started.name)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (1, "")
    lines = out.splitlines()
    assert lines[-1].startswith(f"{started.name} {watched.detector.partition('/')[2]} failed")
    assert "quorum missed" in lines[-1]


def _asked(agent: AgentHome) -> int:
    """How often it asked for rounds, from the ledger that its commands write."""
    ledger = Ledger(agent.home.ledger_file)
    try:
        return sum(entry.message.endswith("ListRoundsRequest") for entry in ledger.entries(last=50))
    finally:
        ledger.close()


def test_ctrl_c_ends_it_cleanly(watched: Watched) -> None:
    with watching(watched.agent) as process:
        eventually(lambda: _asked(watched.agent) > 1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "")


def test_the_operator_follows_a_round_too_and_stops_when_it_likes(watched: Watched) -> None:
    trainees = [Trainee(member, watched.spec, None) for member in watched.raw]
    started = trigger(watched.made.hub, watched.detector, quorum=2, seconds=60)
    number = started.name.partition("/")[2]
    home = ("--home", str(watched.made.hub.home.path), "round", "watch", number, "--json")
    command = [sys.executable, "-m", "hub", *home]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as stopped,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert stopped.stdout is not None
        assert process.stdout is not None
        eventually(lambda: all(one.tasks for one in trainees))
        assert json.loads(stopped.stdout.readline())["round"] == started.name
        stopped.send_signal(signal.SIGINT)
        assert (stopped.wait(20), stopped.stderr.read() if stopped.stderr else "") == (130, "")
        seen = [json.loads(process.stdout.readline())]
        while seen[-1]["slots"] != {"invited": 2}:
            seen.append(json.loads(process.stdout.readline()))
        for one in trainees:
            one.train = plus(1.0)
            one.answer(one.tasks[0])
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    seen += [json.loads(line) for line in out.splitlines()]
    assert (seen[-1]["state"], seen[-1]["slots"]) == ("released", {"evaluated": 2})
    assert seen[-1]["metrics"][0]["metric"] == "accuracy"


def test_on_a_terminal_the_last_line_tells_the_time(watched: Watched) -> None:
    Trainee(watched.raw[0], watched.spec, plus(1.0))
    Trainee(watched.raw[1], watched.spec, None)
    started = trigger(watched.made.hub, watched.detector, quorum=2, seconds=60)
    eventually(lambda: bool(shown(watched.made.hub, started.name).participants))
    ours, theirs = pty.openpty()
    with watching(watched.agent, stdout=theirs) as process:
        os.close(theirs)
        text = ""
        while text.count("1 of 2 answered") < 3:
            text += os.read(ours, 4096).decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    os.close(ours)
    assert "\r\033[K" in text
    assert text.count("\n") <= 1


def test_a_round_that_is_not_there_is_not_followed(watched: Watched) -> None:
    refused = watched.agent.run_cli("round", "watch", "99", check=3)
    assert "no rounds/99 of a detector this member joined" in refused.stderr
    assert "[ROUND_NOT_FOUND]" in refused.stderr
