"""A PostgreSQL database of its own for each test, at the price of a schema: a real one is 300 files and 7 MB."""

from __future__ import annotations

from itertools import count

import pytest
from sqlalchemy import create_engine, make_url, text

from tests.kit.postgres import PostgresServer


class Databases:
    """Hands out URLs in which a hub finds nothing but what it made there."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._numbers = count(1)

    def create(self) -> str:
        """The URL of a new, empty schema, the only one on its connections' search path."""
        name = f"test_{next(self._numbers)}"
        engine = create_engine(self._url)
        try:
            with engine.begin() as connection:
                connection.execute(text(f"CREATE SCHEMA {name}"))
        finally:
            engine.dispose()
        return self._url.update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgres_databases(postgres_server: PostgresServer) -> Databases:
    """On the one server of the run; skips, with the reason, where PostgreSQL is not installed."""
    return Databases(postgres_server.create_database())
