"""The kit's PostgreSQL is a real one, its databases are apart, and it leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from alliance.errors import Unavailable
from tests.kit import postgres
from tests.kit.postgres import PostgresServer, find_binaries

pytestmark = pytest.mark.postgres


def run(url: str, statement: str) -> list[object]:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return list(result.scalars()) if result.returns_rows else []
    finally:
        engine.dispose()


def test_databases_are_empty_and_apart() -> None:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL on this machine")
    with PostgresServer(binaries) as server:
        one, other = server.create_database(), server.create_database()
        run(one, "CREATE TABLE item (name text)")
        run(one, "INSERT INTO item VALUES ('here')")
        assert run(one, "SELECT name FROM item") == ["here"]
        assert run(other, "SELECT to_regclass('item')") == [None]
        assert str(run(one, "SHOW server_encoding")[0]) == "UTF8"
        assert run(one, "SHOW listen_addresses") == [""]
        folder = Path(str(make_url(one).query["host"]))
        assert folder.is_dir()
    assert not folder.exists()


def test_a_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL on this machine")
    monkeypatch.setitem(postgres._SETTINGS, "max_connections", "none")
    with pytest.raises(Unavailable, match="invalid value for parameter"), PostgresServer(binaries):
        pass
