"""PKCS#11 URIs (RFC 7512): what is understood, and what is refused rather than passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from alliance.errors import FailedPrecondition, InvalidInput
from member_agent import token_uri
from member_agent.config import Settings

WHERE = "module-path=/usr/lib/p11.so&pin-source=file:/etc/pin"


def test_a_whole_uri_is_read_with_its_escapes() -> None:
    read = token_uri.parse(
        "pkcs11:token=The%20Software%20token;serial=DECC0401;object=my%2Dkey?pin-source=file:///etc/my%20pin"
        "&module-path=/usr/lib/a%20b/p11.so"
    )
    assert (read.token, read.serial, read.object) == ("The Software token", "DECC0401", "my-key")
    assert read.module == Path("/usr/lib/a b/p11.so")
    assert read.pin_file() == Path("/etc/my pin")
    assert token_uri.parse(f"pkcs11:token=a?{WHERE}").object == "alliance-agent"
    assert token_uri.parse(token_uri.EXAMPLE).token == "LABEL"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", "begins with"),
        ("file:/etc/key", "begins with"),
        (f"pkcs11:object=a?{WHERE}", "names no token"),
        ("pkcs11:token=a?pin-source=file:/etc/pin", "module-path"),
        ("pkcs11:token=a?module-path=p11.so&pin-source=file:/etc/pin", "module-path"),
        ("pkcs11:token=a?module-path=/usr/lib/p11.so", "pin-source"),
        ("pkcs11:token=a?module-path=/usr/lib/p11.so&pin-source=file:pin", "pin-source"),
        ("pkcs11:token=a?module-path=/usr/lib/p11.so&pin-source=file://host/pin", "pin-source"),
        ("pkcs11:token=a?module-path=/usr/lib/p11.so&pin-source=|/bin/pin", "pin-source"),
        (f"pkcs11:token=a;id=%01?{WHERE}", "'id' is not understood"),
        (f"pkcs11:token=a;token=b?{WHERE}", "said twice"),
        (f"pkcs11:token=a?{WHERE}&pin-value=4711", "does not belong"),
    ],
)
def test_what_is_not_understood_is_refused_and_a_pin_never_repeated(uri: str, words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        Settings(keys_pkcs11_uri=uri or "x").validate()
    assert words in error.value.message
    assert error.value.field == "keys.pkcs11_uri"
    assert "4711" not in str(error.value)


def test_a_pin_comes_from_a_systemd_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = token_uri.parse("pkcs11:token=a?module-path=/usr/lib/p11.so&pin-source=credential:agent-pin")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(FailedPrecondition) as error:
        read.pin()
    assert error.value.reason == "TOKEN_PIN_MISSING"
    assert "LoadCredentialEncrypted=agent-pin" in error.value.remedy
    (tmp_path / "agent-pin").write_text("4711\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read.pin() == "4711"
    assert "4711" not in repr(read)


def test_an_empty_pin_file_is_said_before_the_token_is_asked(tmp_path: Path) -> None:
    (tmp_path / "pin").touch(mode=0o600)
    read = token_uri.parse(f"pkcs11:token=a?module-path=/usr/lib/p11.so&pin-source=file:{tmp_path / 'pin'}")
    with pytest.raises(FailedPrecondition) as error:
        read.pin()
    assert error.value.reason == "TOKEN_PIN_MISSING"
