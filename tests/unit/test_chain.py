"""A chain leads to the alliance's CA, or the refusal says why; real certificates of the hub's own profile."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from alliance import chain, tls
from alliance.errors import NotAuthenticated
from hub.pki import x509 as profile

NOW = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
KEY = tls.new_channel_key()
ROOT = profile.new_ca("alliance.test", KEY, NOW)
MEMBER = tls.member_spiffe("alliance.test", "acme", "0a1b")


def leaf(**changed: Any) -> x509.Certificate:
    arguments: dict[str, Any] = {
        "key": tls.new_channel_key().public_key(),
        "alliance": "alliance.test",
        "spiffe": MEMBER,
        "not_before": NOW,
        "not_after": NOW + dt.timedelta(hours=24),
    }
    return profile.leaf(ROOT, KEY, **(arguments | changed))


def test_a_members_chain_is_accepted() -> None:
    chain.verify_client([leaf()], [ROOT], at=NOW)


def test_any_of_the_roots_will_do() -> None:
    other = profile.new_ca("alliance.test", tls.new_channel_key(), NOW)
    chain.verify_client([leaf()], [other, ROOT], at=NOW)


@pytest.mark.parametrize("name", ["127.0.0.1", "hub.alliance.test"])
def test_the_hubs_chain_is_for_its_names(name: str) -> None:
    hub = leaf(spiffe=tls.hub_spiffe("alliance.test"), server=True, names=["127.0.0.1", "hub.alliance.test"])
    chain.verify_server([hub], [ROOT], name=name, at=NOW)
    with pytest.raises(NotAuthenticated, match="subject"):
        chain.verify_server([hub], [ROOT], name="other.test", at=NOW)


def self_signed() -> x509.Certificate:
    """An impostor: the right names under the right issuer's name, signed by another key."""
    other = tls.new_channel_key()
    return profile.leaf(
        profile.new_ca("alliance.test", other, NOW),
        other,
        key=other.public_key(),
        alliance="alliance.test",
        spiffe=MEMBER,
        not_before=NOW,
        not_after=NOW + dt.timedelta(hours=1),
    )


def on_another_curve() -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP384R1())
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ROOT.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + dt.timedelta(hours=1))
        .sign(KEY, hashes.SHA256())
    )


@pytest.mark.parametrize(
    ("made", "at", "why"),
    [
        (leaf(), NOW + dt.timedelta(hours=25), "not valid"),
        (leaf(), NOW - dt.timedelta(hours=1), "not valid"),
        (leaf(server=True), NOW, "another use"),
        (self_signed(), NOW, "signature"),
        (on_another_curve(), NOW, "P-256"),
    ],
    ids=["expired", "not yet valid", "for servers", "another CA of the same name", "another curve"],
)
def test_what_is_wrong_is_said(made: x509.Certificate, at: dt.datetime, why: str) -> None:
    with pytest.raises(NotAuthenticated, match=why) as caught:
        chain.verify_client([made], [ROOT], at=at)
    assert caught.value.reason == "CHAIN_INVALID"


def test_without_a_certificate_or_a_root_nothing_is_accepted() -> None:
    with pytest.raises(NotAuthenticated, match="no certificate"):
        chain.verify_client([], [ROOT], at=NOW)
    with pytest.raises(NotAuthenticated, match="no CA"):
        chain.verify_client([leaf()], [], at=NOW)


def test_a_chain_is_no_longer_than_ours() -> None:
    with pytest.raises(NotAuthenticated, match="3 intermediates"):
        chain.verify_client([leaf(), ROOT, ROOT, ROOT], [ROOT], at=NOW)
