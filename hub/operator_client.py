"""`alliance-hub` as a client: mutual TLS with an operator's kit, so no command opens the hub's database."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message

from alliance import channel
from alliance.errors import FailedPrecondition
from hub.config import Home

R = TypeVar("R", bound=Message)
PAGE = 500


class OperatorClient:
    def __init__(self, kit: Path, address: str) -> None:
        self.roots = _read(kit / "ca.pem")
        self.address = address
        self.channel = channel.open_channel(
            address, roots=self.roots, key=_read(kit / "key.pem"), chain=_read(kit / "certificate.pem")
        )

    def call(self, request: Message, response: type[R], *, timeout: float = 30.0) -> R:
        """One call; a mutation gets a fresh request id. Raises: AllianceError."""
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            request.request_id = str(uuid.uuid4())  # type: ignore[attr-defined]  # because only mutations have it
        return channel.call(self.channel, request, response, timeout=timeout)

    def pages(self, request: Any, response: type[R], items: Callable[[R], Any]) -> Iterator[Any]:
        """Every item of a paged list."""
        request.page_size = PAGE
        while True:
            page = self.call(request, response)
            yield from items(page)
            request.page_token = page.next_page_token  # type: ignore[attr-defined]  # because every list has it
            if not request.page_token:
                return

    def close(self) -> None:
        self.channel.close()


def open_client(home: Home, *, kit: Path | None = None, address: str = "") -> OperatorClient:
    """The client of `--kit` (or `ALLIANCE_OPERATOR_KIT`), else of the only kit in the hub's home.

    Raises: FailedPrecondition.
    """
    named = kit or (Path(env) if (env := os.environ.get("ALLIANCE_OPERATOR_KIT")) else None)
    folder = named or _only_kit(home)
    return OperatorClient(folder, address or _address(home, folder))


def _only_kit(home: Home) -> Path:
    kits = sorted(path for path in home.operator.glob("*") if path.is_dir()) if home.operator.exists() else []
    if len(kits) != 1:
        problem = "no operator kit" if not kits else f"{len(kits)} operator kits"
        raise FailedPrecondition(
            f"{problem} in {home.path}", reason="NO_OPERATOR_KIT", remedy="name one with --kit or ALLIANCE_OPERATOR_KIT"
        )
    return kits[0]


def _address(home: Home, kit: Path) -> str:
    for file in (kit / "hub.json", home.addresses_file):
        if file.exists():
            return str(json.loads(file.read_text())["hub"])
    raise FailedPrecondition(
        "the hub's address is not known",
        reason="NO_HUB_ADDRESS",
        remedy='start it with "alliance-hub serve" or name --hub',
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FailedPrecondition(
            f"cannot read {path.name} of the operator kit: {error.strerror}",
            reason="KIT_UNREADABLE",
            remedy="name another --kit",
        ) from error
