"""A member, as its engineer works it: `alliance-agent` as processes, on the member's own files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from alliance.errors import Unavailable
from demo.processes import Children, Daemon
from demo.world import MemberPlan

_MODULE = "member_agent"
_PATIENCE_SECONDS = 90.0
_PAUSE_SECONDS = 0.5
T = TypeVar("T")


class Match(NamedTuple):
    """One row of a screening's result."""

    listing: str
    fingerprint: str
    score: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """The agent of one member, in `home`; every method is one command."""

    plan: MemberPlan
    home: Path
    children: Children

    @property
    def name(self) -> str:
        return self.plan.name

    def join(self, code: str) -> None:
        """Enrols with a join code, handed over in a file as it is a secret."""
        self.home.mkdir(parents=True, mode=0o700)
        file = self.home.with_suffix(".code")
        file.touch(mode=0o600)
        file.write_text(code)
        try:
            self._ask("join", "--code-file", str(file))
        finally:
            file.unlink()

    def run(self) -> Daemon:
        """Starts the daemon."""
        return self.children.start(f"{self.name}-daemon", _MODULE, "--home", str(self.home), "run")

    def wait_for_keys(self) -> None:
        """Waits until this member has the key of each of its groups. Raises: Unavailable."""
        self._until(lambda: self._ask("sync")["keys_awaited"], lambda awaited: not awaited, "the keys of its groups")

    def import_catalogue(self, table: Path) -> int:
        """Imports a table of products. Returns how many rows."""
        return int(self._ask("catalog", "import", str(table), "--source", "products", "--yes")["rows"])

    def import_photos(self, folder: Path) -> int:
        """Imports a folder of photos. Returns how many."""
        return int(self._ask("catalog", "import", str(folder), "--source", "photos", "--yes")["rows"])

    def publish(self, bank: str, source: str) -> int:
        """Publishes the fingerprints of a source. Returns how many."""
        return int(self._ask("publish", "--bank", bank, "--source", source)["rows"])

    def sync(self, bank: str, expected: int) -> int:
        """Fetches a bank until it holds so many fingerprints. Returns how many. Raises: Unavailable."""

        def holds() -> int:
            (found,) = self._ask("sync", "--bank", bank)["banks"]
            return int(found["rows"])

        return self._until(holds, lambda rows: rows >= expected, f"{expected:,} fingerprints in {bank}")

    def screen(self, table: Path, results: Path, bank: str, *options: str) -> Mapping[str, Any]:
        """Screens listings against a bank. Returns the summary: listings, matches, candidates."""
        results.parent.mkdir(exist_ok=True)
        return dict(self._ask("screen", str(table), "--out", str(results), "--bank", bank, *options))

    def published(self, bank: str) -> dict[str, str]:
        """Own fingerprints in a bank: which of the member's own products each is."""
        return {row["fingerprint"]: row["product"] for row in self._ask("published", "--bank", bank)}

    def verify_log(self) -> Mapping[str, Any]:
        """Recomputes the hub's log: verified, size, root. Raises: AllianceError if it does not hold."""
        return dict(self._ask("audit", "verify"))

    def egress(self) -> dict[str, int]:
        """Bytes that left this agent, by type, from its own ledger."""
        return dict(self._ask("egress", "summary")["by_type"])

    def _until(self, look: Callable[[], T], enough: Callable[[T], bool], what: str) -> T:
        until = time.monotonic() + _PATIENCE_SECONDS
        while not enough(seen := look()):
            if time.monotonic() > until:
                raise Unavailable(f"{self.name} waited {_PATIENCE_SECONDS:.0f} s for {what}", remedy="see its log")
            time.sleep(_PAUSE_SECONDS)
        return seen

    def _ask(self, *arguments: str) -> Any:
        return self.children.ask(self.name, _MODULE, "--home", str(self.home), *arguments, "--json")


def read_matches(results: Path) -> Iterator[Match]:
    """The rows of a screening's result file (JSONL)."""
    with results.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield Match(listing=row["listing"], fingerprint=row["fingerprint"], score=row["score"])
