"""What looks like a certificate or a request, and is none: said so, whatever the library's parser makes of it."""

from __future__ import annotations

import datetime as dt
import random

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from alliance import anchors, tls
from alliance.errors import Corrupt, InvalidInput
from hub.pki import x509 as profile

COUNT = 3000


def flipped(der: bytes, chosen: random.Random) -> bytes:
    changed = bytearray(der)
    for _ in range(chosen.randint(1, 3)):
        changed[chosen.randrange(len(changed))] ^= 1 << chosen.randrange(8)
    return bytes(changed)


def test_a_damaged_request_is_an_invalid_one() -> None:
    der, chosen = tls.certificate_request(tls.new_channel_key()), random.Random(1)
    for _ in range(COUNT):
        with pytest.raises(InvalidInput):
            profile.parse_request(flipped(der, chosen))


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_a_damaged_authority_vouches_for_nobody() -> None:
    key, now, chosen = tls.new_channel_key(), dt.datetime.now(dt.UTC), random.Random(2)
    anchor = profile.new_ca("alliance.example", key, now)
    successor = profile.new_ca("alliance.example", tls.new_channel_key(), now)
    cross = profile.cross(successor, anchor, key, now=now).public_bytes(Encoding.DER)
    anchors.require_vouched(successor, cross, [anchor])
    for _ in range(COUNT // 10):
        with pytest.raises(Corrupt):
            anchors.require_vouched(successor, flipped(cross, chosen), [anchor])
