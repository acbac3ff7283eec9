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
from demo.world import PHOTOS, TITLES, MemberPlan, Training

_MODULE = "member_agent"
_PATIENCE_SECONDS = 90.0
_PAUSE_SECONDS = 0.5
T = TypeVar("T")


class Match(NamedTuple):
    """One row of a screening's result."""

    listing: str
    fingerprint: str


class Own(NamedTuple):
    """One of a member's own fingerprints: the product it is of, and whether others told that it matched."""

    fingerprint: str
    product: str
    matched: bool


class Gain(NamedTuple):
    """A metric on so many rows the member held back: of what it learnt alone, of what all learnt together, and of its
    blend of both, which it screens with."""

    local: float
    federated: float
    blended: float
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """The agent of one member, in `home`; every method is one command."""

    plan: MemberPlan
    home: Path
    children: Children

    @property
    def name(self) -> str:
        return self.plan.name

    def join(self, code: str) -> str:
        """Enrols with a join code, handed over in a file as it is a secret. Returns the fingerprint to read out."""
        self.home.mkdir(parents=True, mode=0o700)
        file = self.home.with_suffix(".code")
        file.touch(mode=0o600)
        file.write_text(code)
        try:
            return str(self._ask("join", "--code-file", str(file))["fingerprint"])
        finally:
            file.unlink()

    def admit(self, newcomers: Mapping[str, str]) -> None:
        """Signs the admission of each, by name, once the fingerprint it read out is the one in the log."""
        for name, fingerprint in newcomers.items():
            self._ask("member", "admit", name, "--fingerprint", fingerprint)

    def run(self) -> Daemon:
        """Starts the daemon."""
        return self.children.start(f"{self.name}-daemon", _MODULE, "--home", str(self.home), "run")

    def wait_for_keys(self) -> None:
        """Waits until this member has the key of each of its groups. Raises: Unavailable."""
        self._until(lambda: self._ask("sync")["keys_awaited"], lambda awaited: not awaited, "the keys of its groups")

    def import_all(self) -> int:
        """Imports the member's own products and photos. Returns how many rows and pictures."""
        rows = 0
        for source, path in self.sources():
            rows += int(self._ask("catalog", "import", str(path), "--source", source, "--yes")["rows"])
        return rows

    def publish_all(self) -> dict[str, int]:
        """Publishes fingerprints of what was imported, each source into the bank of its name; how many in each."""
        return {bank: int(self._ask("publish", "--bank", bank, "--source", bank)["rows"]) for bank, _ in self.sources()}

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

    def send_waiting(self) -> None:
        """Sends what waits in the outbox, such as bucketed hits, rather than leave it to the daemon's next pass."""
        self._ask("sync")

    def published(self, bank: str) -> list[Own]:
        """Own fingerprints in a bank."""
        return [
            Own(fingerprint=row["fingerprint"], product=row["product"], matched=row["hits"] != "none")
            for row in self._ask("published", "--bank", bank)
        ]

    def propose(self, training: Training) -> None:
        """Proposes a detector to the members that share titles."""
        settings = [word for setting in training.settings for word in ("--setting", setting)]
        code = ("--group", TITLES, "--code", training.detector)
        self._ask("detector", "propose", training.detector, *code, *settings)

    def train_with(self, training: Training) -> None:
        """Consents to train a detector on the member's own file."""
        columns = [word for name in training.columns for word in ("--column", f"{name}={name}")]
        data = ("--data", str(training.files[self.name]))
        self._ask("detector", "join", training.detector, *data, *columns)

    def gain(self, training: Training) -> Gain:
        """What the last round was worth to this member. Raises: Unavailable, where it has no result."""
        for row in self._ask("uplift", "--detector", training.detector):
            if row["metric"] == training.metric:
                return Gain(local=row["local"], federated=row["federated"], blended=row["blended"], rows=row["rows"])
        raise Unavailable(f"{self.name} did not evaluate {training.detector}", remedy="see its log")

    def verify_log(self) -> Mapping[str, Any]:
        """Recomputes the hub's log: verified, size, root. Raises: AllianceError if it does not hold."""
        return dict(self._ask("audit", "verify"))

    def egress(self) -> dict[str, int]:
        """Bytes that left this agent, by type, from its own ledger."""
        return dict(self._ask("egress", "summary")["by_type"])

    def sources(self) -> list[tuple[str, Path]]:
        """What the member brings, by bank; one after the other, as a catalogue is imported by one process at a time."""
        return [(bank, path) for bank, path in ((TITLES, self.plan.catalogue), (PHOTOS, self.plan.photos)) if path]

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
            yield Match(listing=row["listing"], fingerprint=row["fingerprint"])
