"""One authority takes over from another while everybody calls; a hub that swaps anchors by itself is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from alliance import anchors, tls
from alliance.errors import Corrupt, FailedPrecondition, InvalidInput
from alliance.v1 import membership_pb2
from alliance.v1 import pki_pb2 as pb
from hub.operator_client import OperatorClient
from hub.pki import x509 as profile
from member_agent import audit_log, trust
from tests.kit.agents import AgentAlliance, AgentHome, alliance_of_agents
from tests.kit.clock import ShiftedClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.lying_hub import LyingHub
from tests.kit.member import RawMember
from tests.kit.waiting import eventually

DER = serialization.Encoding.DER


def bundle(hub: RunningHub) -> dict[str, pb.Authority]:
    """Phase to authority."""
    found = hub.admin.call(pb.GetTrustBundleRequest(), pb.GetTrustBundleResponse)
    return {
        pb.AuthorityPhase.Name(one.phase).removeprefix("AUTHORITY_PHASE_").lower(): one for one in found.authorities
    }


def rotate(hub: RunningHub, *, seconds: int = 3) -> pb.Authority:
    return hub.admin.call(pb.RotateCaRequest(overlap_seconds=seconds), pb.RotateCaResponse).authority


def retire(hub: RunningHub, name: str) -> pb.RetireCaResponse:
    return hub.admin.call(pb.RetireCaRequest(name=name), pb.RetireCaResponse)


def pinned(home: AgentHome) -> list[x509.Certificate]:
    return trust.read(home.home)


def issued_by(home: AgentHome, authority: pb.Authority) -> bool:
    with home.open() as agent:
        leaf = x509.load_der_x509_certificate(agent.secrets.chain[0])
    return anchors.issued(leaf, x509.load_der_x509_certificate(authority.issuer))


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(DER)


class Load:
    """Each agent calls without a pause, over one connection after the other; every failure is kept."""

    def __init__(self, homes: list[AgentHome]) -> None:
        self.failures: list[Exception] = []
        self.calls = [0] * len(homes)
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(at, home)) for at, home in enumerate(homes)]

    def _run(self, at: int, home: AgentHome) -> None:
        while not self._done.is_set():
            try:
                with home.connected() as (_, hub):
                    for _ in range(3):
                        hub.call(membership_pb2.ListGroupsRequest(), membership_pb2.ListGroupsResponse)
                self.calls[at] += 1
            except Exception as error:
                self.failures.append(error)

    def a_round_more(self) -> None:
        """Waits until nobody uses what it had read before."""
        wanted = [calls + 2 for calls in self.calls]
        eventually(lambda: all(now >= then for now, then in zip(self.calls, wanted, strict=True)), "everybody calls on")

    @contextmanager
    def going(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._done.set()
            for thread in self._threads:
                thread.join()


@pytest.mark.slow
def test_a_rotation_under_load_fails_no_call(tmp_path: Path) -> None:
    """Announced, active, retired, with agents that run and agents that call all the while."""
    members = {"acme": "brand", "bigmart": "marketplace"}
    with alliance_of_agents(members, folder=tmp_path) as two, ExitStack() as stack:
        homes = [two["acme"], two["bigmart"]]
        [before] = pinned(homes[0])
        daemons = []
        for home in homes:
            home.set("sync.seconds", 1)
            daemons.append(stack.enter_context(home.daemon()))
            daemons[-1].wait_for("connected")
        load = Load(homes)
        with load.going():
            made = rotate(two.hub)
            after = x509.load_der_x509_certificate(made.anchor)
            assert bundle(two.hub)["active"].anchor == der(before)
            eventually(lambda: "outgoing" in bundle(two.hub), "the new one issues")
            eventually(lambda: all(issued_by(home, made) for home in homes), "every agent has a certificate of it")
            assert [set(pinned(home)) for home in homes] == [{after, before}] * 2
            load.a_round_more()
            two.hub.admin.look_after_kit()
            fresh = OperatorClient(two.hub.home.operator / "admin", two.hub.address)
            stack.callback(fresh.close)
            fresh.call(pb.RetireCaRequest(name=bundle(two.hub)["outgoing"].name), pb.RetireCaResponse)
            eventually(lambda: all(pinned(home) == [after] for home in homes), "every agent has dropped the old one")
            load.a_round_more()
        assert load.failures == []
        assert [daemon.terminate() for daemon in daemons] == [0, 0]
        said = [event["event"] for daemon in daemons for event in daemon.events]
        assert not {"hub_unreachable", "step_failed"} & set(said)


@pytest.fixture
def one(tmp_path: Path) -> Iterator[AgentAlliance]:
    with alliance_of_agents({"acme": "brand"}, folder=tmp_path, keyed=False) as running:
        yield running


def follow(home: AgentHome) -> trust.Looked:
    with home.connected() as (agent, hub):
        return agent.follow_authorities(hub)


def test_an_agent_follows_and_a_stale_one_finds_its_way(one: AgentAlliance) -> None:
    """A join code from before the rotation, and an operator's kit that slept through it, open calls to its end."""
    acme, code = one["acme"], one.hub.invite("late")
    assert follow(acme) == trust.Looked(changed=False, renew=False)
    made = rotate(one.hub)
    assert follow(acme) == trust.Looked(changed=True, renew=False)
    assert [der(anchor) for anchor in pinned(acme)][1:] == [made.anchor]
    eventually(lambda: "outgoing" in bundle(one.hub), "the new one issues")
    assert follow(acme) == trust.Looked(changed=False, renew=True)
    late = AgentHome.join(code, one.folder / "late")
    assert issued_by(late, made)
    assert follow(late) == trust.Looked(changed=True, renew=False)
    asleep = OperatorClient(one.hub.home.operator / "admin", one.hub.address)
    try:
        asleep.look_after_kit()
    finally:
        asleep.close()
    kit = one.hub.home.operator / "admin"
    assert made.anchor in [der(anchor) for anchor in anchors.read_pem((kit / "ca.pem").read_bytes())]
    renewed = anchors.read_pem((kit / "certificate.pem").read_bytes())[0]
    assert anchors.issued(renewed, x509.load_der_x509_certificate(made.issuer))


