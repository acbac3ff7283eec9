"""Blends are found by the model they were made of, and only the latest and those of held models stay."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from alliance import canonical
from alliance.names import Digest
from member_agent.state import open_state
from member_agent.training.blends import LATEST, Blends

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DETECTOR, OTHER = "detectors/fake-shops", "detectors/other"


def shared(number: int) -> Digest:
    return Digest(canonical.sha256(b"%d" % number))


def test_only_the_latest_and_those_of_held_models_stay(tmp_path: Path) -> None:
    db = open_state(tmp_path / "state.db")
    blends = Blends(db, tmp_path / "blends")
    blends.keep(OTHER, shared(0), b"other", now=START)
    for number in range(6):
        blends.keep(DETECTOR, shared(number), b"blend %d" % number, now=START + dt.timedelta(minutes=number))
    blends.tidy({shared(1)})

    def found(detector: str, number: int) -> bytes | None:
        with db.read() as tx:
            digest = blends.find(tx, detector, shared(number))
        return None if digest is None else blends.path(digest).read_bytes()

    stay = {1, *range(6 - LATEST, 6)}
    assert {number: found(DETECTOR, number) for number in range(6)} == {
        number: b"blend %d" % number if number in stay else None for number in range(6)
    }
    assert found(OTHER, 0) == b"other"
    assert len(list((tmp_path / "blends").iterdir())) == len(stay) + 1
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "blends").iterdir()} == {0o600}
    blends.forget(DETECTOR)
    assert [path.read_bytes() for path in (tmp_path / "blends").iterdir()] == [b"other"]
    db.close()


def test_a_model_judged_again_has_its_newest_blend(tmp_path: Path) -> None:
    db = open_state(tmp_path / "state.db")
    blends = Blends(db, tmp_path / "blends")
    for data in (b"first", b"second"):
        blends.keep(DETECTOR, shared(1), data, now=START)
        blends.tidy(())
    with db.read() as tx:
        digest = blends.find(tx, DETECTOR, shared(1))
    assert digest is not None
    assert [path.name for path in (tmp_path / "blends").iterdir()] == [digest.hex()]
    assert blends.path(digest).read_bytes() == b"second"
    db.close()
