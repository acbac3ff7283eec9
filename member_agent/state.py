"""The tables of `agent.db` in one metadata, and how it is opened; each table is used by one module."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import MetaData

from member_agent.database import LocalDatabase

metadata = MetaData()
SCHEMA_VERSION = 5


def open_state(path: Path) -> LocalDatabase:
    """Opens `agent.db`; every module that declares tables must be imported before."""
    return LocalDatabase(path, metadata, version=SCHEMA_VERSION)
