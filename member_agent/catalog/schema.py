"""The tables of `catalog.db` and how it is opened: synced commits, and for its owner's eyes alone (mode 0600)."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from alliance.errors import Corrupt
from member_agent.database import LocalDatabase

SCHEMA_VERSION = 1

metadata = sa.MetaData()

source = sa.Table(
    "source",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("format", sa.Text, nullable=False),
)

import_run = sa.Table(
    "import_run",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("source_id", sa.ForeignKey("source.id"), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("input_digest", sa.LargeBinary, nullable=False),
    sa.Column("map_digest", sa.LargeBinary, nullable=False),
    sa.Column("cursor", sa.Integer, nullable=False, default=0),
    sa.Column("rows", sa.Integer, nullable=False, default=0),
    sa.Column("new", sa.Integer, nullable=False, default=0),
    sa.Column("changed", sa.Integer, nullable=False, default=0),
    sa.Column("unchanged", sa.Integer, nullable=False, default=0),
    sa.Column("rejected", sa.Integer, nullable=False, default=0),
    sa.Column("unmatched", sa.Integer, nullable=False, default=0),
    sa.Column("warnings", sa.Integer, nullable=False, default=0),
    sa.Column("vanished", sa.Integer, nullable=False, default=0),
    sa.Column("withdrawn", sa.Integer, nullable=False, default=0),
    sa.Column("started_time", sa.Text, nullable=False),
    sa.Column("finished_time", sa.Text),
    sa.CheckConstraint("state IN ('reading', 'finished', 'abandoned')"),
    sa.CheckConstraint("rows = new + changed + unchanged + rejected"),
)
sa.Index(
    "import_run_open",
    import_run.c.source_id,
    unique=True,
    sqlite_where=import_run.c.state == "reading",
)

product = sa.Table(
    "product",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("source_id", sa.ForeignKey("source.id"), nullable=False),
    sa.Column("source_key", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("brand", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("gtin", sa.Text, nullable=False),
    sa.Column("mpn", sa.Text, nullable=False),
    sa.Column("category", sa.Text, nullable=False),
    sa.Column("condition", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("price", sa.Text),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("row_digest", sa.LargeBinary, nullable=False),
    sa.Column("content_digest", sa.LargeBinary, nullable=False),
    sa.Column("change_seq", sa.Integer, nullable=False),
    sa.Column("first_run_id", sa.ForeignKey("import_run.id"), nullable=False),
    sa.Column("changed_run_id", sa.ForeignKey("import_run.id"), nullable=False),
    sa.Column("missing_run_id", sa.ForeignKey("import_run.id"), comment="the first run that did not see it"),
    sa.UniqueConstraint("source_id", "source_key"),
    sa.CheckConstraint("state IN ('active', 'withdrawn')"),
    sa.Index("product_change", "change_seq", "id"),
)

image = sa.Table(
    "image",
    metadata,
    sa.Column("product_id", sa.ForeignKey("product.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("path", sa.Text),
    sa.Column("link", sa.Text, nullable=False),
    sa.Column("sha256", sa.LargeBinary, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("modified_ns", sa.Integer, nullable=False),
    sa.CheckConstraint("path IS NOT NULL OR link <> ''"),
    sqlite_with_rowid=False,
)

seen = sa.Table(
    "seen",
    metadata,
    sa.Column("product_id", sa.ForeignKey("product.id"), primary_key=True, autoincrement=False),
    sa.Column("run_id", sa.ForeignKey("import_run.id"), nullable=False),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("whole", sa.Boolean, nullable=False),
    sqlite_with_rowid=False,
)
"""The products an unfinished run has met. It is what an unchanged row writes, and it is emptied when the run ends."""

row_error = sa.Table(
    "row_error",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.ForeignKey("import_run.id"), nullable=False, index=True),
    sa.Column("row", sa.Integer),
    sa.Column("field", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
)

counter = sa.Table(
    "counter",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Integer, nullable=False),
)
"""`change` numbers committed changes, `product` the ids given out; neither ever goes back."""


def open_catalog(path: Path) -> LocalDatabase:
    """Opens the catalogue's database, creating it when there is none.

    Raises:
        FailedPrecondition: SCHEMA_NEWER.
        Corrupt: NOT_A_DATABASE.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    try:
        return LocalDatabase(path, metadata, version=SCHEMA_VERSION)
    except DatabaseError as error:
        raise Corrupt(
            f"{path.name} is damaged or no SQLite database",
            reason="NOT_A_DATABASE",
            remedy="move it away and import the sources again",
        ) from error
