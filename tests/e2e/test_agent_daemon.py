"""`alliance-agent run` as real processes: it does by itself what there is to do, and survives what happens to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alliance.v1 import membership_pb2
from member_agent.outbox import State
from tests.kit.agents import AgentAlliance, AgentHome, alive, alliance_of_agents, products
from tests.kit.hub_process import HubProcess, free_address
from tests.kit.keys import request_id
from tests.kit.lying_hub import LyingHub
from tests.kit.waiting import eventually

SHOP = products(6)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[AgentAlliance]:
    with alliance_of_agents({"acme": "brand", "bigmart": "marketplace"}, folder=tmp_path) as running:
        yield running


def holds_alive(home: AgentHome, count: int) -> Callable[[], bool]:
    return lambda: alive(home.contents()) == count


def sent(home: AgentHome) -> bool:
    with home.open() as agent:
        return agent.outbox.count(State.WAITING) == 0 and agent.outbox.count(State.SENT) > 0


@pytest.mark.slow
def test_a_daemon_shares_the_key_drains_the_outbox_and_syncs_on_hints(tmp_path: Path) -> None:
    """Nobody holds a key yet; both daemons only run."""
    members = {"acme": "brand", "bigmart": "marketplace"}
    with alliance_of_agents(members, folder=tmp_path, keyed=False) as two:
        acme, bigmart = two["acme"], two["bigmart"]
        bigmart.set("sync.seconds", 3600)  # a hint or nothing
        acme.set("sync.seconds", 1)
        acme.import_csv(SHOP)
        acme.publish(send=False)
        with acme.daemon() as publishing, bigmart.daemon() as reading:
            publishing.wait_for("connected")
            reading.wait_for("connected")
            eventually(lambda: sent(acme), "the outbox is drained")
            with acme.open() as agent:
                assert agent.outbox.count(State.FAILED) == 0
            eventually(lambda: bigmart.home.banks_file.exists(), "banks are there")
            eventually(lambda: held(bigmart) > 0, "a bank is held")
            eventually(holds_alive(bigmart, 6), "what was published is there")
            # A second publish reaches the other by a hint alone.
            acme.import_csv(products(9))
            acme.publish()
            eventually(holds_alive(bigmart, 9), "a hint brings what is new")
            # A newcomer is wrapped in by whoever is online.
            late = two.newcomer("late")
            eventually(lambda: has_key(late, two), "the newcomer has the key")
            assert (publishing.terminate(), reading.terminate()) == (0, 0)


def held(home: AgentHome) -> int:
    with home.open() as agent:
        return sum(state.cursor for state in agent.banks.states())


def has_key(home: AgentHome, alliance: AgentAlliance) -> bool:
    with home.connected() as (agent, hub):
        agent.keyring.current_all(hub)
        with agent.db.read() as tx:
            return bool(tx.exec_driver_sql("SELECT count(*) FROM group_key").scalar_one())


def test_one_daemon_per_home(two: AgentAlliance) -> None:
    with two["acme"].daemon() as first:
        first.wait_for("connected")
        refused = two["acme"].run_cli("run", check=7)
        assert f"process {first.process.pid} holds run.lock" in refused.stderr
        assert "[ALREADY_RUNNING]" in refused.stderr
        assert two["acme"].json_of("status")["running"] == first.process.pid
        assert first.terminate() == 0
    with two["acme"].daemon() as second:
        second.wait_for("connected")


def test_the_command_line_works_beside_the_daemon(two: AgentAlliance) -> None:
    two["acme"].import_csv(SHOP)
    two["bigmart"].set("sync.seconds", 1)
    with two["bigmart"].daemon() as daemon:
        daemon.wait_for("connected")
        for count in (2, 4, 6):
            two["acme"].import_csv(SHOP[:count])
            two["acme"].publish()
            with two["bigmart"].connected() as (agent, hub):
                agent.audit(hub)
                agent.synchroniser.run(hub, again=True)
            assert daemon.process.poll() is None
        assert daemon.terminate() == 0
        assert [event for event in daemon.events if event.get("level") == "error"] == []
    assert alive(two["bigmart"].contents()) == 6


@pytest.mark.slow
def test_a_daemon_finds_a_hub_that_was_killed_and_came_back(tmp_path: Path) -> None:
    with alliance_of_agents(
        {"acme": "brand", "bigmart": "marketplace"}, folder=tmp_path, server_address=free_address()
    ) as two:
        acme, bigmart = two["acme"], two["bigmart"]
        bigmart.set("sync.seconds", 3600)
    with HubProcess(tmp_path) as hub, bigmart.daemon() as daemon:
        for entries, end in enumerate((hub.kill, hub.kill, hub.stop), 1):
            daemon.wait_for("connected")
            acme.import_csv(products(entries))
            acme.publish()
            eventually(lambda entries=entries: held(bigmart) == entries, "a hint brings it")  # type: ignore[misc]  # because mypy cannot infer a bound default
            end()
            # The pauses start small each time: what went well is not held against the hub.
            assert daemon.wait_for("hub_unreachable")["retry_in"] <= 1.0
            hub.start()
        daemon.wait_for("connected")
        assert daemon.terminate() == 0


def test_a_suspended_daemon_waits_and_goes_on(two: AgentAlliance) -> None:
    acme = two["acme"]
    acme.set("sync.seconds", 1)
    acme.import_csv(SHOP)
    suspend = membership_pb2.SuspendMemberRequest(request_id=request_id(), name=acme.member, reason="asked to")
    two.hub.admin.call(suspend, membership_pb2.SuspendMemberResponse)
    with acme.daemon() as daemon:
        assert daemon.wait_for("hub_unreachable")["reason"] == "MEMBER_SUSPENDED"
        reinstate = membership_pb2.ReinstateMemberRequest(request_id=request_id(), name=acme.member, reason="answered")
        two.hub.admin.call(reinstate, membership_pb2.ReinstateMemberResponse)
        acme.publish(send=False)
        eventually(lambda: sent(acme), "the outbox goes on")
        assert daemon.terminate() == 0


def test_a_daemon_stops_where_the_hub_lies(two: AgentAlliance) -> None:
    """And says what is evidence; a damaged bank would not stop it."""
    with two["acme"].daemon() as daemon:
        daemon.wait_for("connected")
        LyingHub(two.hub).log_event(event="member_enrolled:expert", subject=two["acme"].member, digest=bytes(32))
        two.hub.add_to_group(two.group, two.hub.enrol("late"))  # something to hint at
        assert daemon.process.wait(20) == 11
        assert "[IDENTITY_CHANGED]" in daemon.last_line()


def test_an_expelled_daemon_ends(two: AgentAlliance) -> None:
    with two["acme"].daemon() as daemon:
        daemon.wait_for("connected")
        expel = membership_pb2.ExpelMemberRequest(request_id=request_id(), name=two["acme"].member, reason="sold fakes")
        two.hub.admin.call(expel, membership_pb2.ExpelMemberResponse)
        assert daemon.process.wait(20) == 5
        assert "[CERTIFICATE_REVOKED]" in daemon.last_line()
