"""`with alliance(members=3) as a:` a hub and its members, in one group that shares a key and a bank."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alliance.names import BankId, GroupId
from tests.kit.hub import RunningHub, running_hub
from tests.kit.member import RawMember


@dataclass(frozen=True, slots=True, kw_only=True)
class Alliance:
    """Everybody in it is enrolled, in `group`, and holds its first epoch."""

    hub: RunningHub
    members: list[RawMember]
    group: GroupId
    bank: BankId


@contextmanager
def alliance(*, members: int = 3, folder: Path | None = None, **options: Any) -> Iterator[Alliance]:
    """A whole alliance on real parts.

    Args:
        folder: where the hub lives; a temporary one by default.
        options: those of `tests.kit.hub.running_hub`.
    """
    with tempfile.TemporaryDirectory() as temporary, running_hub(folder or Path(temporary), **options) as hub:
        everybody = [hub.enrol(f"member-{n}") for n in range(members)]
        group = hub.create_group("everybody", *everybody)
        bank = hub.create_bank("everything", group)
        if everybody:
            everybody[0].create_epoch(group, everybody[1:])
        yield Alliance(hub=hub, members=everybody, group=group, bank=bank)
