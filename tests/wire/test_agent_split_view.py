"""Members as witnesses: a hub that shows two members two logs is caught as soon as one statement crosses."""

from __future__ import annotations

import datetime as dt
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from alliance.errors import AllianceError, Corrupt
from alliance.names import MemberId
from member_agent.clock import utc_now
from member_agent.witness import MISSING_AFTER, REFRESH, Witnesses
from tests.kit.agents import AgentAlliance, AgentHome, alliance_of_agents
from tests.kit.hub import RunningHub, running_hub
from tests.kit.lying_hub import LyingHub

PAIR = {"acme": "brand", "bigmart": "marketplace"}
COLUMNS = "member, size, root, time, note, witness_key, certificate"


@contextmanager
def twin_of(a: AgentAlliance, folder: Path) -> Iterator[RunningHub]:
    """A second hub with the same keys and the same past: what one operator can show to somebody else."""
    shutil.copytree(a.hub.home.path, folder / "hub", ignore=shutil.ignore_patterns("hub.db*", "*.lock"))
    with (
        closing(sqlite3.connect(a.hub.home.database_file)) as original,
        closing(sqlite3.connect(folder / "hub" / "hub.db")) as copy,
    ):
        original.backup(copy)
    with running_hub(folder) as hub:
        yield hub


def statement(hub: RunningHub, member: MemberId) -> dict[str, Any]:
    [row] = LyingHub(hub).rows(f"SELECT {COLUMNS} FROM audit_cosignature WHERE member = :m", m=member)
    return dict(row._mapping)


def carry(said: dict[str, Any], to: RunningHub) -> None:
    """One member's statement reaches a hub that would rather have kept it away."""
    values = ", ".join(f":{name}" for name in said)
    with to.services.db.write() as tx:
        tx.execute(text("DELETE FROM audit_cosignature WHERE member = :member"), {"member": said["member"]})
        tx.execute(text(f"INSERT INTO audit_cosignature ({COLUMNS}) VALUES ({values})"), said)


def heard(agent: AgentHome) -> dict[str, int]:
    """Whose statements the agent holds, and of how many leaves."""
    with agent.open() as opened:
        return {one.member: one.size for one in opened.witnesses.seen()}


def refused(agent: AgentHome) -> Corrupt:
    with pytest.raises(Corrupt) as caught:
        agent.sync()
    assert caught.value.reason == "LOG_FORKED"
    return caught.value


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[AgentAlliance]:
    with alliance_of_agents(PAIR, folder=tmp_path / "alliance") as a:
        yield a


def test_members_learn_what_the_others_saw(pair: AgentAlliance) -> None:
    acme, bigmart = pair["acme"], pair["bigmart"]
    for agent in (acme, bigmart, acme, bigmart):
        agent.sync()
    held = heard(acme)
    assert set(held) == {acme.member, bigmart.member} == set(heard(bigmart))
    with acme.open() as opened:
        head = opened.log.head()
        assert head is not None
        assert held[acme.member] == head.size
        assert not opened.witnesses.missing()


def test_two_logs_are_found_out_when_a_statement_crosses(pair: AgentAlliance, tmp_path: Path) -> None:
    """Each log is consistent in itself, so that nothing is noticed before; the evidence is kept after."""
    acme, bigmart = pair["acme"], pair["bigmart"]
    for agent in (acme, bigmart):
        agent.sync()
    with twin_of(pair, tmp_path / "twin") as twin:
        LyingHub(twin).log_event(event="group_created", subject="groups/for-bigmart-only")
        LyingHub(pair.hub).log_event(event="group_created", subject="groups/for-acme-only")
        bigmart.set("hub.address", twin.address)
        for agent in (acme, bigmart, acme, bigmart):
            agent.sync()
        assert not list(acme.home.evidence.glob("*"))
        carry(statement(twin, bigmart.member), pair.hub)
        assert "another root" in refused(acme).message
        assert [file.name.endswith("LOG_FORKED.json") for file in acme.home.evidence.glob("*.json")] == [True]
        carry(statement(pair.hub, acme.member), twin)
        refused(bigmart)


def test_a_log_that_ends_earlier_for_one_member_is_found_out(pair: AgentAlliance, tmp_path: Path) -> None:
    """No root differs yet: the hub only keeps the newest leaves from acme."""
    acme, bigmart = pair["acme"], pair["bigmart"]
    for agent in (acme, bigmart):
        agent.sync()
    with twin_of(pair, tmp_path / "twin") as twin:
        LyingHub(twin).log_event(event="group_created", subject="groups/for-bigmart-only")
        bigmart.set("hub.address", twin.address)
        bigmart.sync()
        carry(statement(twin, bigmart.member), pair.hub)
        assert "shows only" in refused(acme).message


def test_an_older_statement_about_the_same_log_alarms_nobody(pair: AgentAlliance) -> None:
    acme, bigmart = pair["acme"], pair["bigmart"]
    bigmart.sync()
    old = statement(pair.hub, bigmart.member)
    for n in range(20):
        LyingHub(pair.hub).log_event(event="group_created", subject=f"groups/g{n}")
    bigmart.sync()
    acme.sync()
    newest = heard(acme)[bigmart.member]
    carry(old, pair.hub)
    acme.sync()
    assert heard(acme)[bigmart.member] == newest > old["size"]


