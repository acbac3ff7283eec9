"""The demo's children are real processes: their answers, their failures, and that none outlives the demo."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from alliance.errors import AllianceError, Corrupt
from demo.processes import Children, Daemon
from tests.kit.waiting import eventually


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    started = Children(tmp_path)
    yield started
    started.stop()


def module(folder: Path, name: str, body: str) -> str:
    """A module the children can run: they work in the folder, so `-m` finds it there."""
    (folder / f"{name}.py").write_text(body)
    return name


def test_the_answer_is_the_document_on_standard_output(children: Children, tmp_path: Path) -> None:
    name = module(tmp_path, "answers", "import json, sys; print(json.dumps({'given': sys.argv[1:]}))")
    assert children.ask("member", name, "--home", "x", "status") == {"given": ["--home", "x", "status"]}


def test_a_failure_shows_its_last_lines_and_its_log(children: Children, tmp_path: Path) -> None:
    name = module(
        tmp_path, "fails", "import sys; print('\\n'.join(f'line {n}' for n in range(50)), file=sys.stderr); sys.exit(7)"
    )
    with pytest.raises(AllianceError) as failed:
        children.ask("member", name, "--home", "x", "catalog", "import", "file.csv")
    shown = str(failed.value)
    assert "member: catalog import ended with status 7" in shown
    assert "line 49" in shown
    assert "line 3\n" not in shown
    assert str(tmp_path / "logs" / "member.log") in shown
    assert failed.value.reason == "CHILD_FAILED"


def test_words_that_are_no_json_are_a_broken_answer(children: Children, tmp_path: Path) -> None:
    name = module(tmp_path, "talks", "print('hello')")
    with pytest.raises(Corrupt, match="printed no JSON"):
        children.ask("member", name, "status")


def test_what_a_command_answers_is_not_logged(children: Children, tmp_path: Path) -> None:
    name = module(tmp_path, "secret", "print('\"alliance1_secret\"')")
    assert children.ask("operator", name, "member", "invite") == "alliance1_secret"
    log = (tmp_path / "logs" / "operator.log").read_text()
    assert "member invite" in log
    assert "alliance1_secret" not in log


def test_a_followed_command_tells_its_lines_as_they_come(children: Children, tmp_path: Path) -> None:
    waits = "while not pathlib.Path('go').exists(): time.sleep(0.01)"
    body = f"import pathlib, time\nprint('first', flush=True)\n{waits}\nprint('last')"
    name = module(tmp_path, "walks", body)
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        (tmp_path / "go").touch()

    children.follow("rounds", name, "--home", "x", "watch", told=tell)
    assert told == ["first", "last"]
    assert "first\nlast" in (tmp_path / "logs" / "rounds.log").read_text()


def test_a_followed_command_that_fails_shows_what_it_told(children: Children, tmp_path: Path) -> None:
    name = module(tmp_path, "stops", "import sys; print('failed: quorum missed'); sys.exit(1)")
    with pytest.raises(AllianceError, match="quorum missed"):
        children.follow("rounds", name, "round", "watch", told=lambda line: None)


def test_a_command_that_hangs_is_ended(children: Children, tmp_path: Path) -> None:
    name = module(tmp_path, "hangs", "import time; time.sleep(60)")
    with pytest.raises(AllianceError, match="took longer than 1 s"):
        children.ask("member", name, "sync", seconds=1)
    assert running(name) == []


def test_settings_and_proxies_of_the_shell_are_left_out(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ALLIANCE_HUB_HOME", "ALLIANCE_AGENT_HUB_ADDRESS", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("LC_TIME", "C")
    names = set(
        children.ask("member", module(tmp_path, "environment", "import json, os; print(json.dumps(list(os.environ)))"))
    )
    assert "LC_TIME" in names
    assert not {name for name in names if name.startswith("ALLIANCE_") or "proxy" in name.lower()}


def test_a_daemon_that_ends_is_noticed(children: Children, tmp_path: Path) -> None:
    daemon = children.start("hub", module(tmp_path, "ends", "import sys; sys.exit('no port left')"))
    daemon.process.wait(10)
    with pytest.raises(AllianceError, match=r"hub ended with status 1\n  \| no port left"):
        children.check()


def test_stop_ends_all_also_those_that_do_not_want_to(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demo.processes.STOP_SECONDS", 0.5)
    stubborn = module(
        tmp_path,
        "stubborn",
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', 'grandchild-of-stubborn'])\n"
        "print('up', flush=True); time.sleep(60)",
    )
    daemon = children.start("agent", stubborn)
    wait_for_log(daemon, "up")
    assert len(running("grandchild-of-stubborn")) == 1
    children.stop()
    assert daemon.process.poll() is not None
    # An orphan that was killed is there until its new parent has reaped it.
    eventually(lambda: not running("grandchild-of-stubborn"), "the grandchild's end")
    with pytest.raises(AllianceError, match="stopping"):
        children.start("late", stubborn)


def test_jobs_run_side_by_side_and_answer_in_order(children: Children, tmp_path: Path) -> None:
    name = module(tmp_path, "waits", "import sys, time; time.sleep(float(sys.argv[1])); print(sys.argv[1])")
    jobs = [partial(children.ask, f"m{n}", name, seconds_) for n, seconds_ in enumerate(("0.4", "0.1", "0.2"))]
    assert children.together(jobs) == [0.4, 0.1, 0.2]


def test_the_first_failure_ends_the_others_at_once(children: Children, tmp_path: Path) -> None:
    slow = module(tmp_path, "slow", "import time; time.sleep(600)")
    bad = module(tmp_path, "bad", "import sys; sys.exit(3)")
    with pytest.raises(AllianceError, match="ended with status 3"):
        children.together([partial(children.ask, "slow", slow), partial(children.ask, "bad", bad)])
    # It would have ended by itself after ten minutes, and this test after two.
    assert running(slow) == []


def running(word: str) -> list[int]:
    """Live processes, below this one or left behind, whose command line has the word."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if word in (process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.pid)
    return found


def wait_for_log(daemon: Daemon, word: str) -> None:
    eventually(lambda: word in daemon.log.read_text(), f"{word} in {daemon.log}")
