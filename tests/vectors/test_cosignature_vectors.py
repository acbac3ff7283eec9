"""Checkpoints and cosignatures of another implementation, to the byte: Ed25519 gives one signature for one text.

The note below was made by aics-tlog 0.2.1, a C2SP verifier and builder on PyPI (Python 3.12, so that it is no part of
this environment), from the seeds 0..31 and 32..63. It in turn verified our checkpoints, cosignatures, exports and
proofs of inclusion; docs/how-to/audit-from-outside.md says how to do that again.
"""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from alliance import cosignature
from alliance.checkpoint import Checkpoint, NoteKey, sign_note, split_note
from alliance.cosignature import LAST_TIME, Cosigned
from alliance.errors import Corrupt
from alliance.names import MemberId

LOG = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
ALLIANCE, MEMBER, TIME = "shoes.example", MemberId("members/acme"), 1679315147
ORIGIN, NAME = "shoes.example/log", "shoes.example/members/acme"
HEAD = Checkpoint(origin=ORIGIN, size=20852163, root=bytes(range(100, 132)))
THEIRS = (
    "shoes.example/log\n20852163\nZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM=\n\n"
    "— shoes.example/log V2Rxe7lBigOtRFURAUAQHMtl/Qm1ruYCGZK9WsSkEuXFkkOa2sP+4IWUzs28kTJ+csXUk5KE0y4DrKGQwyV7jvgt1w8=\n"
    "— shoes.example/members/acme "
    "pAXyFgAAAABkGFDLW4GBbOfJXCie8dnp5/zGwP2aRJ/J7YICKSd1C0XTXdfxmyWqF5DOE90PsW4AECRPbFQWFqXaVjNUFgg2lkvrDw==\n"
)
KEY = NoteKey(name=ORIGIN, public_key=LOG.public_key())
PUBLIC = WITNESS.public_key().public_bytes_raw()


def cosigned(time: int = TIME, *, signature: bytes = b"") -> str:
    note = sign_note(HEAD, name=ORIGIN, key=LOG)
    made = signature or cosignature.cosign(split_note(note)[0], key=WITNESS, time=time)
    return cosignature.cosigned_note(note, name=NAME, witness_key=PUBLIC, time=time, signature=made)


def opened(note: str, *, witness_key: bytes = PUBLIC) -> Cosigned:
    return cosignature.open_cosigned(note, log=KEY, alliance=ALLIANCE, member=MEMBER, witness_key=witness_key)


def test_our_note_is_theirs_to_the_byte() -> None:
    assert cosignature.witness_name(ALLIANCE, MEMBER) == NAME
    assert cosigned() == THEIRS


def test_their_note_opens() -> None:
    assert opened(THEIRS) == Cosigned(member=MEMBER, checkpoint=HEAD, time=TIME)


def test_the_witness_key_has_the_text_form_of_c2sp() -> None:
    assert cosignature.note_key(NAME, PUBLIC).startswith(f"{NAME}+a405f216+BCmsuuF")


@given(st.integers(0, LAST_TIME))
def test_the_time_is_part_of_what_is_signed(time: int) -> None:
    assert opened(cosigned(time)).time == time
    if time != TIME:
        kept = cosignature.cosign(split_note(THEIRS)[0], key=WITNESS, time=TIME)
        with pytest.raises(Corrupt) as caught:
            opened(cosigned(time, signature=kept))
        assert caught.value.reason == "COSIGNATURE_INVALID"


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        (sign_note(HEAD, name=ORIGIN, key=LOG), "COSIGNATURE_MISSING"),
        (THEIRS.replace("20852163", "20852164"), "CHECKPOINT_FORGED"),
        (THEIRS.replace("— shoes.example/log ", "— shoes.example/other "), "CHECKPOINT_UNSIGNED"),
        (THEIRS.replace("members/acme ", "members/acne "), "COSIGNATURE_MISSING"),
    ],
)
def test_what_is_no_statement_of_this_member_about_this_log_is_refused(note: str, reason: str) -> None:
    with pytest.raises(Corrupt) as caught:
        opened(note)
    assert caught.value.reason == reason


@pytest.mark.parametrize("key", [b"", bytes(31), b"x" * 33])
def test_a_witness_key_of_another_form_is_refused(key: bytes) -> None:
    with pytest.raises(Corrupt) as caught:
        opened(THEIRS, witness_key=key)
    assert caught.value.reason == "COSIGNATURE_MALFORMED"


@pytest.mark.parametrize("time", [-1, LAST_TIME + 1])
def test_a_time_that_no_line_can_hold_is_refused(time: int) -> None:
    with pytest.raises(Corrupt):
        cosigned(time, signature=bytes(64))
