"""The training process and the agent that started it: no training outlives an agent, no code comes from its folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

from tests.kit.waiting import eventually

SLEEPY = """
import time
from member_agent.training.detectors.null import NullDetector


class Sleepy(NullDetector):
    def train(self, *arguments):
        time.sleep(600)
"""
AGENT = """
import sys
from pathlib import Path
from member_agent.training.trainer import Task, Trainer

with Trainer(own_code={"sleepy": "sleepy_detector:Sleepy"}) as trainer:
    task = Task(detector="sleepy", path=Path(sys.argv[1]), columns={}, settings={}, number=1)
    try:
        trainer.train(task, b"")
    except Exception as error:
        print(error.reason)
"""


def agent(folder: Path, *, path: str) -> subprocess.Popen[str]:
    """A stand-in that trains a detector which never comes back, started in `folder`."""
    (folder / "sleepy_detector.py").write_text(SLEEPY, encoding="utf-8")
    rows = folder / "rows.csv"
    rows.write_text("id\n" + "1\n" * 20, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, os.environ.get("PYTHONPATH", "")]))}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", AGENT, str(rows)], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )


def test_an_agent_that_is_killed_during_a_task_leaves_no_training_behind(tmp_path: Path) -> None:
    with agent(tmp_path, path=str(tmp_path)) as killed:
        workers = started(killed)
        killed.kill()
        killed.wait()
        gone, alive = psutil.wait_procs(workers, timeout=10)
        assert (len(gone), alive) == (1, [])


def test_no_code_is_taken_from_the_folder_an_agent_is_started_in(tmp_path: Path) -> None:
    with agent(tmp_path, path="") as running:
        output, _ = running.communicate(timeout=60)
    assert output.strip() == "CODE_NOT_INSTALLED"


def started(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The worker, once it sleeps in the task rather than still importing."""

    def asleep() -> list[psutil.Process] | None:
        workers = psutil.Process(process.pid).children()
        in_task = workers and any("numpy" in row.path for row in workers[0].memory_maps())
        return workers if in_task and workers[0].status() == "sleeping" else None

    return eventually(asleep, "the training process", pause=0.1)
