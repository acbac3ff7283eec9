"""What a hub holds, looked at from outside, as somebody who copied its disk would: bytes, and no title among them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SOUGHT = 400
_SHORTEST = 12
_SAMPLE_BYTES = 96
_SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AtTheHub:
    """`size` bytes in `files`; how many of the members' titles were sought among them and found; some of the bytes.

    `sample` is from the middle of the largest blob: a published batch, or a segment of several.
    """

    files: int
    size: int
    sought: int
    found: int
    sample: bytes
    sample_of: str


def look(home: Path, titles: Sequence[str]) -> AtTheHub:
    """Reads every file of the hub and looks for titles of the members' products, in clear."""
    files = sorted(path for path in home.rglob("*") if path.is_file())
    telling = sorted({title for title in titles if len(title) >= _SHORTEST})
    wanted = random.Random(_SEED).sample(telling, min(_SOUGHT, len(telling)))
    held = [path.read_bytes() for path in files]
    found = sum(1 for title in wanted if any(title.encode() in data for data in held))
    names = [path.relative_to(home).as_posix() for path in files]
    blobs = [(data, name) for data, name in zip(held, names, strict=True) if name.startswith("blobs/")]
    largest, name = max(blobs, key=lambda blob: len(blob[0]), default=(b"", ""))
    middle = len(largest) // 2
    return AtTheHub(
        files=len(files),
        size=sum(map(len, held)),
        sought=len(wanted),
        found=found,
        sample=largest[middle : middle + _SAMPLE_BYTES],
        sample_of=name,
    )
