"""Fixtures that any test may ask for; what they start is the real thing (tests/kit)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.app import Services, open_services
from hub.config import Home
from hub.setup import initialise
from tests.kit.agents import quick_keys
from tests.kit.alliance import Alliance, alliance
from tests.kit.clock import ShiftedClock
from tests.kit.databases import Databases, postgres_databases
from tests.kit.hub import ADMIN, RunningHub, local_settings, running_hub
from tests.kit.postgres import postgres_server

__all__ = ["postgres_databases", "postgres_server"]


@pytest.fixture(autouse=True, scope="session")
def _quick_keys() -> Iterator[None]:
    """What this process seals takes little work to open, also for the processes it starts."""
    with quick_keys():
        yield


@pytest.fixture
def clock() -> ShiftedClock:
    """The hub's clock where a test also asks for `services`, `hub` or `three`."""
    return ShiftedClock()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """A new database of each kind; empty means SQLite in the hub's home."""
    if request.param == "sqlite":
        return ""
    databases: Databases = request.getfixturevalue("postgres_databases")
    return databases.create()


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Home:
    """An initialised hub that does not serve."""
    made = Home(path=tmp_path / "hub")
    initialise(made, local_settings(url=database_url), ADMIN)
    return made


@pytest.fixture
def services(home: Home, clock: ShiftedClock, database_url: str) -> Iterator[Services]:
    """A hub's services on each kind of database, called directly."""
    with open_services(home, local_settings(url=database_url), clock=clock) as opened:
        yield opened


@pytest.fixture
def hub(tmp_path: Path, clock: ShiftedClock) -> Iterator[RunningHub]:
    """A hub that serves, on SQLite, with nobody in it but the admin."""
    with running_hub(tmp_path, clock=clock) as running:
        yield running


@pytest.fixture
def three(tmp_path: Path, clock: ShiftedClock) -> Iterator[Alliance]:
    """A hub with three members in one group with an epoch and a bank."""
    with alliance(members=3, folder=tmp_path, clock=clock) as running:
        yield running
