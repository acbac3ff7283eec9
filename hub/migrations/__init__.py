"""Brings the database to this code's schema, and refuses to serve on another."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from alliance.errors import FailedPrecondition
from hub.runtime.db import Database

FOLDER = Path(__file__).parent


def _config(db: Database) -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["database"] = db
    return config


def migrate(db: Database, revision: str = "head") -> str:
    """Applies what is missing up to a revision; returns the one the database is at. Raises: FailedPrecondition."""
    try:
        command.upgrade(_config(db), revision)
    except CommandError as error:
        raise FailedPrecondition(
            f"this hub knows no revision {revision}", reason="SCHEMA_NEWER", remedy="use the version that wrote it"
        ) from error
    return current(db)


def current(db: Database) -> str:
    """The database's revision, empty for a new one."""
    with db.read() as tx:
        return MigrationContext.configure(tx).get_current_revision() or ""


def newest() -> str:
    head = ScriptDirectory(str(FOLDER)).get_current_head()
    return head or ""


def require_current(db: Database) -> None:
    """Raises: FailedPrecondition."""
    found, wanted = current(db), newest()
    if found != wanted:
        raise FailedPrecondition(
            f"the database is at revision {found or 'none'}, this hub needs {wanted}",
            reason="SCHEMA_REVISION",
            # `init` makes the schema: a database without one is not this hub's, and migrating it would hide that.
            remedy='run "alliance-hub migrate"' if found else "restore a backup, or name the right database.url",
        )
