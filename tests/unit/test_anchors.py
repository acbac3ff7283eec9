"""Who may vouch for a new trust anchor, and which chains lead to one."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from alliance import anchors, tls
from alliance.errors import Corrupt
from alliance.v1 import pki_pb2 as pb
from hub.pki import offline
from hub.pki import x509 as profile

NOW = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
ALLIANCE = "alliance.example"
Made = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def authority() -> Made:
    key = tls.new_channel_key()
    return profile.new_ca(ALLIANCE, key, NOW), key


def told(anchor: x509.Certificate, cross: x509.Certificate | None = None) -> pb.Authority:
    return pb.Authority(anchor=der(anchor), issuer=der(anchor), cross_certificate=der(cross) if cross else b"")


def crossed(successor: Made, by: Made) -> x509.Certificate:
    return profile.cross(successor[0], by[0], by[1], now=NOW)


def leaf(by: Made) -> x509.Certificate:
    key, spiffe = tls.new_channel_key(), tls.member_spiffe(ALLIANCE, "acme", "1")
    day = dt.timedelta(days=1)
    return profile.leaf(
        by[0], by[1], key=key.public_key(), alliance=ALLIANCE, spiffe=spiffe, not_before=NOW, not_after=NOW + day
    )


OLD, NEW, THIRD, STRANGER = authority(), authority(), authority(), authority()


def test_a_successor_that_the_pinned_key_signed_is_taken_over() -> None:
    change = anchors.changes([OLD[0]], [told(OLD[0]), told(NEW[0], crossed(NEW, OLD))])
    assert (change.added, change.dropped) == ((NEW[0],), ())
    assert anchors.changes([OLD[0], NEW[0]], [told(NEW[0])]).dropped == (OLD[0],)
    assert anchors.changes([OLD[0]], [told(OLD[0])]).is_none


def test_who_slept_through_two_rotations_is_led_on() -> None:
    both = [told(NEW[0], crossed(NEW, OLD)), told(THIRD[0], crossed(THIRD, NEW))]
    assert anchors.changes([OLD[0]], both).added == (NEW[0], THIRD[0])


@pytest.mark.parametrize(
    ("anchor", "cross"),
    [
        pytest.param(NEW[0], None, id="nobody vouches"),
        pytest.param(NEW[0], crossed(NEW, STRANGER), id="a stranger vouches"),
        pytest.param(NEW[0], crossed(NEW, NEW), id="it vouches for itself"),
        pytest.param(NEW[0], crossed(STRANGER, OLD), id="for another key"),
        pytest.param(NEW[0], OLD[0], id="the old one itself"),
        pytest.param(NEW[0], leaf(OLD), id="a leaf"),
        pytest.param(leaf(OLD), crossed(NEW, OLD), id="a leaf as anchor"),
    ],
)
def test_another_anchor_is_refused(anchor: x509.Certificate, cross: x509.Certificate | None) -> None:
    with pytest.raises(Corrupt) as error:
        anchors.changes([OLD[0]], [told(OLD[0]), told(anchor, cross)])
    assert error.value.reason == "ANCHOR_FORGED"


@pytest.mark.parametrize("bad", [[], [pb.Authority(anchor=b"garbage")], [pb.Authority()]])
def test_a_bundle_that_says_nothing_is_refused(bad: list[pb.Authority]) -> None:
    with pytest.raises(Corrupt) as error:
        anchors.changes([OLD[0]], bad)
    assert error.value.reason == "ANCHOR_FORGED"


def test_the_key_of_an_intermediate_never_passes_for_a_root(tmp_path: Path) -> None:
    """A hub that turned bad has the intermediate, and what the root signed for it; not more."""
    root = offline.create(tmp_path / "root", ALLIANCE, NOW)
    key = tls.new_channel_key()
    intermediate = root.issue(key.public_key(), ALLIANCE, NOW)
    posing = profile.new_ca(ALLIANCE, key, NOW, name=profile.INTERMEDIATE)
    with pytest.raises(Corrupt, match="no signature on a successor"):
        anchors.changes([root.certificate], [told(root.certificate), told(posing, intermediate)])
    further = profile.cross(posing, intermediate, key, now=NOW)
    with pytest.raises(Corrupt, match="no trusted authority signed it"):
        anchors.changes([root.certificate], [told(root.certificate), told(posing, further)])


def test_a_chain_leads_to_an_anchor_directly_or_over_what_vouches(tmp_path: Path) -> None:
    root = offline.create(tmp_path / "root", ALLIANCE, NOW)
    key = tls.new_channel_key()
    intermediate = root.issue(key.public_key(), ALLIANCE, NOW)
    under = leaf((intermediate, key))
    new = leaf(NEW)
    for chain, trusted in (
        ([new], [NEW[0]]),
        ([new, crossed(NEW, OLD)], [OLD[0]]),
        ([new, crossed(NEW, OLD)], [NEW[0]]),
        ([under, intermediate], [root.certificate]),
        ([under, intermediate, root.vouch(root.certificate, NOW)], [root.certificate]),
    ):
        assert anchors.verify_chain([der(one) for one in chain], trusted) == chain[0]
    for chain, trusted in (
        ([new], [OLD[0]]),
        ([new, crossed(NEW, STRANGER)], [OLD[0]]),
        ([under], [root.certificate]),
        # An intermediate signs leaves only.
        ([leaf((profile.cross(NEW[0], intermediate, key, now=NOW), NEW[1])), intermediate], [root.certificate]),
        ([], [OLD[0]]),
    ):
        with pytest.raises(Corrupt) as error:
            anchors.verify_chain([der(one) for one in chain], trusted)
        assert error.value.reason == "CERTIFICATE_WRONG"
