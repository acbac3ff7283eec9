"""Scoring by held models, in a real training process: detectors that score well or badly, files that were damaged."""

from __future__ import annotations

import datetime as dt
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from alliance import canonical, tensors
from alliance.errors import AllianceError, Corrupt, FailedPrecondition, InvalidInput, NotFound
from alliance.names import Digest, GroupId
from alliance.tensors import Arrays
from member_agent.catalog.model import RowError
from member_agent.catalog.readers.records import Record
from member_agent.training import scorer
from member_agent.training.consents import Consent
from member_agent.training.detector import Detector, settle
from member_agent.training.detectors.brand_attribution import BrandAttribution, brand_class
from member_agent.training.detectors.null import NullDetector
from member_agent.training.detectors.tabular_risk import TabularRisk
from member_agent.training.detectors.url_risk import UrlRisk
from member_agent.training.models import Held
from member_agent.training.scorer import Scorer
from member_agent.training.scoring import Labels
from member_agent.training.trainer import Limits, Trainer

ODD = '''
import numpy as np
from member_agent.training.detectors.null import NullDetector


class Odd(NullDetector):
    """Does what its setting says."""

    settings = {"what": 0.0}

    def score(self, arrays, rows, columns, settings):
        count = len(list(rows))
        if settings["what"] == 1:
            return np.zeros((count + 1, 1))[: 1 if not count else None]
        if settings["what"] == 2 and count:
            raise ValueError("no scores today")
        return np.full((count, 1), 7.0)

    def explain(self, arrays, rows, columns, settings, labels):
        if settings["what"] == 3:
            return []
        return [["x" * 1000 + chr(10), 5] * 9 for _ in rows]
'''
OWN = {
    "null": "member_agent.training.detectors.null:NullDetector",
    "url-risk": "member_agent.training.detectors.url_risk:UrlRisk",
    "tabular-risk": "member_agent.training.detectors.tabular_risk:TabularRisk",
    "brand-attribution": "member_agent.training.detectors.brand_attribution:BrandAttribution",
    "odd": "odd_detector:Odd",
}
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
KEY = bytes(range(32))
Keep = Callable[..., tuple[Held, Path]]


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    folder = tmp_path_factory.mktemp("code")
    (folder / "odd_detector.py").write_text(ODD, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
        with Trainer(limits=Limits(memory_bytes=1 << 30, nice=1), timeout_seconds=20.0, own_code=OWN) as made:
            yield made


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    """Puts a model where a member holds it."""

    def kept(code: str, arrays: Arrays, **settings: float) -> tuple[Held, Path]:
        data = tensors.encode(arrays)
        digest = Digest(canonical.sha256(data))
        (tmp_path / digest.hex()).write_bytes(data)
        held = Held(detector="detectors/one", version=1, digest=digest, code=code, settings=settings, time=NOW)
        return held, tmp_path / digest.hex()

    return kept


def urls(*texts: str) -> list[Record]:
    return [Record(row, {"link": text, "note": "not for the model"}) for row, text in enumerate(texts, start=2)]


def taught_urls(bits: float = 10.0) -> Arrays:
    """A model that learnt: pages to log in are foul."""
    code: Detector = UrlRisk().with_key(KEY)
    settings = {**settle(code, {"bits": bits}), "batch": 8.0, "epochs": 4.0}
    words = ("login", "shoes")
    rows = [Record(n, {"u": f"http://s{n}.example{n}.com/{words[n % 2]}", "l": str(1 - n % 2)}) for n in range(200)]
    data = code.read(rows, {"url": "u", "label": "l"}, settings)
    return code.train(code.initial(settings), data, settings, np.random.default_rng(1)).arrays


def test_a_model_tells_its_roles_scores_rows_in_order_and_explains_them(trainer: Trainer, keep: Keep) -> None:
    one = Scorer(trainer, *keep("url-risk", taught_urls(), bits=10.0), None, key=KEY)
    assert (one.roles, one.is_risk) == (("url",), True)
    rows = urls("http://x.example/login", "nonsense here", "http://x.example/shoes")
    foul, bad, fair = one.score(rows, {"url": "link"})
    assert foul is not None
    assert fair is not None
    assert foul > 0.8 > 0.2 > fair
    assert bad is None
    said = one.explain(rows, {"url": "link"}, ())
    assert not isinstance(said[0], RowError)
    assert "ogin" in said[0][0]
    assert isinstance(said[1], RowError)
    assert (said[1].row, said[1].field, said[1].reason) == (3, "url", "URL_UNREADABLE")


def test_rows_go_over_in_batches_and_come_back_as_one(
    trainer: Trainer, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Scorer(trainer, *keep("url-risk", taught_urls(), bits=10.0), None, key=KEY)
    rows = urls(*(f"http://{n}.example/{'login' if n % 3 else 'shoes'}" for n in range(50)))
    whole = one.score(rows, {"url": "link"})
    asked: list[int] = []
    ask = trainer.ask

    def counted(header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        asked.append(len(body))
        return ask(header, body)

    monkeypatch.setattr(trainer, "ask", counted)
    monkeypatch.setattr(scorer, "BATCH_ROWS", 20)
    assert one.score(rows, {"url": "link"}) == whole
    assert len(asked) == 3
    monkeypatch.setattr(scorer, "BATCH_CHARACTERS", 1)
    assert one.score(rows[:5], {"url": "link"}) == whole[:5]
    assert len(asked) == 8
    assert one.score([], {"url": "link"}) == []


def test_a_file_without_one_readable_row_is_no_error(trainer: Trainer, keep: Keep) -> None:
    one = Scorer(trainer, *keep("url-risk", taught_urls(), bits=10.0), None, key=KEY)
    assert one.score(urls("", "a b"), {"url": "link"}) == [None, None]


def test_columns_are_told_by_the_names_they_have_in_the_file(trainer: Trainer, keep: Keep) -> None:
    arrays = {
        "w": np.array([2.0, 0.0], np.float32),
        "b": np.zeros(1, np.float32),
        "moments": np.array([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]),
        "unit": np.ones(1),
    }
    one = Scorer(trainer, *keep("tabular-risk", arrays, columns=2.0), None)
    assert one.roles == ("x1", "x2")
    rows = [Record(2, {"returns": "3", "sales": "1"}), Record(3, {"returns": "many", "sales": "1"})]
    columns = {"x1": "returns", "x2": "sales"}
    scores = one.score(rows, columns)
    assert scores == [pytest.approx(1 / (1 + np.exp(-6.0))), None]
    assert one.explain(rows[:1], columns, ()) == [("returns = 3 +6.00",)]


def test_brands_are_named_by_the_members_own_rows_and_by_what_it_is_told(
    trainer: Trainer, keep: Keep, tmp_path: Path
) -> None:
    settings = settle(BrandAttribution(), {"bits": 8.0, "classes": 64.0})
    bias = np.zeros(64, np.float32)
    bias[brand_class("Acme", settings, KEY)], bias[brand_class("Bolt", settings, KEY)] = 6.0, 5.0
    held = keep("brand-attribution", {"w": np.zeros((256, 64), np.float32), "b": bias}, bits=8.0, classes=64.0)
    own = tmp_path / "own.csv"
    own.write_text("link,whose\nhttp://a.example,Acme\nhttp://b.example,\n", encoding="utf-8")
    consent = Consent(
        detector="detectors/one",
        group=GroupId(""),
        code="",
        path=own,
        columns={"url": "link", "label": "whose"},
        seed=1,
    )
    one = Scorer(trainer, *held, consent, key=KEY)
    assert not one.is_risk
    rows = urls("http://x.example")
    assert one.score(rows, {"url": "link"}) == [pytest.approx(0.66, abs=0.01)]
    (said,) = one.explain(rows, {"url": "link"}, ("bolt",))
    assert not isinstance(said, RowError)
    assert list(said[:2]) == ["brand Acme 0.66", "brand bolt 0.24"]
    # Without the file names are unknown, and nothing else is lost.
    own.unlink()
    (said,) = Scorer(trainer, *held, None, key=KEY).explain(rows, {"url": "link"}, ())
    assert not isinstance(said, RowError)
    assert said[0].startswith("a brand not known here (class ")


def test_labels_are_read_once_if_at_all() -> None:
    reads: list[int] = []

    def own() -> Sequence[str]:
        reads.append(1)
        return ["a", "b", "a"]

    labels = Labels(["c", "b"], own)
    assert reads == []
    assert list(labels) == list(labels) == ["a", "b", "c"]
    assert reads == [1]


def test_a_process_that_died_reads_the_model_again_unnoticed(trainer: Trainer, keep: Keep) -> None:
    one = Scorer(trainer, *keep("url-risk", taught_urls(), bits=10.0), None, key=KEY)
    rows = urls("http://x.example/login")
    before = one.score(rows, {"url": "link"})
    (worker,) = (p for p in psutil.Process().children() if "member_agent.training.worker" in p.cmdline())
    os.kill(worker.pid, signal.SIGKILL)
    psutil.wait_procs([worker], timeout=5)
    assert one.score(rows, {"url": "link"}) == before


def _damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [(_damage, Corrupt, "MODEL_DAMAGED"), (Path.unlink, NotFound, "MODEL_NOT_HELD")],
    ids=["damaged", "gone"],
)
def test_a_model_that_is_not_what_was_fetched_is_refused_with_a_remedy(
    trainer: Trainer, keep: Keep, change: Callable[[Path], object], kind: type[AllianceError], reason: str
) -> None:
    held, path = keep("url-risk", taught_urls(9.0), bits=9.0)
    change(path)
    with pytest.raises(kind) as raised:
        Scorer(trainer, held, path, None, key=KEY)
    assert raised.value.reason == reason
    assert "alliance-agent sync" in raised.value.remedy


def test_a_model_of_other_arrays_or_without_numbers_or_code_is_refused(trainer: Trainer, keep: Keep) -> None:
    other = TabularRisk().initial(settle(TabularRisk(), {}))
    with pytest.raises(Corrupt) as unlike:
        Scorer(trainer, *keep("url-risk", other, bits=10.0), None, key=KEY)
    assert unlike.value.reason == "TENSORS_UNEXPECTED"
    broken = {**taught_urls(), "b": np.array([np.nan], np.float32)}
    with pytest.raises(Corrupt) as nan:
        Scorer(trainer, *keep("url-risk", broken, bits=10.0), None, key=KEY)
    assert nan.value.reason == "MODEL_DAMAGED"
    with pytest.raises(NotFound) as absent:
        Scorer(trainer, *keep("nobody-has-this", broken), None)
    assert absent.value.reason == "CODE_NOT_INSTALLED"
    with pytest.raises(InvalidInput) as unknown:
        Scorer(trainer, *keep("url-risk", broken, rounds=3.0), None, key=KEY)
    assert unknown.value.reason == "SETTING_UNKNOWN"


def test_a_keyed_detector_is_not_run_without_its_key_nor_understood_under_another(trainer: Trainer, keep: Keep) -> None:
    kept, rows = keep("url-risk", taught_urls(), bits=10.0), urls("http://x.example/login")
    with pytest.raises(FailedPrecondition) as without:
        Scorer(trainer, *kept, None)
    assert without.value.reason == "FEATURE_KEY_MISSING"
    (right,) = Scorer(trainer, *kept, None, key=KEY).score(rows, {"url": "link"})
    (wrong,) = Scorer(trainer, *kept, None, key=bytes(32)).score(rows, {"url": "link"})
    assert right is not None
    assert wrong is not None
    assert right > 0.8 > wrong


def test_a_model_without_arrays_scores(trainer: Trainer, keep: Keep) -> None:
    one = Scorer(trainer, *keep("null", NullDetector().initial({})), None)
    assert one.score(urls("a", "b"), {}) == [0.0, 0.0]
    assert one.explain(urls("a", "b"), {}, ()) == [(), ()]


def test_what_a_detector_answers_is_bounded(trainer: Trainer, keep: Keep) -> None:
    one = Scorer(trainer, *keep("odd", {}, what=0.0), None)
    assert one.score(urls("a"), {}) == [1.0]
    (said,) = one.explain(urls("a"), {}, ())
    assert not isinstance(said, RowError)
    assert len(said) == 8
    assert max(map(len, said)) <= 200
    assert said[1] == "5"
    for what, reason in ((1.0, "SCORES_UNEXPECTED"), (2.0, "TRAINING_FAILED")):
        odd = Scorer(trainer, *keep("odd", {}, what=what), None)
        with pytest.raises(AllianceError) as raised:
            odd.score(urls("a"), {})
        assert raised.value.reason == reason
        assert raised.value.remedy
    with pytest.raises(FailedPrecondition) as silent:
        Scorer(trainer, *keep("odd", {}, what=3.0), None).explain(urls("a"), {}, ())
    assert silent.value.reason == "SCORES_UNEXPECTED"
