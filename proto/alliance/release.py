"""The version of this code and the oldest client a hub of this version still serves."""

from __future__ import annotations

import re

from alliance.errors import FailedPrecondition, InvalidInput

VERSION = "0.1.0"
MINIMUM_CLIENT_VERSION = "0.1.0"
# Request metadata under which every client names its version.
VERSION_METADATA = "alliance-client-version"
_SEMVER = re.compile(r"(\d{1,5})\.(\d{1,5})\.(\d{1,5})\Z")


def parse(version: str) -> tuple[int, int, int]:
    """`1.2.3` to (1, 2, 3). Raises: InvalidInput."""
    found = _SEMVER.match(version)
    if not found:
        raise InvalidInput(f"{version[:40]!r} is not a version", field="client_version", remedy="send it as 1.2.3")
    major, minor, patch = (int(part) for part in found.groups())
    return major, minor, patch


def require_supported(client: str, minimum: str = MINIMUM_CLIENT_VERSION) -> None:
    """Raises: FailedPrecondition for a client older than `minimum`."""
    if parse(client) < parse(minimum):
        raise FailedPrecondition(
            f"client version {client} is older than {minimum}, the oldest this hub serves",
            reason="CLIENT_TOO_OLD",
            remedy="upgrade the agent",
        )
