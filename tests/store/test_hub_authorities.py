"""Authorities in the database, on either kind: phases move once, keys stay sealed, certificates know their issuer."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from sqlalchemy import text

from alliance import tls
from alliance.errors import Conflict, InvalidInput, NotAuthenticated
from hub.app import Services, open_services
from hub.config import Home
from hub.pki.model import Authority, Phase
from tests.kit.clock import ShiftedClock
from tests.kit.hub import local_settings

DAY = dt.timedelta(days=1)


def phases(services: Services) -> list[Phase]:
    with services.db.read() as tx:
        return [one.phase for one in services.pki.authorities(tx)]


def rotate(services: Services) -> Authority:
    with services.db.write() as tx:
        return services.rotation.rotate(tx, "operators/admin", 3600)


def advance(services: Services) -> list[Phase]:
    with services.db.write() as tx:
        services.rotation.advance(tx)
    return phases(services)


def issue(services: Services) -> int:
    """A certificate of a day; its serial."""
    with services.db.write() as tx:
        request = tls.certificate_request(tls.new_channel_key())
        services.pki.issue_member(tx, request=request, member="members/acme", agent="agents/1", lifetime=DAY)
        row = tx.execute(text("SELECT serial FROM certificate ORDER BY issue_time DESC")).first()
    assert row is not None
    return int(row.serial, 16)


def test_each_phase_comes_in_its_time(services: Services, clock: ShiftedClock) -> None:
    with services.db.write() as tx:
        services.pki.revoke(tx, "operators/admin")
    issue(services)
    rotate(services)
    assert advance(services) == [Phase.ACTIVE, Phase.ANNOUNCED]
    clock.advance(hours=1)
    assert advance(services) == advance(services) == [Phase.OUTGOING, Phase.ACTIVE]
    clock.advance(hours=1)
    assert advance(services) == [Phase.OUTGOING, Phase.ACTIVE], "a certificate of it is in use"
    clock.advance(hours=23)
    assert advance(services) == [Phase.RETIRED, Phase.ACTIVE]
    rotate(services)
    assert phases(services) == [Phase.RETIRED, Phase.ACTIVE, Phase.ANNOUNCED]


def test_certificates_know_who_issued_them(services: Services, clock: ShiftedClock) -> None:
    before = issue(services)
    made = rotate(services)
    clock.advance(hours=1)
    advance(services)
    after = issue(services)
    with services.db.write() as tx:
        old = next(one for one in services.pki.authorities(tx) if one.name != made.name)
        assert services.rotation.live_certificates(tx) == {old.name: 2, made.name: 1}
        _, revoked = services.rotation.retire(tx, "operators/admin", old.name)
        assert revoked == 2
        services.pki.require_live(tx, after)
        with pytest.raises(NotAuthenticated):
            services.pki.require_live(tx, before)


def test_another_hub_process_moves_nothing_twice(services: Services, clock: ShiftedClock) -> None:
    rotate(services)
    clock.advance(hours=1)
    with services.db.read() as tx:
        stale = services.pki.authorities(tx)
    advance(services)
    with services.db.write() as tx, pytest.raises(Conflict):
        services.rotation._move(tx, stale, services.rotation._due(tx, stale), "hub")
    assert phases(services) == [Phase.OUTGOING, Phase.ACTIVE]


def test_a_later_key_is_sealed_and_opens_after_a_restart(
    home: Home, database_url: str, clock: ShiftedClock, tmp_path: Path
) -> None:
    settings = local_settings(url=database_url)
    with open_services(home, settings, clock=clock) as services:
        made = rotate(services)
        assert b"argon2id" in made.sealed_key
    clock.advance(hours=1)
    with open_services(home, settings, clock=clock) as services:
        advance(services)
        issue(services)
        with services.db.read() as tx:
            assert services.rotation.live_certificates(tx)[made.name] == 1


def test_only_certificates_for_the_waiting_key_are_installed(services: Services) -> None:
    with services.db.write() as tx, pytest.raises(InvalidInput) as error:
        services.rotation.install(tx, "operators/admin", [services.pki.initial[0].anchor] * 2, 0)
    assert error.value.reason == "CA_CERTIFICATES_INVALID"
