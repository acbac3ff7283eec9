"""A part of a transaction that fails alone, and what is done after a commit."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, insert, select

from alliance.errors import Unavailable
from hub.app import Services
from hub.membership.store import operator_table
from hub.runtime.db import Undone, after_commit, savepoint
from tests.kit.direct import read, write


def names(services: Services) -> set[str]:
    rows = read(services, lambda tx: tx.execute(select(operator_table.c.name)).all())
    return {row.name.partition("/")[2] for row in rows}


def add(tx: Connection, name: str) -> None:
    tx.execute(insert(operator_table).values(name=f"operators/{name}", role="viewer"))


@pytest.mark.parametrize("broken", ["by the database", "by a bug"])
def test_what_fails_behind_a_savepoint_fails_alone(services: Services, broken: str) -> None:
    told: list[str] = []

    def part(tx: Connection) -> None:
        with savepoint(tx):
            after_commit(tx, lambda: told.append("undone"))
            add(tx, "undone")
            if broken == "by the database":
                add(tx, "admin")
            raise ValueError

    def fails(tx: Connection) -> None:
        after_commit(tx, lambda: told.append("before"))
        add(tx, "before")
        with pytest.raises(Undone) as undone:
            part(tx)
        assert isinstance(undone.value.__cause__, ValueError) is (broken == "by a bug")
        with savepoint(tx):
            after_commit(tx, lambda: told.append("after"))
            add(tx, "after")

    write(services, fails)
    assert names(services) == {"admin", "before", "after"}
    assert told == ["before", "after"]


def test_what_fails_after_a_commit_holds_up_nothing_else_that_follows_it(services: Services) -> None:
    told: list[str] = []

    def refused() -> None:
        raise Unavailable("the disk refuses", reason="STORAGE")

    def bug() -> None:
        raise ValueError

    def work(tx: Connection) -> None:
        add(tx, "made")
        for hook in (refused, bug, lambda: told.append("told")):
            after_commit(tx, hook)

    write(services, work)
    assert "made" in names(services)
    assert told == ["told"]
