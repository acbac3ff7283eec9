"""A newcomer waits, sees who could admit it, is admitted by two, and only then gets keys and is believed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alliance.errors import FailedPrecondition, InvalidInput, NotFound, NotPermitted
from hub.membership.model import Role
from tests.kit.agents import AgentAlliance, AgentHome, alliance_of_agents, products
from tests.kit.waiting import eventually


@pytest.fixture
def two(tmp_path: Path) -> Iterator[AgentAlliance]:
    """acme and bigmart, the founders; both hold the group's key."""
    with alliance_of_agents({"acme": "brand", "bigmart": "marketplace"}, folder=tmp_path) as running:
        yield running


@pytest.fixture
def late(two: AgentAlliance) -> AgentHome:
    """Has joined and is in the group; nobody has admitted it."""
    home = AgentHome.join(two.hub.invite("late", Role.MARKETPLACE), two.folder / "late")
    two.add_to_group(home)
    two.hub.integrate()
    return home


def listed(home: AgentHome) -> dict[str, tuple[str, str]]:
    """Standing and fingerprint by member."""
    return {row["member"]: (row["standing"], row["fingerprint"]) for row in home.json_of("member", "list")}


def wrapped(two: AgentAlliance, home: AgentHome) -> bool:
    """Whether acme's agent, which holds the key, wraps it to that member."""
    with two["acme"].connected() as (agent, hub):
        agent.keyring.current(hub, two.group)
    with two.hub.services.db.read() as tx:
        sql = f"SELECT count(*) FROM key_wrap WHERE recipient = '{home.member}'"
        return bool(tx.exec_driver_sql(sql).scalar())


def test_a_member_that_waits_sees_so_and_gets_nothing(two: AgentAlliance, late: AgentHome) -> None:
    seen = listed(late)
    assert {name: standing for name, (standing, _) in seen.items()} == {
        "members/acme": "founder",
        "members/bigmart": "founder",
        "members/late": "waits, 0 of 2",
    }
    assert late.json_of("audit", "verify")["verified"]
    with pytest.raises(NotPermitted) as refused:
        late.sync()
    assert (refused.value.reason, "member admit members/late" in refused.value.remedy) == ("NOT_ADMITTED", True)
    assert not wrapped(two, late)


def test_two_members_admit_it_and_then_it_shares(two: AgentAlliance, late: AgentHome) -> None:
    fingerprint = listed(late)["members/late"][1]
    first = two["acme"].json_of("member", "admit", "late", "--fingerprint", fingerprint)
    assert (first["signed_by"], first["needed"]) == ("members/acme", 2)
    two.hub.integrate()
    assert listed(two["bigmart"])["members/late"][0] == "waits, 1 of 2"
    assert not wrapped(two, late)
    two["bigmart"].run_cli("member", "admit", "members/late", "--yes")
    two.hub.integrate()
    assert listed(late)["members/late"] == ("admitted", fingerprint)
    assert wrapped(two, late)
    late.import_csv(products(3))
    late.publish()
    assert sum(one.rows for one in two["bigmart"].sync()) == 3


def test_another_fingerprint_than_the_one_read_out_signs_nothing(two: AgentAlliance, late: AgentHome) -> None:
    other = listed(late)["members/acme"][1]
    refused = two["acme"].run_cli("member", "admit", "late", "--fingerprint", other, check=None)
    assert refused.returncode == InvalidInput.exit_code
    assert "FINGERPRINT_DIFFERS" in refused.stderr
    assert two["acme"].run_cli("member", "admit", "late", text="n\n", check=None).returncode == 1
    two.hub.integrate()
    assert listed(two["acme"])["members/late"][0] == "waits, 0 of 2"


@pytest.mark.parametrize(("name", "error"), [("nobody", NotFound), ("bigmart", FailedPrecondition)])
def test_who_does_not_wait_is_not_admitted(two: AgentAlliance, name: str, error: type) -> None:
    assert two["acme"].run_cli("member", "admit", name, "--yes", check=None).returncode == error.exit_code  # type: ignore[attr-defined]  # because mypy does not see that it is one of ours


def test_daemons_go_on_beside_one_that_waits_and_serve_it_once_it_is_admitted(
    two: AgentAlliance, late: AgentHome
) -> None:
    """Nobody restarts anything: the newcomer's daemon finds out, and a holder wraps it in."""
    with two["acme"].daemon() as acme, late.daemon() as waiting:
        acme.wait_for("connected")
        waiting.wait_for("connected")
        waiting.wait_for("admission_awaited")
        for name in ("acme", "bigmart"):
            two[name].run_cli("member", "admit", "late", "--yes")
        eventually(lambda: _holds(two, late), "the group's key at the newcomer", pause=0.1)
        assert (acme.terminate(), waiting.terminate()) == (0, 0)


def _holds(two: AgentAlliance, home: AgentHome) -> bool:
    with home.open() as agent:
        try:
            agent.keyring.held(two.group, 1)
        except FailedPrecondition:
            return False
    return True
