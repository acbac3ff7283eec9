"""PDQ against the hashes ThreatExchange publishes, and the windows against real photos and their copies.

ThreatExchange's own tolerance between implementations is 16 bits; JPEG decoders alone differ by a few.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import data
from demo.transforms import COPIES
from member_agent.fingerprinting import pdq
from member_agent.fingerprinting.decode_worker import read_luma
from member_agent.fingerprinting.image import publisher_variants, querier_probes
from member_agent.matching.hamming import HammingIndex

pytestmark = pytest.mark.realdata


def folder(name: str) -> Path:
    found = data.folder()
    if found is None:
        pytest.skip("the real data sets are not on this machine")
    return found / name


def published_hashes() -> list[tuple[Path, bytes]]:
    threatexchange = folder("pdq_threatexchange")
    rows = []
    for name in ("python_pdq_test_expected.csv", "python_readme_bridge_mods.csv"):
        with (threatexchange / "expected" / name).open(newline="") as file:
            rows += [(threatexchange / row["file"], bytes.fromhex(row["pdq_hex"])) for row in csv.DictReader(file)]
    return [(path, value) for path, value in rows if path.exists()]


def bits_apart(left: bytes, right: bytes) -> int:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).bit_count()


def test_hashes_are_the_published_ones() -> None:
    apart = []
    for path, expected in published_hashes():
        with Image.open(path) as picture:
            found = pdq.pdq(np.asarray(picture.convert("RGB")))
        if found.quality >= 80:
            apart.append(bits_apart(found.value, expected))
    assert len(apart) >= 25
    assert max(apart) <= 10
    assert np.median(apart) == 0


def test_hashes_of_luma_as_stored_are_the_published_ones_too() -> None:
    found = [(pdq.pdq(read_luma(path)), expected) for path, expected in published_hashes()]
    apart = [bits_apart(hash_.value, expected) for hash_, expected in found if hash_.quality >= 80]
    assert max(apart) <= 10
    assert np.median(apart) == 0


def test_quality_is_the_published_one() -> None:
    with (folder("pdq_threatexchange") / "expected" / "python_readme_bridge_mods.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found = pdq.pdq(read_luma(folder("pdq_threatexchange") / row["file"]))
            assert found.quality == pytest.approx(int(row["quality"]), abs=2)


def test_a_flipped_and_a_resized_photo_are_found_among_others() -> None:
    ukbench = folder("imagededup_ukbench")
    index = sorted((ukbench / "base_images").glob("*.jpg"))
    variants = [publisher_variants(read_luma(path)) for path in index]
    owner = np.repeat(np.arange(len(index)), [len(each) for each in variants])
    values = np.array([np.frombuffer(variant.hash, np.uint8) for each in variants for variant in each])
    for copy in ("ukbench00120", "ukbench00120_hflip", "ukbench00120_resize"):
        probes = querier_probes(read_luma(ukbench / "mixed_images" / f"{copy}.jpg"))
        hits = HammingIndex(values).search(np.array([np.frombuffer(probe.hash, np.uint8) for probe in probes]))
        assert {index[at].stem for at in owner[hits.index_row]} == {"ukbench00120"}


def test_copies_of_real_photos_are_found_and_nothing_else() -> None:
    photos = sorted(folder("clothing_cc0_images").rglob("*.jpg"))[::10]
    chosen = ("reencoded-30", "resized-25", "cropped-all-7", "cropped-righttop-10", "padded-blurred-10", "flipped")
    variants = [publisher_variants(read_luma(path)) for path in photos]
    owner = np.repeat(np.arange(len(photos)), [len(each) for each in variants])
    index = HammingIndex(np.array([np.frombuffer(variant.hash, np.uint8) for each in variants for variant in each]))
    found = []
    for at, path in enumerate(photos):
        with Image.open(path) as photo:
            original = photo.convert("RGB")
        for name in chosen:
            probes = querier_probes(np.asarray(COPIES[name](original).convert("L")))
            hits = index.search(np.array([np.frombuffer(probe.hash, np.uint8) for probe in probes]))
            owners = set(owner[hits.index_row].tolist())
            assert owners <= {at}, f"{path.name} {name} also matches another photo"
            found.append(at in owners)
    assert np.mean(found) >= 0.98
