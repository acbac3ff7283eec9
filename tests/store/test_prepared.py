"""Prepared statements do on each database what SQLAlchemy's own execution does there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Enum,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    bindparam,
    create_engine,
    insert,
    select,
    update,
)

from alliance.errors import Unavailable
from alliance.prepared import Prepared, command
from hub.app import Services
from hub.federation.store import schedule_table
from hub.membership.store import operator_table
from hub.runtime.db import Database, RaceLost
from tests.kit.direct import read, write

ADD = Prepared(insert(operator_table))
ROLE = Prepared(update(operator_table).where(operator_table.c.name == bindparam("of")))
ALL = Prepared(select(operator_table).order_by(operator_table.c.name))
FIRST = Prepared(select(operator_table).order_by(operator_table.c.name).limit(1))
NAMED = Prepared(
    select(operator_table.c.name).where(operator_table.c.role == bindparam("role")).order_by(operator_table.c.name),
    among={"names": operator_table.c.name},
)


@pytest.fixture
def staffed(services: Services) -> Services:
    """Beside its admin, three viewers."""
    rows = [{"name": f"operators/{name}", "role": "viewer"} for name in ("x", "y", "z")]
    write(services, lambda tx: ADD.change_all(tx, rows))
    return services


def test_rows_have_their_columns_and_come_as_asked(staffed: Services) -> None:
    rows = read(staffed, ALL.all)
    assert [(row.name, row.role) for row in rows][-1] == ("operators/z", "viewer")
    assert len(rows) == 4
    first = read(staffed, FIRST.first)
    assert first is not None
    assert first.name == rows[0].name
    assert read(staffed, lambda tx: NAMED.first(tx, role="auditor", names=["operators/x"])) is None


def test_an_update_sets_what_it_is_given_and_says_how_many(staffed: Services) -> None:
    assert write(staffed, lambda tx: ROLE.change(tx, of="operators/x", role="auditor")) == 1
    assert write(staffed, lambda tx: ROLE.change(tx, of="operators/nobody", role="auditor")) == 0
    assert write(staffed, lambda tx: ROLE.change(tx, of="operators/y", name="operators/w")) == 1
    assert [(row.name, row.role) for row in read(staffed, ALL.all)][1:] == [
        ("operators/w", "viewer"),
        ("operators/x", "auditor"),
        ("operators/z", "viewer"),
    ]


@pytest.mark.parametrize("others", [0, 1, 40_000], ids=str)
def test_a_list_selects_however_long_it_is(staffed: Services, others: int) -> None:
    names = ["operators/z", *(f"operators/other-{n}" for n in range(others)), "operators/x"]
    found = read(staffed, lambda tx: NAMED.all(tx, role="viewer", names=names))
    assert [row.name for row in found] == ["operators/x", "operators/z"]
    assert read(staffed, lambda tx: NAMED.all(tx, role="viewer", names=[])) == []


def test_no_rows_change_nothing(services: Services) -> None:
    write(services, lambda tx: ADD.change_all(tx, []))
    assert len(read(services, ALL.all)) == 1


def test_a_row_that_is_there_lost_a_race(staffed: Services) -> None:
    with pytest.raises(RaceLost):
        write(staffed, lambda tx: ADD.change(tx, name="operators/x", role="viewer"))


def test_what_was_not_committed_is_undone(staffed: Services) -> None:
    def fails(tx: Connection) -> None:
        ADD.change(tx, name="operators/undone", role="viewer")
        command(tx, "SAVEPOINT one")
        raise ValueError("undone")

    with pytest.raises(ValueError, match="undone"):
        write(staffed, fails)
    assert len(read(staffed, ALL.all)) == 4


@pytest.mark.parametrize(
    "run",
    [
        lambda tx: Prepared(select(schedule_table)).all(tx),
        lambda tx: Prepared(insert(schedule_table)).change(tx, name="s", paused=True),
    ],
    ids=["read", "written"],
)
def test_a_type_that_needs_conversion_is_refused(run: Callable[[Connection], object]) -> None:
    """SQLite would give a boolean back as a number."""
    with create_engine("sqlite://").connect() as tx:
        schedule_table.create(tx)
        with pytest.raises(TypeError, match="paused"):
            run(tx)


def test_a_value_that_is_set_for_every_row(staffed: Services) -> None:
    audits = Prepared(update(operator_table).where(operator_table.c.name == bindparam("of")).values(role="auditor"))
    write(staffed, lambda tx: audits.change_all(tx, [{"of": "operators/x"}, {"of": "operators/z"}]))
    assert [row.role for row in read(staffed, ALL.all)][1:] == ["auditor", "viewer", "auditor"]


def test_a_full_disk_is_said_to_be_unavailable(tmp_path: Path) -> None:
    things = Table("things", MetaData(), Column("data", LargeBinary))
    add, db = Prepared(insert(things)), Database(f"sqlite:///{tmp_path / 'full.db'}")

    def fill(tx: Connection) -> None:
        tx.exec_driver_sql("PRAGMA max_page_count=3")
        add.change(tx, data=bytes(100_000))

    with db.write() as tx:
        things.create(tx)
    with pytest.raises(Unavailable), db.write() as tx:
        fill(tx)
    db.close()


@pytest.mark.parametrize(
    "parameters", [{}, {"whom": "operators/x"}, {"of": "operators/x", "whom": "operators/x"}], ids=str
)
def test_parameters_that_are_missing_or_unknown_are_refused(parameters: dict[str, str]) -> None:
    """SQLite's driver would take NULL for the one, and pass over the other."""
    one = Prepared(select(operator_table).where(operator_table.c.name == bindparam("of")))
    with create_engine("sqlite://").connect() as tx:
        operator_table.create(tx)
        with pytest.raises(TypeError, match="of expected"):
            one.all(tx, **parameters)


def test_an_enumeration_and_a_default_are_refused() -> None:
    things = Table("things", MetaData(), Column("kind", Enum("a", "b")), Column("count", Integer, default=7))
    with create_engine("sqlite://").connect() as tx:
        things.create(tx)
        with pytest.raises(TypeError, match="kind"):
            Prepared(select(things.c.kind)).all(tx)
        with pytest.raises(TypeError, match="defaults"):
            Prepared(insert(things)).change(tx, kind="a")
