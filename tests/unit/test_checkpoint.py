"""Checkpoints in the C2SP formats, against a note of another implementation."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from alliance.checkpoint import Checkpoint, NoteKey, open_note, sign_note
from alliance.errors import Corrupt, InvalidInput

# The example of Go's sumdb/note package: a key, both halves, and a note that it signed (which is no checkpoint).
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SEED = b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NAME = "hub.example/log"
OUR_KEY = NoteKey(name=NAME, public_key=KEY.public_key())
HEAD = Checkpoint(origin="hub.example/log", size=7, root=bytes(range(32)))
NOTE = sign_note(HEAD, name=NAME, key=KEY)


def opened(note: str) -> Checkpoint:
    return open_note(note, origin=HEAD.origin, key=OUR_KEY)


def test_keys_have_the_text_form_of_go() -> None:
    key = NoteKey(name="PeterNeumann", public_key=Ed25519PrivateKey.from_private_bytes(GO_SEED).public_key())
    assert str(key) == GO_KEY
    assert NoteKey.parse(GO_KEY) == key


@pytest.mark.parametrize(
    ("note", "reason"), [(GO_NOTE, "CHECKPOINT_MALFORMED"), (GO_NOTE.replace("think", "thank"), "CHECKPOINT_FORGED")]
)
def test_the_signature_of_a_note_of_go_is_understood(note: str, reason: str) -> None:
    """The signature comes first: a note that was tampered with is never parsed."""
    with pytest.raises(Corrupt) as caught:
        open_note(note, origin="any", key=NoteKey.parse(GO_KEY))
    assert caught.value.reason == reason


@given(st.integers(0, 2**62), st.binary(min_size=32, max_size=32))
def test_what_is_signed_is_what_opens(size: int, root: bytes) -> None:
    head = Checkpoint(origin=HEAD.origin, size=size, root=root)
    assert opened(sign_note(head, name=NAME, key=KEY)) == head


def test_signing_is_deterministic_so_that_a_replayed_mutation_writes_the_same_note() -> None:
    assert sign_note(HEAD, name=NAME, key=KEY) == NOTE


def test_a_witness_may_add_a_line_of_a_key_we_do_not_know() -> None:
    witness = Ed25519PrivateKey.from_private_bytes(bytes(32))
    line = sign_note(HEAD, name="witness.example", key=witness).rpartition("\n\n")[2]
    assert opened(NOTE + line) == HEAD


@given(st.data())
def test_no_changed_byte_opens(data: st.DataObject) -> None:
    raw = bytearray(NOTE.encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Corrupt):
        opened(raw.decode(errors="replace"))


def test_a_note_of_another_key_is_unsigned_to_us() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    with pytest.raises(Corrupt, match=r"is not signed by hub\.example/log") as caught:
        opened(sign_note(HEAD, name=NAME, key=other))
    assert caught.value.reason == "CHECKPOINT_UNSIGNED"


def test_one_bad_line_of_our_key_condemns_the_note() -> None:
    forged = b64encode(OUR_KEY.id + bytes(64)).decode()
    with pytest.raises(Corrupt) as caught:
        opened(f"{NOTE}— {NAME} {forged}\n")
    assert caught.value.reason == "CHECKPOINT_FORGED"


def test_a_checkpoint_of_another_log_is_refused_though_signed() -> None:
    other = Checkpoint(origin="elsewhere", size=1, root=HEAD.root)
    with pytest.raises(Corrupt, match="is of the log 'elsewhere'") as caught:
        opened(sign_note(other, name=NAME, key=KEY))
    assert caught.value.reason == "CHECKPOINT_ORIGIN"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log\n7\n",
        "log\n07\n" + b64encode(bytes(32)).decode() + "\n",
        "log\n-7\n" + b64encode(bytes(32)).decode() + "\n",
        "log\n٧\n" + b64encode(bytes(32)).decode() + "\n",
        "log\n7\n" + b64encode(bytes(31)).decode() + "\n",
        "log\n7\n" + b64encode(bytes(32)).decode()[:-2] + "B=\n",
        "log\n7\nnot base64\n",
        "\n7\n" + b64encode(bytes(32)).decode() + "\n",
        "log\n7\n" + b64encode(bytes(32)).decode() + "\nextension\n",
    ],
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(Corrupt) as caught:
        Checkpoint.parse(text)
    assert caught.value.reason == "CHECKPOINT_MALFORMED"


@pytest.mark.parametrize(
    "note",
    [
        HEAD.text(),
        NOTE.removesuffix("\n"),
        NOTE.replace("— ", "-- "),
        f"{NOTE}— {NAME} AAAA\n",
        f"{NOTE}— with+plus {b64encode(bytes(68)).decode()}\n",
        NOTE + f"— w {b64encode(bytes(68)).decode()}\n" * 100,
        "x" * 70_000 + NOTE,
    ],
)
def test_malformed_notes_are_refused(note: str) -> None:
    with pytest.raises(Corrupt) as caught:
        opened(note)
    assert caught.value.reason == "CHECKPOINT_MALFORMED"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000+AAAA",
        GO_KEY.replace("c74f20a3", "c74f20a4"),
        GO_KEY.replace("Peter", "Paul"),
        GO_KEY[:-4],
        GO_KEY.replace("+ARpc", "+BRpc"),
    ],
)
def test_malformed_keys_are_refused(text: str) -> None:
    with pytest.raises(Corrupt) as caught:
        NoteKey.parse(text)
    assert caught.value.reason == "NOTE_KEY_MALFORMED"


@pytest.mark.parametrize("origin", ["", "two\nlines"])
def test_an_origin_is_one_line(origin: str) -> None:
    with pytest.raises(InvalidInput, match="the origin must be one line of text"):
        Checkpoint(origin=origin, size=0, root=HEAD.root)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b"])
def test_a_key_name_has_no_space_and_no_plus(name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot name a key"):
        NoteKey(name=name, public_key=KEY.public_key())
