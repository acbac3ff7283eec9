"""Certificates of seconds: the hub's own and an agent's are made anew in time, and no call fails for it."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import text

from alliance import channel
from alliance.errors import InvalidInput
from alliance.v1 import membership_pb2 as pb
from hub.config import Settings
from member_agent import enrolment
from tests.kit.agents import alliance_of_agents
from tests.kit.hub import RunningHub, running_hub
from tests.kit.member import RawMember
from tests.kit.waiting import eventually

SECOND = 1 / 3600
PATIENCE_S = 30.0


def shown(address: str) -> x509.Certificate:
    """The certificate that a handshake shows now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as raw, context.wrap_socket(raw) as secured:
        return x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")


class Caller:
    """Calls over one connection again and again; every failure is kept."""

    def __init__(self, member: RawMember) -> None:
        self.member, self.calls, self.failures = member, 0, list[Exception]()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._done.is_set():
            try:
                self.member.call(pb.ListMembersRequest(), pb.ListMembersResponse)
                self.calls += 1
            except Exception as error:
                self.failures.append(error)
            time.sleep(0.01)

    @contextmanager
    def calling(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._done.set()
            self._thread.join()


def new_connection(hub: RunningHub, member: RawMember) -> None:
    """Dials and calls once. Raises: AllianceError."""
    opened = member.open_channel(hub.address)
    try:
        channel.call(opened, pb.ListMembersRequest(), pb.ListMembersResponse)
    finally:
        opened.close()


def test_the_hubs_certificate_is_made_anew_with_no_restart_and_no_failed_call(tmp_path: Path) -> None:
    with running_hub(tmp_path, server_certificate_hours=3 * SECOND) as hub:
        member = hub.enrol("acme")
        caller, seen = Caller(member), dict[int, x509.Certificate]()
        with caller.calling():

            def three_seen() -> bool:
                for address in (hub.address, hub.enrolment_address):
                    certificate = shown(address)
                    seen[certificate.serial_number] = certificate
                new_connection(hub, member)
                return len(seen) >= 3

            eventually(three_seen, "the third certificate", pause=0.1)
        assert caller.failures == []
        assert caller.calls > 0
        lives = [one.not_valid_after_utc - one.not_valid_before_utc for one in seen.values()]
        # Three seconds and a tenth before, told in whole seconds.
        assert max(lives).total_seconds() <= 4


@pytest.mark.slow
def test_an_agents_certificate_of_seconds_is_renewed_before_it_expires(tmp_path: Path) -> None:
    """Twice over, with new keys; the daemon is never refused, and what is older than the last is revoked."""
    members = {"acme": "brand", "bigmart": "marketplace"}
    with alliance_of_agents(members, folder=tmp_path, membership_certificate_hours=10 * SECOND) as two:
        acme = two["acme"]
        acme.set("sync.seconds", 1)
        keys = set()
        with acme.daemon() as daemon:
            for _ in range(2):
                daemon.wait_for("certificate_renewed")
                daemon.wait_for("connected")
                with acme.open() as agent:
                    keys.add(agent.secrets.channel_key)
            assert daemon.terminate() == 0
        assert [event for event in daemon.events if event["event"] in ("hub_unreachable", "step_failed")] == []
        assert len(keys) == 2
        with two.hub.services.db.read() as tx:
            held = text("SELECT revoke_time FROM certificate WHERE subject = 'members/acme' ORDER BY issue_time")
            revoked = [row.revoke_time is not None for row in tx.execute(held)]
        # The one that asked last still opens a call: its agent may never have got the answer.
        assert revoked[-2:] == [False, False]
        assert all(revoked[:-2])


def test_a_daemon_goes_on_when_a_command_beside_it_renewed(tmp_path: Path) -> None:
    """Twice, so that the certificate that the daemon holds is revoked under it."""
    with alliance_of_agents({"acme": "brand"}, folder=tmp_path, keyed=False) as one:
        acme = one["acme"]
        acme.set("sync.seconds", 1)
        with acme.daemon() as daemon:
            daemon.wait_for("connected")
            for _ in range(2):
                with acme.connected() as (agent, hub):
                    enrolment.renew(agent.home, agent.settings, agent.secrets, hub)
            daemon.wait_for("certificate_superseded")
            daemon.wait_for("connected")
            assert daemon.terminate() == 0


@pytest.mark.parametrize("hours", [0.0, -1.0, 1e9, float("nan")])
@pytest.mark.parametrize("setting", ["server_certificate_hours", "membership_certificate_hours"])
def test_a_life_that_makes_no_sense_is_refused_by_name(setting: str, hours: float) -> None:
    with pytest.raises(InvalidInput) as error:
        Settings(**{setting: hours}).validate()  # type: ignore[arg-type]  # because the name is the parameter
    assert error.value.field == setting.replace("_", ".", 1)
