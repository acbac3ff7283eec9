"""The migrations make exactly the schema that the code's tables describe, on either database."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from alliance.errors import FailedPrecondition, InvalidInput
from hub.app import Services, open_services
from hub.config import Home
from hub.federation import model_store, store
from hub.federation.release import Release
from hub.migrations import current, migrate, newest, require_current
from hub.migrations.tables import metadata
from hub.runtime.db import Database
from tests.kit.federation import spec
from tests.kit.hub import local_settings

SPEC = spec().SerializeToString(deterministic=True)


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


def test_models_that_rounds_released_before_are_versions_now(tmp_path: Path, database_url: str) -> None:
    db = Database(database_url or f"sqlite:///{tmp_path}/old.db")
    try:
        migrate(db, "0002")
        with db.write() as tx:
            tx.execute(text("INSERT INTO sharing_group (name, create_time) VALUES ('groups/g', 1)"))
            old = "INSERT INTO detector (name, group_name, spec, state, proposer, create_time, model_digest, number)"
            values = "VALUES (:name, 'groups/g', :spec, 'approved', 'operators/x', 7, :digest, :number)"
            tx.execute(text(f"{old} {values}"), {"name": "detectors/a", "spec": SPEC, "digest": b"2" * 32, "number": 2})
            tx.execute(text(f"{old} {values}"), {"name": "detectors/b", "spec": SPEC, "digest": b"9" * 32, "number": 0})
            for number, state, start, result in (
                (1, "released", b"0", b"1"),
                (2, "failed", b"1", None),
                (2, "released", b"1", b"2"),
            ):
                tx.execute(
                    text(
                        'INSERT INTO round (detector, state, number, quorum, deadline, "left", create_time, '
                        "phase_deadline, model_digest, result_digest, end_time, reason) "
                        "VALUES ('detectors/a', :state, :number, 2, 1, 0, 8, 9, :start, :result, 10, '')"
                    ),
                    {"state": state, "number": number, "start": start * 32, "result": result and result * 32},
                )
        migrate(db)
        with db.read() as tx:
            a, b = store.detectors(tx, groups=None, after=None, limit=9)
            models = [model_store.listed(tx, one.id, before=None, limit=9) for one in (a, b)]
    finally:
        db.close()
    assert (a.release, b.release) == (Release(newest=2, start=2, released=2), Release())
    assert [[(one.version, one.digest[:1], one.round, one.trained_from) for one in listed] for listed in models] == [
        [(2, b"2", 3, 1), (1, b"1", 1, 0), (0, b"0", None, 0)],
        [(0, b"9", None, 0)],
    ]