@pytest.mark.parametrize("column", ["certificate", "witness_key", "note"])
def test_a_statement_that_was_tampered_with_is_as_if_it_were_not_there(column: str, pair: AgentAlliance) -> None:
    acme, bigmart = pair["acme"], pair["bigmart"]
    bigmart.sync()
    said = statement(pair.hub, bigmart.member)
    if column == "note":
        # The last line is the member's: a signature of another time.
        lines = said["note"].split("\n")
        lines[-2] = lines[-2][:-6] + ("A" if lines[-2][-6] != "A" else "B") + lines[-2][-5:]
        said["note"] = "\n".join(lines)
    else:
        said[column] = said[column][:-1] + bytes([said[column][-1] ^ 1])
    carry(said, pair.hub)
    acme.sync()
    assert bigmart.member not in heard(acme)


def test_the_hub_refuses_a_statement_about_a_head_it_never_signed(pair: AgentAlliance, tmp_path: Path) -> None:
    """And an agent whose head the hub denies stops: the hub had signed it."""
    acme = pair["acme"]
    acme.sync()
    LyingHub(pair.hub).log_event(event="group_created", subject="groups/denied")
    with acme.connected() as (agent, hub):
        head = agent.log.update(hub)
        LyingHub(pair.hub).execute("DELETE FROM audit_checkpoint WHERE size = :size", size=head.size)
        with pytest.raises(Corrupt) as caught:
            agent.witnesses._state(hub, head)
    assert (caught.value.reason, "denies" in caught.value.message) == ("LOG_FORKED", True)


def test_a_head_is_cosigned_once_and_again_after_hours(pair: AgentAlliance) -> None:
    acme = pair["acme"]
    acme.sync()
    with acme.connected() as (agent, hub):
        agent.audit(hub)
        first = next(one.time for one in agent.witnesses.seen() if one.own)
        later = _at(agent, REFRESH / 2)
        later.exchange(hub)
        assert next(one.time for one in later.seen() if one.own) == first
        later = _at(agent, REFRESH + dt.timedelta(minutes=1))
        later.exchange(hub)
        assert next(one.time for one in later.seen() if one.own) >= first + REFRESH


def test_silence_of_all_others_is_told(pair: AgentAlliance) -> None:
    acme, bigmart = pair["acme"], pair["bigmart"]
    acme.sync()
    with acme.open() as agent:
        assert agent.witnesses.missing()
    bigmart.sync()
    acme.sync()
    with acme.open() as agent:
        assert not agent.witnesses.missing()
        assert _at(agent, MISSING_AFTER + dt.timedelta(hours=1)).missing()
        # A statement from the far future is nobody's.
        assert _at(agent, -dt.timedelta(days=400)).missing()


def test_who_is_not_admitted_is_no_witness(pair: AgentAlliance) -> None:
    """A hub enrols whom it likes: a puppet's word counts when members admit it, and no more when it has gone."""
    acme = pair["acme"]
    puppet = AgentHome.join(pair.hub.invite("puppet"), pair.folder / "puppet")
    liar = LyingHub(pair.hub)
    liar.execute("INSERT INTO admitted VALUES (:m, 0)", m=puppet.member)
    with puppet.connected() as (agent, hub):
        agent.witnesses.exchange(hub)
    liar.execute("DELETE FROM admitted WHERE member = :m", m=puppet.member)
    assert statement(pair.hub, puppet.member)["size"] > 0
    acme.sync()
    assert puppet.member not in heard(acme)
    with acme.open() as agent:
        assert agent.witnesses.missing()


def test_a_member_that_is_alone_misses_nobody(tmp_path: Path) -> None:
    with alliance_of_agents({"acme": "brand"}, folder=tmp_path) as a:
        a["acme"].sync()
        with a["acme"].open() as agent:
            assert not agent.witnesses.missing()


def test_members_compare_without_the_hub(pair: AgentAlliance, tmp_path: Path) -> None:
    """Even where the hub lets no statement through, a note sent by mail is enough."""
    acme, bigmart = pair["acme"], pair["bigmart"]
    for member in (acme, bigmart):
        member.sync()
    with bigmart.open() as agent:
        honest = agent.log.head()
    assert honest is not None
    with acme.connected() as (agent, hub):
        assert agent.witnesses.compare(hub, honest.note).size == honest.size
    with twin_of(pair, tmp_path / "twin") as twin:
        LyingHub(twin).log_event(event="group_created", subject="groups/for-bigmart-only")
        LyingHub(pair.hub).log_event(event="group_created", subject="groups/for-acme-only")
        bigmart.set("hub.address", twin.address)
        for member in (acme, bigmart):
            member.sync()
        with bigmart.open() as agent:
            forked = agent.log.head()
        assert forked is not None
        with acme.connected() as (agent, hub), pytest.raises(Corrupt) as caught:
            agent.witnesses.compare(hub, forked.note)
        assert caught.value.reason == "LOG_FORKED"
        unsigned = forked.note.replace("\n— ", "\n— x")
        with acme.connected() as (agent, hub), pytest.raises(AllianceError) as refusal:
            agent.witnesses.compare(hub, unsigned)
        assert refusal.value.reason == "CHECKPOINT_UNSIGNED"


def _at(agent: Any, ahead: dt.timedelta) -> Witnesses:
    """The agent's witnesses by a clock that is ahead."""
    return Witnesses(
        agent.db,
        alliance=agent.settings.hub_alliance,
        identity=agent.identity,
        log=agent.log,
        directory=agent.directory,
        clock=lambda: utc_now() + ahead,
    )