def test_the_old_one_retires_by_itself_when_nothing_of_it_is_in_use(tmp_path: Path, clock: ShiftedClock) -> None:
    """Over a restart of the hub too: what is due is in the database."""
    with running_hub(tmp_path, clock=clock) as hub:
        hub.enrol("acme")
        made = rotate(hub, seconds=3600)
        old = bundle(hub)["active"].name
    with running_hub(tmp_path, clock=clock) as hub:
        clock.advance(hours=1, seconds=1)
        eventually(lambda: bundle(hub)["active"].name == made.name, "the new one issues")
        hub.admin.look_after_kit()
        clock.advance(hours=1, seconds=1)
        # A member's certificate of the old one is good for a day, an operator's for a year.
        assert bundle(hub)["outgoing"].live_certificates == 2
        clock.advance(hours=24)
        eventually(lambda: bundle(hub)["outgoing"].live_certificates == 1, "the member's has run out")
        with hub.services.db.write() as tx:
            hub.services.rotation.advance(tx)
        assert "outgoing" in bundle(hub), "the operator's old one is in use"
        answer = retire(hub, old)
        assert answer.revoked == 1
        with hub.services.db.write() as tx:
            hub.services.audit.integrate(tx)
        leaves = [row.data for row in LyingHub(hub).rows("SELECT data FROM audit_leaf ORDER BY leaf_index")]
        told = [event for leaf in leaves for event in (b"ca_added", b"ca_activated", b"ca_retired") if event in leaf]
        assert told == [b"ca_added", b"ca_activated", b"ca_retired"]


def test_a_certificate_of_a_retired_authority_is_cut_at_once(one: AgentAlliance) -> None:
    raw = RawMember.enrol(one.hub.invite("raw"))
    try:
        rotate(one.hub)
        eventually(lambda: "outgoing" in bundle(one.hub), "the new one issues")
        one.hub.admin.look_after_kit()
        old = bundle(one.hub)["outgoing"].name
        fresh = OperatorClient(one.hub.home.operator / "admin", one.hub.address)
        fresh.call(pb.RetireCaRequest(name=old), pb.RetireCaResponse)
        fresh.close()
        with pytest.raises(Exception, match="revoked"):
            raw.call(membership_pb2.ListGroupsRequest(), membership_pb2.ListGroupsResponse)
    finally:
        raw.close()


class TestALyingHub:
    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(audit_log, "WAIT_SECONDS", 0.5)

    def test_that_swaps_its_anchor_is_refused(self, one: AgentAlliance) -> None:
        acme, lying = one["acme"], LyingHub(one.hub)
        before = pinned(acme)
        made = rotate(one.hub, seconds=3600)
        forged = der(profile.new_ca(one.hub.settings.alliance_name, tls.new_channel_key(), ShiftedClock()()))
        lying.execute("UPDATE authority SET anchor = :forged WHERE name = :name", forged=forged, name=made.name)
        with pytest.raises(Corrupt) as error:
            follow(acme)
        assert error.value.reason == "ANCHOR_FORGED"
        assert pinned(acme) == before

    def test_that_logs_nothing_of_a_new_anchor_changes_nothing(self, one: AgentAlliance) -> None:
        acme = one["acme"]
        before = pinned(acme)
        with one.hub.services.db.write() as tx:
            known = one.hub.services.pki.authorities(tx)
        pki, now = one.hub.services.pki, ShiftedClock()()
        made = pki.new_successor(known[0], now=now, overlap=ShiftedClock()() - now)
        with one.hub.services.db.write() as tx:
            from hub.pki import store

            store.add_authority(tx, known[0])
            store.add_authority(tx, made)
        with pytest.raises(Corrupt) as error:
            follow(acme)
        assert error.value.reason == "LOG_MISSING"
        assert pinned(acme) == before

    def test_that_drops_an_anchor_unlogged_changes_nothing(self, one: AgentAlliance) -> None:
        acme = one["acme"]
        rotate(one.hub)
        eventually(lambda: "outgoing" in bundle(one.hub), "the new one issues")
        follow(acme)
        before = pinned(acme)
        LyingHub(one.hub).execute("UPDATE authority SET phase = 'retired' WHERE phase = 'outgoing'")
        with acme.connected() as (agent, hub), pytest.raises(Corrupt) as error:
            agent.follow_authorities(hub)
        assert error.value.reason == "LOG_MISSING"
        assert pinned(acme) == before


def test_what_makes_no_sense_is_refused_by_name(hub: RunningHub) -> None:
    for seconds in (-1, 1, 2**40):
        with pytest.raises(InvalidInput, match="overlap"):
            rotate(hub, seconds=seconds)
    with pytest.raises(FailedPrecondition) as error:
        hub.admin.call(pb.RequestCaRequest(), pb.RequestCaResponse)
    assert error.value.reason == "NO_OFFLINE_ROOT"
    with pytest.raises(FailedPrecondition) as error:
        retire(hub, bundle(hub)["active"].name)
    assert error.value.reason == "AUTHORITY_NOT_OUTGOING"
    rotate(hub, seconds=3600)
    with pytest.raises(FailedPrecondition) as error:
        rotate(hub)
    assert error.value.reason == "CA_ROTATION_RUNNING"
