"""An alarm leaves a file behind: what was found, the log as this agent verified it, what the hub had said."""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
from pathlib import Path

import pytest

from alliance.errors import Corrupt
from alliance.v1 import audit_pb2
from member_agent import evidence
from tests.kit.agents import alliance_of_agents
from tests.kit.lying_hub import LyingHub


def test_the_same_alarm_again_and_again_fills_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MOST_FILES", 3)
    scene = evidence.Scene(
        alliance="shoes.example", member="members/acme", hub="h:1", log_key="", log_size=0, log_root="", leaves=[]
    )
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    for second in range(5):
        for reason in ("LOG_FORKED", "IDENTITY_CHANGED"):
            now = start + dt.timedelta(seconds=second)
            evidence.keep(tmp_path / "evidence", Corrupt("it", reason=reason), scene, evidence.Transcript(), now=now)
    kept = [file.name.partition("-")[2] for file in sorted((tmp_path / "evidence").iterdir())]
    assert kept == ["IDENTITY_CHANGED.json", "LOG_FORKED.json"] * 3


def test_an_alarm_keeps_evidence_and_another_failure_does_not(tmp_path: Path) -> None:
    with alliance_of_agents({"acme": "brand", "bigmart": "marketplace"}, folder=tmp_path) as two:
        acme, liar = two["acme"], LyingHub(two.hub)
        acme.sync()
        with acme.connected() as (agent, hub):
            head = agent.log.update(hub)
        with pytest.raises(Corrupt), acme.open():
            raise Corrupt("a batch that is cut short", reason="BLOB_CORRUPT")
        assert not acme.home.evidence.exists()

        liar.log_event(event="member_enrolled:brand", subject=acme.member, digest=os.urandom(32))
        with pytest.raises(Corrupt):
            acme.sync()

    [file] = acme.home.evidence.iterdir()
    assert file.name.endswith("-IDENTITY_CHANGED.json")
    assert (file.stat().st_mode & 0o777, acme.home.evidence.stat().st_mode & 0o777) == (0o600, 0o700)
    kept = json.loads(file.read_text())
    assert (kept["member"], kept["reason"]) == (acme.member, "IDENTITY_CHANGED")
    assert kept["log"]["verified_size"] == head.size + 1
    leaf = kept["log"]["last_leaves"][-1]
    assert (leaf["event"], leaf["subject"]) == ("member_enrolled:brand", acme.member)
    said = {one["message"]: base64.b64decode(one["protobuf"]) for one in kept["hub_said"]}
    note = audit_pb2.GetCheckpointResponse.FromString(said["alliance.v1.GetCheckpointResponse"]).checkpoint
    assert f"\n{head.size + 1}\n" in note
