"""Rows of a batch and their seal: what is packed comes back, and no other bytes are taken for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from alliance.audience import Tlp
from alliance.canonical import batch_aad
from alliance.errors import Corrupt, InvalidInput
from alliance.names import BankId, GroupId, MemberId
from member_agent.sharing import rows, sealing
from member_agent.sharing.held_keys import GroupKey
from member_agent.sharing.rows import Marks, Row, brand_label

KEY = GroupKey(group=GroupId("groups/shoes"), epoch=1, secret=bytes(range(32)))
WHERE = {
    "bank": BankId("banks/titles"),
    "publisher": MemberId("members/acme"),
    "scheme": "terms-v1",
    "row_count": 3,
}


def a_row(width: int) -> st.SearchStrategy[Row]:
    return st.builds(
        Row,
        value=st.binary(min_size=width or 0, max_size=width or 60),
        marks=st.sampled_from(Marks),
        brand=st.sampled_from(["", "acme", "o'neill & sons"]),
        confidence=st.integers(0, 100),
        tlp=st.sampled_from(Tlp),
        quality=st.integers(0, 100),
        kind=st.integers(0, 255),
        expiry=st.integers(0, 2**32 - 1),
        variant_of=st.just(-1),
    )


def unpacked(plain: bytes) -> list[Row]:
    got = rows.unpack(plain)
    return [
        Row(
            value=bytes(got.values[at]),
            marks=Marks(int(got.marks[at])),
            brand=got.brand_of(at),
            confidence=int(got.confidence[at]),
            tlp=Tlp(int(got.tlp[at])),
            quality=int(got.quality[at]),
            kind=int(got.kind[at]),
            expiry=int(got.expiry[at]),
            variant_of=int(got.variant_of[at]),
        )
        for at in range(len(got))
    ]


@pytest.mark.parametrize("width", [0, 32])
def test_rows_come_back_as_they_were(width: int) -> None:
    @given(st.lists(a_row(width), min_size=1, max_size=20))
    def holds(made: Sequence[Row]) -> None:
        chained = [made[0], *(replace(row, variant_of=0) for row in made[1:])]
        plain = rows.pack(chained, width=width)
        assert unpacked(plain) == chained
        assert rows.unpack(plain).width == width

    holds()


@pytest.mark.parametrize("width", [0, 4])
def test_no_other_bytes_are_rows(width: int) -> None:
    """Every cut is refused, and no flipped byte is anything but another batch or `Corrupt`."""
    made = [Row(value=bytes([n] * 4), brand="acme", variant_of=n - 1) for n in range(3)]
    plain = rows.pack(made, width=width)
    for end in range(len(plain)):
        with pytest.raises(Corrupt):
            rows.unpack(plain[:end])
    with pytest.raises(Corrupt, match="trailing"):
        rows.unpack(plain + b"\0")
    for at in range(len(plain)):
        for bit in (1, 0x80, 0xFF):
            try:
                rows.unpack(plain[:at] + bytes([plain[at] ^ bit]) + plain[at + 1 :])
            except Corrupt:
                continue


@pytest.mark.parametrize(
    ("made", "width"),
    [([], 0), ([Row(value=b"short")], 32), ([Row(value=b"", brand="ACME Ltd.")], 0), ([Row(value=b"")] * 65_537, 0)],
)
def test_what_cannot_be_packed_is_refused(made: list[Row], width: int) -> None:
    with pytest.raises(InvalidInput):
        rows.pack(made, width=width)


@pytest.mark.parametrize(
    ("brand", "label"),
    [
        ("  ACME\tShoes ", "acme shoes"),
        ("L'Oréal", "l'oral"),
        ("H&M", "h&m"),
        ("小米", ""),
        ("<script>", "script"),
        ("x" * 90, "x" * 40),
        ("", ""),
    ],
)
def test_a_brand_is_shared_as_a_short_label(brand: str, label: str) -> None:
    assert brand_label(brand) == label
    assert rows.unpack(rows.pack([Row(value=b"", brand=label)], width=0)).brand_of(0) == label


def seal(plain: bytes) -> bytes:
    return sealing.seal(plain, KEY, **WHERE)  # type: ignore[arg-type]  # because the fields' types differ


def unseal(sealed: bytes, *, key: GroupKey = KEY, **changes: object) -> bytes:
    return sealing.unseal(sealed, key, **(WHERE | changes))  # type: ignore[arg-type]  # because the fields' types differ


def test_a_sealed_batch_opens_and_hides_its_size() -> None:
    for size in (0, 1, 1015, 1016, 1017, 5000):
        plain = os.urandom(size)
        assert unseal(seal(plain)) == plain
    assert len(seal(bytes(1))) == len(seal(bytes(1000))), "rows are padded"
    assert seal(b"same") != seal(b"same")


@pytest.mark.parametrize(
    "changes",
    [
        {"bank": "banks/other"},
        {"publisher": "members/other"},
        {"scheme": "pdq-256"},
        {"row_count": 4},
        {"key": replace(KEY, epoch=2)},
        {"key": replace(KEY, secret=bytes(32))},
    ],
)
def test_a_batch_opens_nowhere_else(changes: dict[str, object]) -> None:
    with pytest.raises(Corrupt) as error:
        unseal(seal(b"rows"), **changes)  # type: ignore[arg-type]  # because the key is one of the changes
    assert error.value.reason == "BATCH_UNOPENABLE"


def test_bytes_that_are_no_seal_are_said() -> None:
    sealed = seal(b"rows")
    for damaged in (b"", sealed[:20], b"ALSEAL02" + sealed[8:], sealed[:45], sealed[:-1]):
        with pytest.raises(Corrupt):
            unseal(damaged)


@pytest.mark.parametrize("padded", [b"", b"\1", bytes(7), b"\xff" * 8, b"\x09" + bytes(15)])
def test_a_member_with_the_key_cannot_seal_a_length_that_is_not_there(padded: bytes) -> None:
    salt = bytes(sealing.SALT)
    aad = batch_aad(BankId("banks/titles"), MemberId("members/acme"), "terms-v1", 1, 3)
    key = AESGCM(KEY.bank_key(BankId("banks/titles"), salt))
    with pytest.raises(Corrupt, match="length is wrong"):
        unseal(sealing.MAGIC + salt + key.encrypt(bytes(12), padded, aad))


def test_each_batch_bank_and_purpose_has_a_key_of_its_own() -> None:
    titles, pictures = BankId("banks/titles"), BankId("banks/pictures")
    later = replace(KEY, epoch=2)
    keys = [KEY.bank_key(titles, bytes(32)), KEY.bank_key(titles, b"\1" * 32), KEY.bank_key(pictures, bytes(32))]
    keys += [later.bank_key(titles, bytes(32)), KEY.text_key(), later.text_key(), KEY.secret]
    keys += [replace(KEY, group=GroupId("groups/hats")).text_key()]
    assert len(set(keys)) == len(keys)
    assert "secret" not in repr(KEY)
