"""What is printed for people: columns, and nothing that a terminal obeys, whoever chose the words."""

from __future__ import annotations

import json

import pytest

from alliance import output
from alliance.errors import NotFound

# Clears the screen and goes home; sets the window's title; a line of its own; right to left.
EVIL = "a\x1b[2J\x1b[H\x9b1mb\x07\nverified  True\u202ec"
SEEN = "a\ufffd[2J\ufffd[H\ufffd1mb\ufffd verified  True\ufffdc"


def test_rows_are_columns(capsys: pytest.CaptureFixture[str]) -> None:
    output.show([{"bank": "banks/a", "rows": 3}, {"bank": "banks/long", "rows": 12}], as_json=False)
    assert capsys.readouterr().out == "bank        rows\nbanks/a     3\nbanks/long  12\n"


@pytest.mark.parametrize("value", [EVIL, [EVIL], {"k": EVIL}])
def test_a_value_stays_in_its_cell(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    output.show([{"name": value}], as_json=False)
    output.show_one({"name": value}, as_json=False)
    first, second, third, *more = capsys.readouterr().out.split("\n")
    cell = f"k={SEEN}" if isinstance(value, dict) else SEEN
    assert (first, second, third, more) == ("name", cell, f"name  {cell}", [""])


def test_json_has_every_character_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_one({"name": EVIL}, as_json=True)
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"name": EVIL}
    assert not set(EVIL) & set("\x1b\x9b\x07\u202e") & set(printed)


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> None:
        raise NotFound(EVIL, reason="R\x1b[2J", remedy="look\nelsewhere")

    with pytest.raises(SystemExit) as ended:
        output.run(refused)
    assert ended.value.code == NotFound.exit_code
    assert capsys.readouterr().err == f"error: {SEEN}; look elsewhere [R\ufffd[2J]\n"


def test_letters_of_all_scripts_are_left_as_they_are() -> None:
    assert output.plain("Größe 靴 חָנוּת café\u00a0№ 5") == "Größe 靴 חָנוּת café\u00a0№ 5"
