"""The commands that the pages show are run, in order, in one shell, and print what the pages say.

In docs/, a `console` block is run: lines that begin with `$ ` are typed, lines below one are what it prints. A block
below `<!-- file: NAME -->` is written to that file. Nothing else is run. Output is compared loosely: the lines shown
must come in their order, `...` stands for anything, spaces and ports do not matter. A command must succeed,
unless what is shown is its error.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kit.hub_process import free_address
from tests.kit.waiting import eventually

DOCS = Path(__file__).resolve().parents[2] / "docs"
TUTORIAL = "tutorial/first-alliance.md"
# They go on with the alliance of the tutorial.
CONTINUING = (
    "how-to/run-a-hub.md",
    "how-to/publish.md",
    "how-to/screen-listings.md",
    "how-to/prove-what-left.md",
    "explanation/trust.md",
    "how-to/diagnose.md",
    "how-to/add-console-users.md",
    "how-to/invite-and-suspend.md",
    "how-to/two-admins.md",
)
DONE = "--- done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Something to type, and the lines that must come; `line` is where it stands."""

    line: int
    typed: str
    shown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    name: str
    text: str


def steps(page: str) -> Iterator[Command | File]:
    """What a page wants done, in order."""
    fences = re.finditer(r"(?:<!-- file: (\S+) -->\n)?```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for fence in fences:
        name, language, body = fence.groups()
        if name:
            yield File(name=name, text=body)
        elif language == "console":
            yield from _commands(body, page.count("\n", 0, fence.start(3)) + 1)


def _commands(body: str, line: int) -> Iterator[Command]:
    found: list[tuple[int, str, list[str]]] = []
    for number, text in enumerate(body.splitlines(), start=line):
        if text.startswith("$ "):
            found.append((number, text.removeprefix("$ "), []))
        else:
            found[-1][2].append(text)
    for number, typed, shown in found:
        yield Command(line=number, typed=typed, shown=tuple(shown))


def missing(shown: tuple[str, ...], printed: str) -> str | None:
    """The first line shown that was not printed after those before it."""
    lines = iter(_plain(printed).splitlines())
    for wanted in shown:
        pattern = re.escape(_plain(wanted)).replace(r"\.\.\.", ".*")
        if not any(re.fullmatch(pattern, line) for line in lines):
            return wanted
    return None


def _plain(text: str) -> str:
    spaced = "\n".join(" ".join(line.split()) for line in text.splitlines())
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", spaced)


class Shell:
    """One bash, as a reader has it: what it exports and starts stays until `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._address = free_address()
        programs = Path(sys.executable).parent
        environment = {
            "HOME": str(folder),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            # The pages have the default ports, which may be taken here.
            "ALLIANCE_HUB_SERVER_ADDRESS": self._address,
            "ALLIANCE_HUB_SERVER_ENROLMENT_ADDRESS": free_address(),
        }
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def do(self, step: Command | File, page: str) -> None:
        """Raises: AssertionError telling page, line, command and output."""
        if isinstance(step, File):
            (self.folder / step.name).write_text(step.text)
            return
        status, printed = self._typed(step.typed)
        if step.typed.endswith("&"):
            self._await_start()
        refused = any(line.startswith("error:") for line in step.shown)
        told = f"{page}:{step.line}: $ {step.typed}\n{printed}"
        assert (status != 0) == refused, f"exit status {status}, {told}"
        lacking = missing(step.shown, printed)
        assert lacking is None, f"not printed: {lacking}\n{told}"

    def _typed(self, command: str) -> tuple[int, str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{{ {command}\n}} < /dev/null\nstatus=$?; echo; echo '{DONE}' $status\n")
        self._process.stdin.flush()
        printed = ""
        for line in self._process.stdout:
            if line.startswith(DONE):
                return int(line.removeprefix(DONE)), printed
            printed += line
        raise AssertionError(f"the shell ended at: {command}\n{printed}")

    def _await_start(self) -> None:
        """A reader takes a moment before the next command; so do we."""
        host, _, port = self._address.rpartition(":")

        def answers() -> bool:
            try:
                socket.create_connection((host, int(port))).close()
            except ConnectionRefusedError:
                return False
            # It says so a moment after it listens.
            return bool((self.folder / "hub.log").read_text())

        eventually(answers, "the hub of hub.log")

    def close(self) -> None:
        """Ends the shell and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    opened = Shell(tmp_path_factory.mktemp("docs"))
    yield opened
    opened.close()


def run(page: str, shell: Shell) -> None:
    for step in steps((DOCS / page).read_text()):
        shell.do(step, page)


@pytest.mark.slow
def test_the_tutorial_does_what_it_says(shell: Shell) -> None:
    run(TUTORIAL, shell)


@pytest.mark.slow
def test_the_guides_do_what_they_say(shell: Shell) -> None:
    shell.do(Command(line=0, typed="alliance-hub serve > hub.log 2>&1 &", shown=()), CONTINUING[0])
    for page in CONTINUING:
        run(page, shell)


def test_no_page_shows_commands_that_are_not_run() -> None:
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md") if "```console" in page.read_text()}
    assert pages == {TUTORIAL, *CONTINUING}


def test_what_is_shown_must_be_printed() -> None:
    printed = "size  12\nroot  ab12\nhub on 127.0.0.1:9\n"
    assert missing(("size 12", "root ...", "hub on 127.0.0.1:8443"), printed) is None
    assert missing(("root ...", "size 12"), printed) == "size 12"
    assert missing(("size 1",), printed) == "size 1"
