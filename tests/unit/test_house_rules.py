"""Rules of the house that no linter knows, held over every file of the repository."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 400

# Written so that no pattern matches its own line.
REGISTRY_HOSTS = re.compile(
    r"(pypi|pythonhosted|npmjs|crates|debian|golang|docker|ghcr|quay|maven|rubygems)\.(org|io|com)\b"
)
MACHINE_PATHS = re.compile(r"(?<![\w.\])}-])/(work|root|home|Users)/\w")
PRIVATE_KEYS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KE[Y]-----\s+[A-Za-z0-9+/=]{16}")
UNFINISHED = re.compile(r"\b(TO[D]O|FIX[M]E|XX[X]|NotImplemented[E]rror)\b")


@cache
def files() -> dict[str, str]:
    """Every text file people write, tracked or about to be, by its path; stubs are generated from such a file."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    found = {}
    for name in sorted(set(listed.stdout.decode().split("\0")) - {""}):
        path = ROOT / name
        if path.is_file() and "_pb2" not in name:
            raw = path.read_bytes()
            if b"\0" not in raw:
                found[name] = raw.decode()
    return found


def modules() -> dict[str, str]:
    """The Python modules; migrations tell their story by themselves, however long it is."""
    return {name: text for name, text in files().items() if name.endswith(".py") and "migrations/versions/" not in name}


@pytest.mark.parametrize(
    ("rule", "pattern"),
    [
        ("names no package registry", REGISTRY_HOSTS),
        ("names no path of one machine", MACHINE_PATHS),
        ("holds no private key", PRIVATE_KEYS),
        ("leaves nothing unfinished", UNFINISHED),
    ],
)
def test_no_file_breaks_a_rule_of_words(rule: str, pattern: re.Pattern[str]) -> None:
    broken = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for name, text in files().items()
        for match in pattern.finditer(text)
    ]
    assert broken == [], f"every file {rule}"


@pytest.mark.parametrize(
    ("pattern", "bad"),
    [
        (REGISTRY_HOSTS, "https://files.python" + "hosted.org/x"),
        (MACHINE_PATHS, "see /ho" + "me/ada/notes"),
        (PRIVATE_KEYS, "-----BEGIN EC PRIVATE " + "KEY-----\n" + "MHcCAQEEIIrY" * 2),
        (UNFINISHED, "# TO" + "DO later"),
    ],
)
def test_the_rules_of_words_see_what_they_are_for(pattern: re.Pattern[str], bad: str) -> None:
    assert pattern.search(bad)


def test_modules_are_short_enough_to_read() -> None:
    lengths = {name: len(text.splitlines()) for name, text in modules().items()}
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_every_module_states_its_promise() -> None:
    silent = [name for name, text in modules().items() if text and not ast.get_docstring(ast.parse(text))]
    assert silent == []


def test_the_rules_look_at_the_code() -> None:
    assert {"proto/alliance/merkle.py", "hub/__init__.py", "Makefile"} <= files().keys()
