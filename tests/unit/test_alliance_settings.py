"""Settings: rising order of origins, every mistake named by its key, and a file that reads back as written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alliance import settings
from alliance.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    server_address: str = "here"
    server_workers: int = 8
    limits_share: float = 0.5
    log_quiet: bool = False
    data_folder: Path = Path("data")


def load(folder: Path, text: str = "", **environ: str) -> tuple[Example, dict[str, str]]:
    file = folder / "example.toml"
    if text:
        file.write_text(text)
    return settings.load(Example, file, prefix="EX", environ=environ)


def test_later_origins_win_and_are_remembered(tmp_path: Path) -> None:
    text = "[server]\naddress = 'file'\nworkers = 2\n[limits]\nshare = 1\n"
    found, origins = load(tmp_path, text, EX_SERVER_WORKERS="3", EX_LOG_QUIET="true", OTHER_SERVER_WORKERS="9")
    assert found == Example(server_address="file", server_workers=3, limits_share=1.0, log_quiet=True)
    assert origins == {
        "server_address": "example.toml",
        "server_workers": "$EX_SERVER_WORKERS",
        "limits_share": "example.toml",
        "log_quiet": "$EX_LOG_QUIET",
        "data_folder": "default",
    }


def test_without_a_file_everything_is_default(tmp_path: Path) -> None:
    assert load(tmp_path) == (Example(), dict.fromkeys(sorted(Example.__slots__), "default"))


@pytest.mark.parametrize(
    ("text", "environ", "field", "reason"),
    [
        ("[server]\ncolour = 1\n", {}, "server.colour", "SETTING_UNKNOWN"),
        ("[server]\naddress = 1\n", {}, "server.address", "SETTING_TYPE"),
        ("[server]\nworkers = 'many'\n", {}, "server.workers", "SETTING_TYPE"),
        ("[server]\nworkers = true\n", {}, "server.workers", "SETTING_TYPE"),
        ("[server]\nworkers = 2.5\n", {}, "server.workers", "SETTING_TYPE"),
        ("[server]\nworkers = inf\n", {}, "server.workers", "SETTING_TYPE"),
        ("[server]\nworkers = [1]\n", {}, "server.workers", "SETTING_TYPE"),
        ("[log]\nquiet = 1\n", {}, "log.quiet", "SETTING_TYPE"),
        ("", {"EX_LOG_QUIET": "perhaps"}, "log.quiet", "SETTING_TYPE"),
        ("", {"EX_SERVER_WORKERS": ""}, "server.workers", "SETTING_TYPE"),
        ("server = 1\n", {}, "server", "SETTING_UNKNOWN"),
        ("[server\n", {}, "", "SETTINGS_UNREADABLE"),
    ],
)
def test_a_mistake_is_named(text: str, environ: dict[str, str], field: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path, text, **environ)
    assert (caught.value.field, caught.value.reason) == (field, reason)


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=30)


@given(TEXT, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_what_is_written_reads_back(
    tmp_path_factory: pytest.TempPathFactory, a: str, b: int, c: float, d: bool
) -> None:
    written = Example(server_address=a, server_workers=b, limits_share=c, log_quiet=d, data_folder=Path("x"))
    file = tmp_path_factory.mktemp("settings") / "example.toml"
    file.write_text(settings.to_toml(written))
    assert settings.load(Example, file, prefix="EX", environ={})[0] == written
