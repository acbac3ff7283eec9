"""Key files and passphrases: what opens what, from a file or a systemd credential."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alliance import sealed_file, tls
from alliance.errors import AlreadyExists, Corrupt, FailedPrecondition, NotAuthenticated
from hub.pki import custody

PHRASE = b"correct horse"


def test_a_key_file_opens_under_its_own_name_and_passphrase_only(tmp_path: Path) -> None:
    key = tls.new_channel_key()
    custody.write(tmp_path / "ca.key", key, PHRASE)
    opened = custody.read(tmp_path / "ca.key", PHRASE)
    assert opened.public_key() == key.public_key()
    assert (tmp_path / "ca.key").stat().st_mode & 0o077 == 0
    assert tls.private_pem(key)[40:80] not in (tmp_path / "ca.key").read_bytes()
    with pytest.raises(NotAuthenticated) as error:
        custody.read(tmp_path / "ca.key", b"battery staple")
    assert error.value.reason == "PASSPHRASE_WRONG"
    (tmp_path / "log.key").write_bytes((tmp_path / "ca.key").read_bytes())
    with pytest.raises(NotAuthenticated):
        custody.read(tmp_path / "log.key", PHRASE)


def test_no_key_is_written_over(tmp_path: Path) -> None:
    custody.write(tmp_path / "ca.key", tls.new_channel_key(), PHRASE)
    with pytest.raises(AlreadyExists):
        custody.write(tmp_path / "ca.key", tls.new_channel_key(), PHRASE)


@pytest.mark.parametrize("content", ["", "[]", "-----BEGIN", '{"kdf": 1}'])
def test_what_is_no_key_file_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "ca.key").write_text(content)
    with pytest.raises(Corrupt) as error:
        custody.read(tmp_path / "ca.key", PHRASE)
    assert error.value.reason == "KEYS_CORRUPT"


def test_a_log_key_is_no_ca_key(tmp_path: Path) -> None:
    with pytest.raises(Corrupt):
        custody.require_p256(Ed25519PrivateKey.generate(), "ca.key")


def test_a_passphrase_comes_from_a_systemd_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mode shows the mask of an access list; systemd guards it."""
    credential = tmp_path / "alliance-hub"
    credential.write_bytes(PHRASE + b"\n")
    credential.chmod(0o440)
    with pytest.raises(FailedPrecondition) as error:
        sealed_file.passphrase_file(tmp_path / "home", Path("passphrase"), "alliance-hub")
    assert error.value.reason == "PASSPHRASE_MISSING"
    assert "LoadCredentialEncrypted=alliance-hub" in error.value.remedy
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    found = sealed_file.passphrase_file(tmp_path / "home", Path("passphrase"), "alliance-hub")
    assert sealed_file.passphrase(found, create=False) == PHRASE
    assert sealed_file.passphrase_file(tmp_path / "home", Path("passphrase"), "") == tmp_path / "home" / "passphrase"


def test_an_empty_passphrase_is_none(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_bytes(b"\n")
    (tmp_path / "passphrase").chmod(0o600)
    with pytest.raises(FailedPrecondition) as error:
        sealed_file.passphrase(tmp_path / "passphrase", create=False)
    assert error.value.reason == "PASSPHRASE_MISSING"


def test_many_threads_may_open_at_once() -> None:
    """OpenSSL's own threads fail, or hang, where two derivations with several lanes meet."""
    document = sealed_file.seal(b"secret", PHRASE, purpose=b"test")
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                assert sealed_file.unseal(document, PHRASE, purpose=b"test", name="it") == b"secret"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
