"""The sealed backup of an identity: its code survives paper, and neither half is worth anything alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alliance.errors import AlreadyExists, Corrupt, InvalidInput, NotAuthenticated
from alliance.names import MemberId
from member_agent import backup
from member_agent.backup import Backup

MADE = Backup(
    member=MemberId("members/acme"),
    alliance="alliance.example",
    signing_key=b"the signing key",
    sealing_key=bytes(range(32)),
    ca=b"-----BEGIN CERTIFICATE-----\n",
    log_key=bytes(32),
    hub_address="hub.example:8443",
    enrolment_address="hub.example:8444",
)


@given(st.binary(min_size=32, max_size=32))
def test_a_code_is_read_as_it_was_printed(code: bytes) -> None:
    text = backup.code_text(code)
    assert len(text.split("-")) == 14
    assert backup.parse_code(text) == code
    assert backup.parse_code(text.lower().replace("-", "  ")) == code
    assert backup.parse_code(text.replace("0", "O").replace("1", "l") + "\n") == code


@given(st.binary(min_size=32, max_size=32), st.integers(0, 55), st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
def test_one_wrong_letter_is_noticed(code: bytes, at: int, letter: str) -> None:
    letters = list(backup.code_text(code).replace("-", ""))
    if letters[at] == letter:
        return
    letters[at] = letter
    with pytest.raises(InvalidInput) as error:
        backup.parse_code("".join(letters))
    assert error.value.reason == "RECOVERY_CODE_MALFORMED"
    assert "".join(letters[:8]) not in str(error.value)


@pytest.mark.parametrize("text", ["", "0000", "U" * 56, "é" * 56, "0" * 57])
def test_what_is_no_code_is_said_to_be_none(text: str) -> None:
    with pytest.raises(InvalidInput):
        backup.parse_code(text)


def test_a_backup_opens_with_its_code_and_no_other() -> None:
    code = backup.new_code()
    sealed = backup.seal(MADE, code)
    assert backup.unseal(sealed, code) == MADE
    with pytest.raises(NotAuthenticated) as error:
        backup.unseal(sealed, backup.new_code())
    assert error.value.reason == "RECOVERY_CODE_WRONG"


def test_the_file_shows_whose_it_is_and_nothing_else() -> None:
    sealed = backup.seal(MADE, backup.new_code())
    assert set(json.loads(sealed)) == {"format", "alliance", "member", "salt", "sealed"}
    for secret in (b"signing key", b"hub.example", b"CERTIFICATE"):
        assert secret not in sealed


def test_two_files_of_one_code_have_nothing_in_common() -> None:
    code = backup.new_code()
    one, two = (json.loads(backup.seal(MADE, code)) for _ in range(2))
    assert one["salt"] != two["salt"]
    assert one["sealed"][:40] != two["sealed"][:40]


@pytest.mark.parametrize("name", ["member", "alliance"])
def test_whose_it_is_cannot_be_changed(name: str) -> None:
    code = backup.new_code()
    document = json.loads(backup.seal(MADE, code)) | {name: "members/rival"}
    with pytest.raises(NotAuthenticated):
        backup.unseal(json.dumps(document).encode(), code)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"format": "another"}', bytes(range(200, 250))])
def test_what_is_no_backup_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(Corrupt) as error:
        backup.unseal(data, backup.new_code())
    assert error.value.reason == "BACKUP_CORRUPT"


def test_a_file_is_its_owners_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "acme.backup"
    backup.write(path, b"one")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(AlreadyExists):
        backup.write(path, b"two")
    assert backup.read(path) == b"one"


def test_the_page_has_the_code_and_says_what_to_do() -> None:
    code = backup.new_code()
    page = backup.page(replace(MADE, former_sealing_keys=bytes(32)), code, "acme.backup")
    printed = "".join(
        line.strip() + " " for line in page.splitlines() if line.startswith("    ") and "home" not in line
    )
    assert backup.parse_code(printed) == code
    assert "recover acme.backup" in page
