"""Small parts of the agent: pauses, locks, limits, buckets, settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from alliance.errors import FailedPrecondition, InvalidInput, Unavailable
from alliance.names import BankId
from member_agent import locks
from member_agent.config import Home, Settings
from member_agent.daemon import LONGEST_PAUSE, Backoff
from member_agent.locks import FileLock
from member_agent.screening.model import Candidate, Judged, flagged, hit_bucket, hits, image_score, matched, text_score


def test_pauses_double_to_a_minute_and_are_spread() -> None:
    backoff, longest = Backoff(), []
    for _ in range(40):
        backoff = backoff.failed()
        assert backoff.pause(0.0) == backoff.pause(1.0) / 2
        longest.append(backoff.pause(1.0))
    assert longest[:3] == [1.0, 2.0, 4.0]
    assert longest == sorted(longest)
    assert longest[-1] == LONGEST_PAUSE


def test_a_lock_is_its_holders_until_it_dies(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys, pathlib; from member_agent.locks import FileLock\n"
         "with FileLock(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()", str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    with child, child.stdout as lines:
        assert next(lines) == "held\n"
        assert locks.holder(path) == child.pid
        with pytest.raises(FailedPrecondition, match=str(child.pid)) as refused, FileLock(path, wait=0):
            pass
        assert refused.value.reason == "ALREADY_RUNNING"
        with pytest.raises(Unavailable) as waited, FileLock(path, wait=0.1):
            pass
        assert waited.value.reason == "LOCK_TIMEOUT"
        child.kill()
    assert locks.holder(path) is None
    with FileLock(path, wait=0):
        pass


@pytest.mark.parametrize(
    ("count", "bucket"), [(1, 1), (9, 1), (10, 2), (99, 2), (100, 3), (999, 3), (1000, 4), (10**6, 4)]
)
def test_a_count_is_told_as_its_bucket(count: int, bucket: int) -> None:
    assert hit_bucket(count) == bucket


def test_scores_are_between_none_and_the_same() -> None:
    assert [image_score(distance, 31) for distance in (0, 31)] == [100, 50]
    assert image_score(0, 0) == 100
    assert [text_score(cosine) for cosine in (-0.1, 0.0, 0.5, 1.0, 1.0001)] == [0, 0, 50, 100, 100]


def candidate(row: int, *, listing: str = "L") -> Candidate:
    return Candidate(
        listing=listing,
        row=1,
        score=90,
        reasons=(),
        fingerprint=f"{bytes(32).hex()}:{row}",
        bank=BankId("banks/titles"),
        marks="genuine",
        brand="acme",
        publisher="members/acme",
        version="1-00",
        tlp="amber",
    )


def test_hits_are_counted_per_fingerprint() -> None:
    results = [matched(one, Judged()) for one in (candidate(1), candidate(2), candidate(1, listing="M"))]
    counted = hits([*results, flagged("N", 2, Judged(risk=90))])
    assert {row: count for (_, _, row), count in counted.items()} == {1: 2, 2: 1}


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('[hub]\nproxy = "https://proxy:1"', "hub.proxy"),
        ("[limits]\ncpus = -1", "limits.cpus"),
        ("[limits]\nmemory_mb = -5", "limits.memory_mb"),
        ("[sync]\nseconds = 0", "sync.seconds"),
        ('[sync]\nseconds = "soon"', "sync.seconds"),
        ("[sync]\nsecond = 5", "sync.second"),
    ],
)
def test_a_setting_that_is_wrong_is_named(tmp_path: Path, text: str, field: str) -> None:
    (tmp_path / "agent.toml").write_text(text)
    with pytest.raises(InvalidInput) as error:
        Home(path=tmp_path).load()
    assert error.value.field == field


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agent.toml").write_text("[sync]\nseconds = 5")
    monkeypatch.setenv("ALLIANCE_AGENT_SYNC_SECONDS", "7")
    settings, origins = Home(path=tmp_path).load()
    assert (settings.sync_seconds, origins["sync_seconds"]) == (7, "$ALLIANCE_AGENT_SYNC_SECONDS")
    assert settings.limits_memory_mb == Settings().limits_memory_mb
