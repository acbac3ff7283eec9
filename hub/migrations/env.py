"""Alembic's entry: runs the revisions in one write transaction of our own database object."""

from __future__ import annotations

from alembic import context

from hub.migrations import tables
from hub.runtime.db import Database


def run() -> None:
    db: Database = context.config.attributes["database"]
    with db.write() as tx:
        context.configure(connection=tx, target_metadata=tables.metadata, render_as_batch=db.is_sqlite)
        context.run_migrations()


run()
