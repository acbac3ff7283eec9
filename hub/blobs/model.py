"""What a complete blob is."""

from __future__ import annotations

from typing import NamedTuple

from alliance.names import Digest


class StoredBlob(NamedTuple):
    """`size` in bytes; the bytes are at the hub, checked and synced."""

    digest: Digest
    size: int
