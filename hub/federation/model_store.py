"""The table of models: what every round of a detector made, and what it began with. Rows are never changed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, ForeignKey, Integer, LargeBinary, Row, Table, insert, select

from alliance.names import Digest
from alliance.prepared import Prepared
from hub.federation.model import DetectorId, Round
from hub.federation.release import Model
from hub.runtime.db import Int64, metadata

model_table = Table(
    "detector_model",
    metadata,
    Column("detector", ForeignKey("detector.name"), primary_key=True),
    # The number of its round; 0 is the initial model.
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("round", ForeignKey("round.id")),
    Column("trained_from", Integer, nullable=False),
    Column("create_time", Int64, nullable=False),
)
# Every round runs it.
_ADD = Prepared(insert(model_table))


def add(tx: Connection, detector: DetectorId, model: Model) -> None:
    _ADD.change(
        tx,
        detector=detector,
        version=model.version,
        digest=model.digest,
        round=model.round,
        trained_from=model.trained_from,
        create_time=model.create_time,
    )


def add_trained(tx: Connection, ended: Round, digest: Digest, *, start: int) -> None:
    """What a round made that began from version `start`."""
    made = Model(
        version=ended.number,
        digest=digest,
        round=ended.id,
        trained_from=start,
        create_time=ended.end_time or ended.create_time,
    )
    add(tx, ended.detector, made)


def get(tx: Connection, detector: DetectorId, version: int) -> Model:
    """One that is there: `Release` knows which are."""
    query = select(model_table).where(model_table.c.detector == detector, model_table.c.version == version)
    return _model(tx.execute(query).one())


def listed(tx: Connection, detector: DetectorId, *, before: int | None, limit: int) -> list[Model]:
    """Newest first."""
    query = select(model_table).where(model_table.c.detector == detector).order_by(model_table.c.version.desc())
    if before is not None:
        query = query.where(model_table.c.version < before)
    return [_model(row) for row in tx.execute(query.limit(limit))]


def _model(row: Row[Any]) -> Model:
    return Model(
        version=row.version,
        digest=Digest(bytes(row.digest)),
        round=row.round,
        trained_from=row.trained_from,
        create_time=row.create_time,
    )
