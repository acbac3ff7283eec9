"""Altered copies of pictures, as they turn up on a marketplace, under names that tell nothing.

Of every picture there is one copy of each group of transforms (re-encoded, resized, cropped, padded, flipped), by one
of the group's transforms drawn at random, the same at every run: all 48 of all pictures would take longer than a demo
may (`python -m bench pdq` does them).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from demo import transforms
from demo.processes import WORKERS
from demo.scoring import Copy
from demo.world import write_table

_SEED = 2017
_QUALITY = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """`product` is the key it is published under, "" if nobody publishes it."""

    file: Path
    product: str = ""


def put_up(pictures: Sequence[Picture], folder: Path) -> tuple[Path, list[Copy]]:
    """Writes the copies and a table of offers that show them; the table's path, and what each copy is.

    Offers are numbered in a shuffled order, so that neither names nor places tell what a picture is a copy of.
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in transforms.COPIES:
        groups[transforms.group(name)].append(name)
    rng = random.Random(_SEED)
    work = [(picture, rng.choice(names)) for picture in pictures for names in groups.values()]
    rng.shuffle(work)
    copies = [
        Copy(listing=f"offer-{number:04}", transform=transforms.group(name), photo=picture.product)
        for number, (picture, name) in enumerate(work, start=1)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(_write, work, (folder / f"{copy.listing}.jpg" for copy in copies)))
    rows = ({"id": copy.listing, "title": "as pictured", "image": f"{copy.listing}.jpg"} for copy in copies)
    return write_table(folder / "offers.csv", rows, ("id", "title", "image")), copies


def _write(work: tuple[Picture, str], target: Path) -> None:
    picture, transform = work
    with Image.open(picture.file) as original:
        transforms.COPIES[transform](original.convert("RGB")).save(target, "JPEG", quality=_QUALITY)
