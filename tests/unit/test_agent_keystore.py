"""Secrets at rest: they come back with the passphrase, and with nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from alliance import sealed_file
from alliance.errors import AllianceError, Corrupt, FailedPrecondition, NotAuthenticated
from member_agent import keystore
from member_agent.keystore import Secrets
from tests.kit.agents import quick_keys

HELD = Secrets(
    signing_key=b"signing key",
    sealing_key=b"sealing key",
    channel_key=b"channel key",
    data_key=b"data key",
    chain=(b"leaf", b"intermediate"),
    pending=b"request",
)


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with quick_keys():
        yield


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    file = tmp_path / "keys.sealed"
    keystore.save(file, HELD, b"correct horse")
    return file


def test_what_was_saved_comes_back(saved: Path) -> None:
    assert keystore.load(saved, b"correct horse") == HELD
    assert saved.stat().st_mode & 0o077 == 0
    for secret in (HELD.signing_key, HELD.sealing_key, HELD.channel_key, HELD.data_key, HELD.pending):
        assert secret not in saved.read_bytes()


def test_the_same_secrets_never_give_the_same_file(saved: Path) -> None:
    before = saved.read_bytes()
    keystore.save(saved, HELD, b"correct horse")
    assert saved.read_bytes() != before


def test_another_passphrase_does_not_open_it(saved: Path) -> None:
    with pytest.raises(NotAuthenticated) as error:
        keystore.load(saved, b"battery staple")
    assert (error.value.reason, error.value.exit_code) == ("PASSPHRASE_WRONG", 5)


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"kdf": {}}', '{"kdf": [], "salt": 1}', "\udcff"])
def test_a_damaged_file_is_said(saved: Path, content: str) -> None:
    saved.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(Corrupt) as error:
        keystore.load(saved, b"correct horse")
    assert error.value.reason == "KEYS_CORRUPT"


@pytest.mark.parametrize("field", ["salt", "nonce", "sealed"])
def test_a_changed_file_does_not_open(saved: Path, field: str) -> None:
    document = json.loads(saved.read_text())
    coded = document[field]
    document[field] = coded[:4] + ("A" if coded[4] != "A" else "B") + coded[5:]
    saved.write_text(json.dumps(document))
    with pytest.raises(NotAuthenticated):
        keystore.load(saved, b"correct horse")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition) as error:
        keystore.load(tmp_path / "none", b"any")
    assert error.value.reason == "KEYS_UNREADABLE"


def test_a_save_cut_short_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        keystore.save(saved, Secrets(signing_key=b"", sealing_key=b"", channel_key=b"", data_key=b""), b"other")
    monkeypatch.undo()
    with quick_keys():
        assert keystore.load(saved, b"correct horse") == HELD
        keystore.save(saved, HELD, b"other")  # what was left behind is in nobody's way
        assert keystore.load(saved, b"other") == HELD


def test_a_passphrase_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    made = sealed_file.passphrase(file, create=True)
    assert len(made) >= 32
    assert sealed_file.passphrase(file, create=True) == made == sealed_file.passphrase(file, create=False)
    file.chmod(0o640)
    with pytest.raises(FailedPrecondition) as error:
        sealed_file.passphrase(file, create=False)
    assert error.value.reason == "PASSPHRASE_EXPOSED"
    with pytest.raises(FailedPrecondition) as error:
        sealed_file.passphrase(tmp_path / "none", create=False)
    assert error.value.reason == "PASSPHRASE_MISSING"


def test_a_wrapped_secret_opens_in_its_own_row_only() -> None:
    key = os.urandom(32)
    wrapped = keystore.wrap(key, b"secret", b"row 1")
    assert keystore.unwrap(key, wrapped, b"row 1") == b"secret"
    for other, context in ((key, b"row 2"), (os.urandom(32), b"row 1")):
        with pytest.raises(AllianceError) as error:
            keystore.unwrap(other, wrapped, context)
        assert error.value.reason == "KEYS_CORRUPT"


def test_no_secret_is_printed() -> None:
    for secret in ("signing key", "sealing key", "channel key", "data key", "request"):
        assert secret not in repr(HELD)
