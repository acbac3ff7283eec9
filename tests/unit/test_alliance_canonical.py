"""Canonical bytes mean one thing only, and never change: what was signed last year still verifies."""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alliance import canonical
from alliance.canonical import AuditEvent, Part, decode, encode
from alliance.errors import Corrupt
from alliance.names import BankId, GroupId, MemberId

INT64 = st.integers(-(2**63), 2**63 - 1)
PARTS = st.lists(st.binary(max_size=40) | st.text(max_size=20) | INT64, max_size=6)
ACME, ZOO = MemberId("members/acme"), MemberId("members/zoo")
GROUP, BANK = GroupId("groups/shoes"), BankId("banks/shoes")


@given(st.text(max_size=20), PARTS)
def test_what_was_encoded_comes_back(label: str, parts: list[Part]) -> None:
    assert decode(encode(label, *parts)) == (label, tuple(parts))


@given(st.text(max_size=9), PARTS, st.text(max_size=9), PARTS)
def test_different_things_have_different_bytes(one: str, a: list[Part], other: str, b: list[Part]) -> None:
    same = (one, a) == (other, b) and [type(part) for part in a] == [type(part) for part in b]
    assert (encode(one, *a) == encode(other, *b)) == same


@given(st.binary(max_size=60))
def test_bytes_that_are_not_canonical_are_refused_or_are(data: bytes) -> None:
    with suppress(Corrupt):
        label, parts = decode(data)
        assert encode(label, *parts) == data


@given(st.text(max_size=9), PARTS, st.data())
def test_bytes_cut_short_are_not_what_they_were(label: str, parts: list[Part], data: st.DataObject) -> None:
    whole = encode(label, *parts)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with suppress(Corrupt):
        assert decode(cut) != (label, tuple(parts))


def test_the_encoding_itself_is_fixed() -> None:
    assert encode("l", b"\x01", "ü", -2).hex() == (
        "730000000000000001" + "6c"
        "620000000000000001" + "01"
        "730000000000000002" + "c3bc"
        "690000000000000008" + "fffffffffffffffe"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("made", "digest"),
    [
        (
            canonical.enrolment_bytes("a.example", ACME, canonical.sha256(b"csr"), b"signing", b"sealing"),
            ("alliance/v1/enrolment", "a.example", ACME, canonical.sha256(b"csr"), b"signing", b"sealing"),
        ),
        (
            canonical.epoch_bytes(GROUP, 3, ACME, b"commitment"),
            ("alliance/v1/epoch", GROUP, 3, ACME, b"commitment"),
        ),
        (
            canonical.wrap_bytes(GROUP, 3, ACME, ZOO, b"commitment", b"sealed"),
            ("alliance/v1/wrap", GROUP, 3, ACME, ZOO, b"commitment", canonical.sha256(b"sealed")),
        ),
        (canonical.wrap_info(GROUP, 3, ZOO), ("alliance/v1/wrap-info", GROUP, 3, ZOO)),
        (
            canonical.batch_bytes(BANK, ACME, "terms-v1", 3, 7, b"digest", 99, 5),
            ("alliance/v1/batch", BANK, ACME, "terms-v1", 3, 7, b"digest", 99, 5),
        ),
        (
            canonical.batch_aad(BANK, ACME, "terms-v1", 3, 7),
            ("alliance/v1/batch-aad", BANK, ACME, "terms-v1", 3, 7),
        ),
        (
            canonical.tombstone_bytes(BANK, ACME, b"digest", [0, 258], 5),
            ("alliance/v1/tombstone", BANK, ACME, b"digest", b"\0\0\0\0\0\0\x01\x02", 5),
        ),
    ],
)
def test_each_signed_thing_is_its_label_and_parts(made: bytes, digest: tuple[str, *tuple[Part, ...]]) -> None:
    """Changing one of these is a change of the protocol: agents in the field would stop to understand each other."""
    label, *parts = digest
    assert made == encode(label, *parts)


def test_digests_are_of_the_encoding() -> None:
    assert canonical.identity_digest(b"a", b"b") == hashlib.sha256(encode("alliance/v1/identity", b"a", b"b")).digest()
    previous, entry = bytes(32), b"entry"
    step = encode("alliance/v1/bank-chain", previous, 1, hashlib.sha256(entry).digest())
    assert canonical.chain_step(previous, 1, entry) == hashlib.sha256(step).digest()
    made = hmac.new(b"s" * 32, encode("alliance/v1/epoch-commitment", GROUP, 2), hashlib.sha256).digest()
    assert canonical.epoch_commitment(GROUP, 2, b"s" * 32) == made


@given(st.text(max_size=9), st.text(max_size=9), st.text(max_size=9), INT64, st.binary(max_size=32))
def test_an_audit_event_comes_back(event: str, actor: str, subject: str, time: int, digest: bytes) -> None:
    made = AuditEvent(event=event, actor=actor, subject=subject, time=time, digest=digest)
    assert AuditEvent.from_bytes(made.to_bytes()) == made


@pytest.mark.parametrize(
    "data", [b"", encode("alliance/v1/audit"), encode("alliance/v1/batch", "e", "a", "s", 1, b""), encode("x", 1, 2)]
)
def test_what_is_no_audit_event_is_refused(data: bytes) -> None:
    with pytest.raises(Corrupt):
        AuditEvent.from_bytes(data)
