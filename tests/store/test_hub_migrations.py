"""The migrations make exactly the schema that the code's tables describe, on either database."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from alliance.errors import FailedPrecondition, InvalidInput
from hub.app import Services, open_services
from hub.config import Home
from hub.migrations import current, migrate, newest, require_current
from hub.migrations.tables import metadata
from hub.runtime.db import Database
from tests.kit.hub import local_settings


def test_the_migrated_schema_is_the_metadata(services: Services) -> None:
    with services.db.read() as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_a_new_database_is_refused_until_it_is_migrated(tmp_path: Path, database_url: str) -> None:
    db = Database(database_url or f"sqlite:///{tmp_path}/new.db")
    try:
        with pytest.raises(FailedPrecondition) as caught:
            require_current(db)
        assert caught.value.reason == "SCHEMA_REVISION"
        assert migrate(db) == migrate(db) == current(db) == newest()
        require_current(db)
    finally:
        db.close()


def test_sqlite_serves_one_process(home: Home, database_url: str) -> None:
    settings = local_settings(url=database_url)
    with open_services(home, settings):
        if database_url:
            with open_services(home, settings) as second:
                assert second.db.url == Database(database_url).url
            return
        with pytest.raises(FailedPrecondition) as caught, open_services(home, settings):
            pass
        assert caught.value.reason == "ALREADY_RUNNING"


def test_another_database_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"database\.url"):
        Database("mysql://localhost/hub")
