"""The hub, as its operator works it: `alliance-hub` as processes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alliance.errors import Unavailable
from demo.processes import Children, Daemon

_MODULE = "hub"
_ANYWHERE = "127.0.0.1:0"
_UP_SECONDS = 60.0
_EVERY_SECONDS, _DEADLINE_SECONDS = 3600, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """A hub in `home`; every method is one command with the first admin's kit."""

    home: Path
    children: Children

    @property
    def kit(self) -> Path:
        return self.home / "operator" / "admin"

    def init(self) -> str:
        """Makes the hub, on ports the system will choose. Returns the CA's fingerprint."""
        made = self._ask("init", "--address", _ANYWHERE, "--enrolment-address", _ANYWHERE)
        return str(made["ca_fingerprint"])

    def serve(self) -> Daemon:
        """Starts the hub and waits until it has bound its ports. Raises: Unavailable, AllianceError."""
        daemon = self.children.start("hub", _MODULE, "--home", str(self.home), "serve")
        until = time.monotonic() + _UP_SECONDS
        while not self._addresses.exists():
            daemon.check()
            if time.monotonic() > until:
                raise Unavailable(f"the hub did not come up in {_UP_SECONDS:.0f} s", remedy=f"see {daemon.log}")
            time.sleep(0.05)
        return daemon

    def address(self) -> str:
        """Where agents connect, host:port."""
        return str(json.loads(self._addresses.read_text())["hub"])

    def invite(self, name: str, role: str) -> str:
        """A join code for one member."""
        return str(self._ask("member", "invite", name, "--role", role)["join_code"])

    def create_group(self, name: str) -> None:
        self._ask("group", "create", name)

    def add_to_group(self, group: str, member: str) -> None:
        self._ask("group", "add", group, member)

    def create_bank(self, name: str, *, group: str, scheme: str) -> None:
        self._ask("bank", "create", name, "--group", group, "--scheme", scheme)

    def approve(self, detector: str) -> None:
        self._ask("detector", "approve", detector)

    def schedule(self, detector: str, *, rounds: int, quorum: int) -> None:
        """Has rounds run one after the other, from now on and again every hour."""
        every = ("--every", str(_EVERY_SECONDS), "--rounds", str(rounds))
        limits = ("--quorum", str(quorum), "--deadline", str(_DEADLINE_SECONDS))
        self._ask("schedule", "create", detector, "--detector", detector, *every, *limits)

    def rounds(self, detector: str) -> list[int]:
        """Numbers of the detector's rounds so far, the first first."""
        return sorted(
            int(row["round"].rpartition("/")[2]) for row in self._ask("round", "list", "--detector", detector)
        )

    def watch(self, detector: str, number: int, told: Callable[[str], None]) -> None:
        """Tells each change of a round until its model is released. Raises: AllianceError if it is not."""
        home = ("--home", str(self.home))
        self.children.follow(f"rounds-{detector}", _MODULE, *home, "round", "watch", str(number), told=told)

    @property
    def _addresses(self) -> Path:
        return self.home / "addresses.json"

    def _ask(self, *arguments: str) -> Any:
        return self.children.ask("operator", _MODULE, "--home", str(self.home), *arguments, "--json")
