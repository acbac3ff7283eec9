"""Flower's own deployment engine: a SuperLink, three SuperNodes and an app that does nothing, over TLS on loopback.

`python -m bench.peers.flower_engine ROUNDS SECONDS`, run in the environment of `make bench-env`, prints one line of
JSON: the seconds of each round; in the first the nodes fetch the app. It ends by itself, after SECONDS at the latest
with what there is by then, and ends only processes that it started.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from bench.peers.certificate import self_signed

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv-bench" / "bin"
NODES = 3


def run(rounds: int, *, seconds: float) -> list[float] | None:
    """Seconds of each of so many rounds that ended in `seconds`; None, and why on standard error, where none ran."""
    if not (ENVIRONMENT / "flower-superlink").exists():
        print('bench round_overhead: no Flower engine; run "make bench-env" to have it', file=sys.stderr)
        return None
    command = [str(ENVIRONMENT / "python"), "-m", "bench.peers.flower_engine", str(rounds), str(seconds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        print(f"bench round_overhead: Flower's engine did not run ({last})", file=sys.stderr)
        return None
    measured: list[float] = json.loads(done.stdout.splitlines()[-1])["seconds"]
    return measured


def measure(folder: Path, rounds: int, *, seconds: float) -> list[float]:
    """Starts everything in `folder`, and ends it."""
    ends = time.monotonic() + seconds
    port, times = _free_port(), folder / "times"
    key, certificate = self_signed()
    (folder / "key.pem").write_bytes(key)
    (folder / "certificate.pem").write_bytes(certificate)
    shutil.copytree(Path(__file__).parent / "flower_app", folder / "app")
    home = folder / "home"
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "bench"\n\n[superlink.bench]\naddress = "127.0.0.1:{port}"\n'
        f'root-certificates = "{folder / "certificate.pem"}"\n'
    )
    with _Processes(folder, home) as processes:
        processes.start(
            "flower-superlink",
            *("--host", "127.0.0.1", "--port", str(port), "--disable-runtime-dependency-installation"),
            *("--ssl-certfile", str(folder / "certificate.pem"), "--ssl-keyfile", str(folder / "key.pem")),
            *("--ssl-ca-certfile", str(folder / "certificate.pem")),
        )
        _wait(lambda: _listens(port), ends)
        for _ in range(NODES):
            processes.start(
                "flower-supernode",
                *("--superlink", f"127.0.0.1:{port}", "--port", str(_free_port())),
                *("--root-certificates", str(folder / "certificate.pem")),
            )
        config = f'rounds={rounds} times="{times}"'
        started = processes.start("flwr", "run", str(folder / "app"), "bench", "--run-config", config)
        _wait(lambda: started.poll() is not None, ends)
        assert started.returncode == 0, (folder / "flwr.log").read_text()
        with contextlib.suppress(TimeoutError):
            _wait(lambda: len(_read(times)) == rounds + 1, ends)
        return [after - before for before, after in itertools.pairwise(_read(times))]


class _Processes:
    """What was started here, with everything those started; all of it ends with the block."""

    def __init__(self, folder: Path, home: Path) -> None:
        self._folder, self._started = folder, list[psutil.Popen]()
        path = f"{ENVIRONMENT}{os.pathsep}{os.environ.get('PATH', '')}"
        quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
        self._environment = os.environ | {"FLWR_HOME": str(home), "HOME": str(home), "PATH": path} | quiet

    def start(self, command: str, *arguments: str) -> psutil.Popen:
        with (self._folder / f"{command}.log").open("a") as log:
            process = psutil.Popen(
                [str(ENVIRONMENT / command), *arguments],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._started.append(process)
        return process

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, *_: object) -> None:
        """The parents first, so that they start no more."""
        family = []
        for process in self._started:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
                family += [process, *process.children(recursive=True)]
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(family, timeout=10.0)


def _read(times: Path) -> list[float]:
    return [float(line) for line in times.read_text().splitlines()] if times.exists() else []


def _wait(done: Callable[[], bool], ends: float) -> None:
    """Raises: TimeoutError."""
    while not done():
        if time.monotonic() > ends:
            raise TimeoutError
        time.sleep(0.1)


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="alliance-bench-") as temporary:
        print(json.dumps({"seconds": measure(Path(temporary), int(sys.argv[1]), seconds=float(sys.argv[2]))}))
