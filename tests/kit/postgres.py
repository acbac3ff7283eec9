"""A real PostgreSQL for tests: a fresh cluster in a temporary folder, reached by a Unix socket in it.

Promise: nothing outside the temporary folder is read or written, no port is opened, and only the server
process started here is stopped. PostgreSQL refuses to run as root, so that under root it runs as another
user of the machine. It is started without fsync: tests of power cuts need a server of their own.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from sqlalchemy import URL, create_engine, text

from alliance.errors import Unavailable

SUPERUSER = "postgres"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0

_MISSING = 'no PostgreSQL on this machine: run "make services" as root, or install it'
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
}


def find_binaries() -> Path | None:
    """The folder of initdb and postgres: that of `pg_ctl` on the PATH, else the newest Debian package's."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda bin: _numbers(bin.parent.name), reverse=True)
    on_path = shutil.which("pg_ctl")
    if on_path is not None:
        folders.insert(0, Path(on_path).resolve().parent)
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


class PostgresServer:
    """A server with any number of fresh databases, from `__enter__` to `__exit__`.

    Raises:
        Unavailable: POSTGRES_FAILED, with the end of the server's own output.
    """

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._numbers = count(1)
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="alliance-pg-"))
        try:
            self._initialise()
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def create_database(self) -> str:
        """A SQLAlchemy URL of a new, empty database, ours until the server stops."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name}")
        return self._url(name)

    def _initialise(self) -> None:
        user = _user()
        if user is not None:
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        options = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"]
        log = self._folder / "initdb.log"
        process = self._spawn("initdb", "-D", "data", "-U", SUPERUSER, *options, log=log)
        if process.wait(START_TIMEOUT_S) != 0:
            raise _failed("initdb", log.read_bytes())

    def _start(self) -> None:
        settings = [part for key, value in _SETTINGS.items() for part in ("-c", f"{key}={value}")]
        log = self._folder / "postgres.log"
        self._process = self._spawn("postgres", "-D", "data", "-k", str(self._folder), *settings, log=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise _failed("postgres", log.read_bytes())
            time.sleep(0.02)

    def _spawn(self, program: str, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
        user = _user()
        with log.open("wb") as output:
            return subprocess.Popen(
                [str(self._binaries / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(),
                cwd=self._folder,
                user=None if user is None else user.pw_uid,
                group=None if user is None else user.pw_gid,
                extra_groups=None if user is None else [],
            )

    def _answers(self) -> bool:
        command = [str(self._binaries / "pg_isready"), "-q", "-h", str(self._folder), "-U", SUPERUSER]
        return subprocess.run(command, env=_environment()).returncode == 0

    def _stop(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)  # "fast": ends sessions, does not wait for them to leave
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)  # "immediate": SIGKILL would leave its children behind
                process.wait(STOP_TIMEOUT_S)
        shutil.rmtree(self._folder)

    def _url(self, database: str) -> str:
        url = URL.create("postgresql+psycopg", username=SUPERUSER, database=database, query={"host": str(self._folder)})
        return url.render_as_string(hide_password=False)

    def _execute(self, statement: str) -> None:
        engine = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole run; skips, with the reason, where none is installed."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip(_MISSING)
    with PostgresServer(binaries) as server:
        yield server


def _numbers(version: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", version)]


def _user() -> pwd.struct_passwd | None:
    """Whom to run as: ourselves (None), or another user if we are root."""
    if os.geteuid() != 0:
        return None
    users = {user.pw_name: user for user in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in users:
            return users[name]
    raise Unavailable(
        "PostgreSQL refuses to run as root, and there is no user postgres or nobody",
        reason="POSTGRES_FAILED",
        remedy="run the tests as another user",
    )


def _environment() -> dict[str, str]:
    """Ours without what steers PostgreSQL's tools, so that a developer's own server is never meant."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return kept | {"LC_ALL": "C"}


def _failed(what: str, output: bytes) -> Unavailable:
    tail = output.decode(errors="replace").strip()[-2000:]
    return Unavailable(f"{what} did not start: {tail}", reason="POSTGRES_FAILED", remedy="see what it printed above")
