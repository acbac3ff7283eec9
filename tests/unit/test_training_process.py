"""The training process: real ones, with detectors that train, crash, hang, fill memory, print, or make other arrays."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from alliance import tensors
from alliance.errors import (
    AllianceError,
    Corrupt,
    FailedPrecondition,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unavailable,
)
from member_agent.training.detector import settle
from member_agent.training.detectors.url_risk import UrlRisk
from member_agent.training.trainer import Limits, Task, Trainer

NULL = {"null": "member_agent.training.detectors.null:NullDetector"}
HOSTILE = '''
import os, time
import numpy as np
from member_agent.training.detectors.null import NullDetector
from member_agent.training.detector import Trained
from alliance.tensors import ArraySpec


class Hostile(NullDetector):
    """Does what its round's number says."""

    def train(self, arrays, data, settings, rng):
        print("a detector that prints")
        what = int(settings["server-round"])
        if what == 1:
            os._exit(3)
        if what == 2:
            time.sleep(600)
        if what == 3:
            np.ones(1 << 30)
        if what == 4:
            raise ValueError("the code failed")
        if what == 5:
            return Trained(arrays={"w": np.zeros(3)}, examples=1)
        if what == 6:
            import resource
            resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, 1 << 40))
        return super().train(arrays, data, settings, rng)
'''


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.csv"
    file.write_text("id\n" + "".join(f"{n}\n" for n in range(20)), encoding="utf-8")
    return file


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trainer]:
    """With a detector that others installed beside the agent, by an entry point of their own package."""
    (tmp_path / "hostile_detector.py").write_text(HOSTILE, encoding="utf-8")
    package = tmp_path / "hostile_detector-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile-detector\nVersion: 1\n", encoding="utf-8")
    (package / "entry_points.txt").write_text(
        "[alliance.detectors]\nhostile = hostile_detector:Hostile\n"
        "url-by-others = member_agent.training.detectors.url_risk:UrlRisk\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    limits = Limits(memory_bytes=1 << 30, cpus=1, nice=1)
    with Trainer(limits=limits, timeout_seconds=3.0, own_code=NULL) as made:
        yield made


def task(rows: Path, detector: str, number: int = 0) -> Task:
    return Task(detector=detector, path=rows, columns={}, settings={}, number=number, key=bytes(32))


@pytest.mark.parametrize(
    ("number", "kind", "reason"),
    [
        (1, Unavailable, "TRAINING_DIED"),
        (2, LimitExceeded, "TRAINING_TIMEOUT"),
        (3, LimitExceeded, "OUT_OF_MEMORY"),
        (4, Unavailable, "TRAINING_FAILED"),
        (5, FailedPrecondition, "TRAINING_FAILED"),
        (6, Unavailable, "TRAINING_FAILED"),
    ],
    ids=["crashes", "hangs", "fills-memory", "raises", "other-arrays", "lifts-its-cap"],
)
def test_what_goes_wrong_costs_its_own_task_and_no_other(
    trainer: Trainer, rows: Path, number: int, kind: type[AllianceError], reason: str
) -> None:
    with pytest.raises(kind) as raised:
        trainer.train(task(rows, "hostile", number), b"")
    assert raised.value.reason == reason
    assert trainer.train(task(rows, "hostile"), b"").examples == 15


def _workers() -> list[psutil.Process]:
    """Training processes of this one, which may have other children, such as a database of the kit."""
    return [child for child in psutil.Process().children() if "member_agent.training.worker" in child.cmdline()]


def test_a_process_killed_between_tasks_is_replaced_unnoticed(trainer: Trainer, rows: Path) -> None:
    trainer.train(task(rows, "null"), b"")
    (worker,) = _workers()
    os.kill(worker.pid, signal.SIGKILL)
    psutil.wait_procs([worker], timeout=5)
    assert trainer.train(task(rows, "null"), b"").examples == 15


def test_the_process_has_its_caps_and_ends_with_the_trainer(trainer: Trainer, rows: Path) -> None:
    trainer.train(task(rows, "null"), b"")
    (worker,) = _workers()
    assert worker.rlimit(psutil.RLIMIT_DATA) == (1 << 30, 1 << 30)
    assert len(worker.cpu_affinity()) == 1
    assert worker.nice() == psutil.Process().nice() + 1
    trainer.close()
    assert not worker.is_running()


def test_an_update_is_the_specified_arrays_and_equal_seeds_repeat_it(trainer: Trainer, tmp_path: Path) -> None:
    file, code = tmp_path / "urls.csv", UrlRisk()
    lines = [f"http://{'paypal' if n % 2 else 'shoes'}.shop{n}.example{n}.com/,{n % 2}" for n in range(80)]
    file.write_text("\n".join(["link,verdict", *lines]) + "\n", encoding="utf-8")
    settings = settle(code, {"bits": 10.0, "rate": 0.3})
    model = tensors.encode(code.initial(settings))
    wanted = Task(
        detector="url-by-others",
        path=file,
        columns={"url": "link", "label": "verdict"},
        settings={"bits": 10.0, "rate": 0.3, "server-round": 1.0, "proximal-mu": 0.01},
        number=1,
        seed=7,
        key=bytes(32),
    )
    made = trainer.train(wanted, model)
    assert trainer.train(wanted, model) == made
    assert trainer.train(replace(wanted, key=bytes(range(32))), model).update != made.update
    with pytest.raises(FailedPrecondition) as keyless:
        trainer.train(replace(wanted, key=b""), model)
    assert keyless.value.reason == "FEATURE_KEY_MISSING"
    update = tensors.decode(made.update, code.specs(settings))
    assert np.isfinite(update["w"]).all()
    assert update["w"].any()
    judged = trainer.evaluate(wanted, made.update)
    assert list(judged.metrics) == list(judged.local_metrics) == list(judged.blended_metrics) == list(code.metrics)
    assert judged.metrics["pr_auc"] > 0.9
    assert made.examples + judged.examples == 80
    # A file that changed is read again.
    file.write_text("\n".join(["link,verdict", *lines[:60]]) + "\n", encoding="utf-8")
    assert trainer.train(wanted, model).examples < made.examples


def test_errors_of_rows_models_and_names_come_back_as_themselves(trainer: Trainer, rows: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as missing:
        trainer.train(task(rows, "nobody-has-this"), b"")
    assert missing.value.reason == "CODE_NOT_INSTALLED"
    with pytest.raises(NotFound) as absent:
        trainer.train(task(tmp_path / "absent.csv", "null"), b"")
    assert absent.value.reason == "FILE_UNREADABLE"
    with pytest.raises(Corrupt):
        trainer.train(task(rows, "url-by-others"), b"something else")
    settings = settle(UrlRisk(), {})
    with pytest.raises(InvalidInput) as unmapped:
        trainer.train(task(rows, "url-by-others"), tensors.encode(UrlRisk().initial(settings)))
    assert unmapped.value.reason == "COLUMN_UNMAPPED"
    few = tmp_path / "few.csv"
    few.write_text("id\n1\n", encoding="utf-8")
    with pytest.raises(FailedPrecondition) as scarce:
        trainer.train(task(few, "null"), b"")
    assert scarce.value.reason == "NO_DATA"


def test_a_warm_process_answers_in_well_under_two_milliseconds(trainer: Trainer, rows: Path) -> None:
    trainer.train(task(rows, "null"), b"")
    taken = []
    for number in range(100):
        start = time.perf_counter()
        trainer.train(task(rows, "null", number), b"")
        taken.append(time.perf_counter() - start)
    assert sorted(taken)[20] < 0.002
