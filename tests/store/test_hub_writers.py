"""SQLite's writers share a commit where they may, and nothing else: no failure, nothing not yet on the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, ForeignKey, Integer, MetaData, Table, event, insert, select

from alliance.errors import FailedPrecondition, Unavailable
from hub.app import Services
from hub.runtime.db import Database, RaceLost, after_commit
from hub.runtime.writers import MOST
from tests.kit.waiting import eventually

metadata = MetaData()
thing = Table("thing", metadata, Column("id", Integer, primary_key=True))
part = Table("part", metadata, Column("id", Integer, primary_key=True), Column("thing", ForeignKey("thing.id")))


class Line:
    """A first writer that holds the turn until `go`, and others that queue behind it in order."""

    def __init__(self, db: Database) -> None:
        self.db, self.commits = db, 0
        self._pool = ThreadPoolExecutor(2 * MOST)
        self._go = threading.Event()
        with db.engine() as engine:
            event.listen(engine, "commit", self._committed)

    def _committed(self, _: Connection) -> None:
        self.commits += 1

    def first(self, work: Callable[[Connection], None], *, shared: bool = True) -> Future[None]:
        inside = threading.Event()

        def held(tx: Connection) -> None:
            inside.set()
            assert self._go.wait(10)
            work(tx)

        future = self._pool.submit(self._write, held, shared)
        assert inside.wait(10)
        return future

    def queued(self, work: Callable[[Connection], None], *, shared: bool = True) -> Future[None]:
        before = self._waiting()
        future = self._pool.submit(self._write, work, shared)
        eventually(lambda: self._waiting() != before, "the write in the queue", pause=0.001)
        return future

    def go(self) -> None:
        self._go.set()

    def rows(self) -> list[int]:
        with self.db.read() as tx:
            return [row.id for row in tx.execute(select(thing).order_by(thing.c.id))]

    def close(self) -> None:
        self._go.set()
        self._pool.shutdown()

    def _write(self, work: Callable[[Connection], None], shared: bool) -> None:
        with self.db.write(shared=shared) as tx:
            work(tx)

    def _waiting(self) -> int:
        assert self.db._writers is not None
        return len(self.db._writers._waiting)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    db = Database(f"sqlite:///{tmp_path / 'x.db'}")
    with db.write() as tx:
        metadata.create_all(tx)
    made = Line(db)
    yield made
    made.close()
    db.close()


def adds(number: int) -> Callable[[Connection], None]:
    return lambda tx: tx.execute(insert(thing), {"id": number}).close()


def refuses(number: int) -> Callable[[Connection], None]:
    def work(tx: Connection) -> None:
        adds(number)(tx)
        raise FailedPrecondition("no", reason="NO")

    return work


def test_writers_that_queue_share_one_commit(line: Line) -> None:
    all_of_them = [line.first(adds(0)), *(line.queued(adds(n)) for n in range(1, 5))]
    line.go()
    for one in all_of_them:
        one.result(10)
    assert (line.commits, line.rows()) == (1, [0, 1, 2, 3, 4])


def test_a_commit_waits_for_so_many_writers_at_most(line: Line) -> None:
    all_of_them = [line.first(adds(0)), *(line.queued(adds(n)) for n in range(1, MOST + 1))]
    line.go()
    for one in all_of_them:
        one.result(10)
    assert (line.commits, len(line.rows())) == (2, MOST + 1)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_one_that_fails_undoes_its_own_work_only(line: Line, failing: int) -> None:
    work = [refuses(n) if n == failing else adds(n) for n in range(3)]
    all_of_them = [line.first(work[0]), line.queued(work[1]), line.queued(work[2])]
    line.go()
    for n, one in enumerate(all_of_them):
        if n == failing:
            with pytest.raises(FailedPrecondition):
                one.result(10)
        else:
            one.result(10)
    assert line.rows() == [n for n in range(3) if n != failing]


def test_who_is_refused_for_what_is_not_yet_committed_hears_it_when_it_is(line: Line) -> None:
    """Or it would look again and not find what it was refused for."""
    inside, release = threading.Event(), threading.Event()

    def refuses_what_it_sees(tx: Connection) -> None:
        assert tx.execute(select(thing)).all()
        raise FailedPrecondition("it is there already", reason="THERE")

    def slow(tx: Connection) -> None:
        inside.set()
        assert release.wait(10)
        adds(3)(tx)

    first, second, third = line.first(adds(1)), line.queued(refuses_what_it_sees), line.queued(slow)
    line.go()
    assert inside.wait(10)
    time.sleep(0.05)
    assert not second.done()
    release.set()
    with pytest.raises(FailedPrecondition):
        second.result(10)
    assert 1 in line.rows()
    first.result(10)
    third.result(10)


def test_a_constraint_refuses_the_second_of_one_commit(line: Line) -> None:
    first, second = line.first(adds(7)), line.queued(adds(7))
    line.go()
    first.result(10)
    with pytest.raises(RaceLost):
        second.result(10)
    assert line.rows() == [7]


def test_a_commit_that_fails_fails_for_all_and_the_next_writer_writes(line: Line) -> None:
    def orphan(tx: Connection) -> None:
        tx.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        tx.execute(insert(part), {"id": 1, "thing": 99})

    told: list[str] = []

    def tells(tx: Connection) -> None:
        after_commit(tx, lambda: told.append("committed"))
        adds(1)(tx)

    first, second = line.first(tells), line.queued(orphan)
    line.go()
    with pytest.raises(Unavailable, match="did not keep"):
        first.result(10)
    with pytest.raises(RaceLost):
        second.result(10)
    assert (told, line.rows()) == ([], [])
    with line.db.write(shared=True) as tx:
        adds(2)(tx)
    assert line.rows() == [2]


def test_a_full_disk_in_one_writer_loses_none_that_were_told_otherwise(line: Line) -> None:
    def fills(tx: Connection) -> None:
        tx.exec_driver_sql("PRAGMA max_page_count=1")
        for n in range(100, 5000):
            adds(n)(tx)

    first, second, third = line.first(adds(1)), line.queued(fills), line.queued(adds(3))
    line.go()
    with pytest.raises(Unavailable):
        second.result(10)
    kept = []
    for number, one in ((1, first), (3, third)):
        try:
            one.result(10)
            kept.append(number)
        except Unavailable:
            continue
    assert line.rows() == kept


@pytest.mark.parametrize("shared", [(False, True), (True, False)])
def test_long_work_shares_its_commit_with_nobody(line: Line, shared: tuple[bool, bool]) -> None:
    first, second = line.first(adds(1), shared=shared[0]), line.queued(adds(2), shared=shared[1])
    line.go()
    first.result(10)
    second.result(10)
    assert (line.commits, line.rows()) == (2, [1, 2])


def test_what_follows_a_commit_sees_it_on_the_disk(line: Line) -> None:
    seen: dict[int, list[int]] = {}

    def work(number: int) -> Callable[[Connection], None]:
        def add(tx: Connection) -> None:
            adds(number)(tx)
            after_commit(tx, lambda: seen.update({number: line.rows()}))

        return add

    def failing(tx: Connection) -> None:
        after_commit(tx, lambda: seen.update({-1: []}))
        refuses(9)(tx)

    all_of_them = [line.first(work(1)), line.queued(work(2)), line.queued(failing)]
    line.go()
    for one in all_of_them[:2]:
        one.result(10)
    with pytest.raises(FailedPrecondition):
        all_of_them[2].result(10)
    assert seen == {1: [1, 2], 2: [1, 2]}


def test_the_state_is_another_after_every_commit(line: Line) -> None:
    before = line.db.state
    with line.db.read() as tx:
        tx.execute(select(thing))
    assert line.db.state == before
    with line.db.write() as tx:
        tx.execute(insert(thing).values(id=900))
        assert line.db.state == before
    assert line.db.state != before


def test_where_other_processes_commit_too_nobody_can_tell(services: Services) -> None:
    assert (services.db.state is None) == (not services.db.is_sqlite)
