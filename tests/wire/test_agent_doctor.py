"""The doctor says why the hub takes no connection, also where TLS closes the socket without a word."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from alliance import tls
from alliance.v1 import membership_pb2
from hub.pki import x509 as profile
from member_agent import channel_key, doctor, keystore
from tests.kit.agents import AgentAlliance, AgentHome, alliance_of_agents, quick_keys
from tests.kit.clock import ShiftedClock


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    running: AgentAlliance
    acme: AgentHome
    clock: ShiftedClock


@pytest.fixture
def scene(tmp_path: Path, clock: ShiftedClock) -> Iterator[Scene]:
    with alliance_of_agents({"acme": "brand"}, folder=tmp_path, clock=clock) as running:
        yield Scene(running=running, acme=running["acme"], clock=clock)


def answers(agent: AgentHome) -> doctor.Check:
    """The doctor's line about the hub."""
    (found,) = [check for check in doctor.examine(agent.home) if check.check == "hub answers"]
    return found


def expel(scene: Scene) -> None:
    request = membership_pb2.ExpelMemberRequest(name=scene.acme.member, reason="sold fakes")
    scene.running.hub.admin.call(request, membership_pb2.ExpelMemberResponse)


def certified_by_another(scene: Scene) -> None:
    """The agent holds a certificate of a CA of the same name: TLS refuses it."""
    settings, _ = scene.acme.home.load()
    phrase = scene.acme.home.passphrase(settings)
    held = keystore.load(scene.acme.home.keys_file, phrase)
    key, ca_key, now = tls.new_channel_key(), tls.new_channel_key(), dt.datetime.now(dt.UTC)
    leaf = profile.leaf(
        profile.new_ca(settings.hub_alliance, ca_key, now),
        ca_key,
        key=key.public_key(),
        alliance=settings.hub_alliance,
        spiffe=tls.member_spiffe(settings.hub_alliance, "acme", settings.hub_agent.partition("/")[2]),
        not_before=now,
        not_after=now + dt.timedelta(days=1),
    )
    changed = channel_key.kept(held, key, (leaf.public_bytes(serialization.Encoding.DER),))
    with quick_keys():
        keystore.save(scene.acme.home.keys_file, changed, phrase)


@pytest.mark.parametrize(
    ("happens", "problem", "remedy"),
    [
        pytest.param(expel, "was expelled", "operator", id="expelled"),
        pytest.param(lambda scene: scene.clock.advance(hours=-2), "signed at another time", "NTP", id="hub behind"),
        pytest.param(lambda scene: scene.clock.advance(hours=25), "signed at another time", "NTP", id="hub ahead"),
        pytest.param(certified_by_another, "refused", "join again", id="another CA"),
    ],
)
def test_it_says_why_the_hub_refuses_the_certificate(
    happens: Callable[[Scene], None], problem: str, remedy: str, scene: Scene
) -> None:
    assert not answers(scene.acme).problem
    happens(scene)
    found = answers(scene.acme)
    assert problem in found.problem
    assert remedy in found.remedy


def test_it_says_what_was_seen_where_the_hub_is_gone(tmp_path: Path) -> None:
    with alliance_of_agents({"acme": "brand"}, folder=tmp_path) as running:
        acme = running["acme"]
    found = answers(acme)
    assert found.problem
    assert "certificate" not in found.problem
