"""What this member trains, on which of its data, and what it gained: local only."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Float, Integer, Row, String, Table, bindparam, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from alliance.names import GroupId
from alliance.prepared import Prepared
from member_agent.state import metadata

consent_table = Table(
    "training_consent",
    metadata,
    Column("detector", String, primary_key=True),
    # The sharing group that trains it, as the member saw it when it joined; older consents have none.
    Column("group_name", String),
    Column("code", String, nullable=False),
    Column("path", String, nullable=False),
    # JSON: role -> column of the member's file.
    Column("columns", String, nullable=False),
    # The member's own seed, so that a repeated task gives the same update.
    Column("seed", Integer, nullable=False),
)
result_table = Table(
    "training_result",
    metadata,
    Column("round", String, primary_key=True),
    Column("metric", String, primary_key=True),
    Column("detector", String, nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("federated", Float, nullable=False),
    Column("local", Float, nullable=False),
    Column("blended", Float),
    Column("examples", Integer, nullable=False),
    Column("time", Integer, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """A detector this member trains: in which group, by which installed code, on which file, columns by role."""

    detector: str
    group: GroupId
    code: str
    path: Path
    columns: Mapping[str, str]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplift:
    """One metric of one round on this member's held-back rows: the shared model, its own trained alone, and the blend
    of both, None for a round that an older agent judged."""

    detector: str
    round: str
    number: int
    metric: str
    federated: float
    local: float
    blended: float | None
    examples: int


# Every task runs these.
_CONSENT = Prepared(select(consent_table).where(consent_table.c.detector == bindparam("of_detector")))
_TOLD = tuple(one.name for one in fields(Uplift))
_INSERT_RESULT = insert(result_table)
_SAVE_RESULT = Prepared(
    _INSERT_RESULT.on_conflict_do_update(
        index_elements=["round", "metric"],
        set_={column.name: column for column in _INSERT_RESULT.excluded if not result_table.c[column.name].primary_key},
    )
)


def save_consent(tx: Connection, consent: Consent) -> None:
    values = {
        "group_name": consent.group,
        "code": consent.code,
        "path": str(consent.path),
        "columns": json.dumps(dict(consent.columns), sort_keys=True),
        "seed": consent.seed,
    }
    statement = insert(consent_table).values(detector=consent.detector, **values)
    tx.execute(statement.on_conflict_do_update(index_elements=["detector"], set_=values))


def remove_consent(tx: Connection, detector: str) -> None:
    tx.execute(delete(consent_table).where(consent_table.c.detector == detector))


def find_consent(tx: Connection, detector: str) -> Consent | None:
    row = _CONSENT.first(tx, of_detector=detector)
    return None if row is None else _consent(row)


def all_consents(tx: Connection) -> list[Consent]:
    """Everything this member trains, by detector."""
    return [_consent(row) for row in tx.execute(select(consent_table).order_by(consent_table.c.detector))]


def _consent(row: Any) -> Consent:
    return Consent(
        detector=row.detector,
        group=GroupId(row.group_name or ""),
        code=row.code,
        path=Path(row.path),
        columns=json.loads(row.columns),
        seed=row.seed,
    )


def save_results(tx: Connection, results: list[Uplift], *, now: dt.datetime) -> None:
    """The newest evaluation of a round stands."""
    rows = [
        {**{name: getattr(one, name) for name in _TOLD}, "position": position, "time": int(now.timestamp())}
        for position, one in enumerate(results)
    ]
    _SAVE_RESULT.change_all(tx, rows)


def results(tx: Connection, *, detector: str = "", newest_only: bool = True) -> list[Uplift]:
    """By detector and round, metrics in the detector's order."""
    newest = (
        select(result_table.c.detector, func.max(result_table.c.number).label("number"))
        .group_by(result_table.c.detector)
        .subquery()
    )
    query = select(result_table).order_by(result_table.c.detector, result_table.c.number, result_table.c.position)
    if newest_only:
        query = query.join(
            newest,
            (newest.c.detector == result_table.c.detector) & (newest.c.number == result_table.c.number),
        )
    if detector:
        query = query.where(result_table.c.detector == detector)
    return [_uplift(row) for row in tx.execute(query)]


def of_round(tx: Connection, name: str) -> list[Uplift]:
    """What this member got in a round, metrics in the detector's order; nothing before it was evaluated."""
    query = select(result_table).where(result_table.c.round == name).order_by(result_table.c.position)
    return [_uplift(row) for row in tx.execute(query)]


def _uplift(row: Row[Any]) -> Uplift:
    return Uplift(
        detector=row.detector,
        round=row.round,
        number=row.number,
        metric=row.metric,
        federated=row.federated,
        local=row.local,
        blended=row.blended,
        examples=row.examples,
    )
