"""pdq: hashing pictures, finding copies of real photos, and exact search, beside pdqhash, Pillow, plain PDQ and faiss.

All on one processor. The photos are clothing_cc0_images. Every transform of demo.transforms is made of each, and the
probes of each copy are searched among the values of all photos: recall is the share of copies whose photo is found, a
false match is any other photo found. The peer of recall is PDQ as it is: one value of the photo, one of the copy, 31
bits. Search is over generated hashes, mixed from rows of real ones to keep their skew, and its peers are exact too.
`--quick`: every 12th photo and 100,000 hashes; in full: all photos and 1,000,000 hashes.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench import data
from bench.figure import Figure
from bench.peers import picture_tools
from bench.peers.picture_tools import best_of_three
from demo.transforms import COPIES, HARDER, group
from member_agent.fingerprinting import pdq
from member_agent.fingerprinting.decode import ImageDecoder
from member_agent.fingerprinting.image import Variant, publisher_variants, querier_probes
from member_agent.matching.hamming import MAX_RADIUS, HammingIndex, Values

SIDE = 1000
TIMED_PICTURES = 24
QUERIES = 256
SEED = 1
TRANSFORMS = {**COPIES, **HARDER}


def run(*, quick: bool) -> Iterator[Figure]:
    folder = data.folder()
    if folder is None:
        print("bench pdq: no real data (ALLIANCE_DATA or ../shared/data); nothing measured", file=sys.stderr)
        return
    photos = sorted((folder / "clothing_cc0_images").rglob("*.jpg"))
    with _one_processor() as pool, tempfile.TemporaryDirectory() as name:
        work = Path(name)
        yield from _speed(photos[:: len(photos) // TIMED_PICTURES][:TIMED_PICTURES], work, pool)
        scored = list(pool.map(_score, photos[::12] if quick else photos, chunksize=1))
        yield from _recall(scored)
        yield from _search(np.concatenate([photo.published for photo in scored]), work, rows=10**5 if quick else 10**6)


@contextmanager
def _one_processor() -> Iterator[ProcessPoolExecutor]:
    """A process whose numpy has one thread, so that a rate is one processor's."""
    before = os.environ.get("OPENBLAS_NUM_THREADS")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield pool
    finally:
        os.environ.pop("OPENBLAS_NUM_THREADS")
        if before is not None:
            os.environ["OPENBLAS_NUM_THREADS"] = before


def _speed(photos: Sequence[Path], work: Path, pool: ProcessPoolExecutor) -> Iterator[Figure]:
    files = []
    for number, path in enumerate(photos):
        with Image.open(path) as photo:
            scale = SIDE / max(photo.size)
            large = photo.convert("RGB").resize((round(photo.width * scale), round(photo.height * scale)))
        np.save(work / f"picture-{number:02d}.npy", np.asarray(large))
        files.append(work / f"picture-{number:02d}.jpg")
        large.save(files[-1], quality=90)
    count, unit = len(files), "pictures/s"
    peer = picture_tools.run("pdqhash", work)
    kernel, publish, probe = pool.submit(_time_kernel, work).result()
    size = f"{count} photos of {SIDE} px"
    yield Figure(
        name="hash, one value",
        ours=count / kernel,
        unit=unit,
        method=f"RGB to PDQ, {size}, best of 3, one processor",
        peer=None if peer is None else count / peer["seconds"],
        peer_name="pdqhash",
        target=8,
    )
    yield Figure(name="hash, published values", ours=count / publish, unit=unit, method=f"luma to all values, {size}")
    yield Figure(name="hash, probes", ours=count / probe, unit=unit, method=f"luma to all probes, {size}")
    decode = pool.submit(_time_decoding, files).result()
    with ImageDecoder(workers=1) as decoder:
        for name, seconds in _time_files(decoder, files).items():
            yield Figure(
                name=name,
                ours=count / seconds,
                unit=unit,
                method=f"guarded worker, JPEG quality 90, {size}, best of 3",
                peer=count / decode,
                peer_name="Pillow decoding to RGB, nothing else",
            )


def _time_files(decoder: ImageDecoder, files: Sequence[Path]) -> dict[str, float]:
    return {
        "file to published values": best_of_three(lambda: list(decoder.fingerprint_files(files, mode="publish")))[0],
        "file to probes": best_of_three(lambda: list(decoder.fingerprint_files(files, mode="probe")))[0],
    }


def _time_kernel(work: Path) -> tuple[float, float, float]:
    colours = [np.load(path) for path in sorted(work.glob("picture-*.npy"))]
    greys = [np.asarray(Image.fromarray(picture).convert("L")) for picture in colours]
    return (
        best_of_three(lambda: [pdq.pdq(picture) for picture in colours])[0],
        best_of_three(lambda: [publisher_variants(picture) for picture in greys])[0],
        best_of_three(lambda: [querier_probes(picture) for picture in greys])[0],
    )


def _time_decoding(files: Sequence[Path]) -> float:
    def decode() -> None:
        for path in files:
            with Image.open(path) as picture:
                picture.convert("RGB")

    return best_of_three(decode)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A photo's published values, N x 32, and of each copy: its probes, and how many bits plain PDQ is away."""

    published: Values
    probes: Mapping[str, Values]
    plain_distance: Mapping[str, int]


def _score(path: Path) -> Scored:
    with Image.open(path) as picture:
        photo = picture.convert("RGB")
    plain = np.frombuffer(pdq.pdq(_luma(photo)).value, np.uint8)
    copies = {name: _luma(transform(photo)) for name, transform in TRANSFORMS.items()}
    return Scored(
        published=_values(publisher_variants(_luma(photo))),
        probes={name: _values(querier_probes(copy)) for name, copy in copies.items()},
        plain_distance={
            name: int(np.bitwise_count(plain ^ np.frombuffer(pdq.pdq(copy).value, np.uint8)).sum())
            for name, copy in copies.items()
        },
    )


def _luma(picture: Image.Image) -> pdq.Pixels:
    return np.asarray(picture.convert("L"))


def _values(variants: Sequence[Variant]) -> Values:
    return np.frombuffer(b"".join(variant.hash for variant in variants), np.uint8).reshape(-1, pdq.HASH_BYTES)


def _recall(scored: Sequence[Scored]) -> Iterator[Figure]:
    index = HammingIndex(np.concatenate([photo.published for photo in scored]))
    owner = np.repeat(np.arange(len(scored)), [len(photo.published) for photo in scored])
    found: dict[str, list[bool]] = {}
    false = 0
    for name in TRANSFORMS:
        probes = [photo.probes[name] for photo in scored]
        asker = np.repeat(np.arange(len(scored)), [len(each) for each in probes])
        hits = index.search(np.concatenate(probes))
        pairs = np.unique(np.stack((asker[hits.query_row], owner[hits.index_row])), axis=1)
        right = pairs[0] == pairs[1]
        found[name] = np.isin(np.arange(len(scored)), pairs[0][right]).tolist()
        false += int((~right).sum())
    plain = {name: [photo.plain_distance[name] <= MAX_RADIUS for photo in scored] for name in TRANSFORMS}
    values = np.mean([len(photo.published) for photo in scored])
    probes_each = np.mean([len(photo.probes[name]) for photo in scored for name in COPIES])
    size = f"{len(scored)} photos, {values:.1f} values a photo, {probes_each:.1f} probes a copy"
    for label, names in {"all": list(COPIES), **_groups()}.items():
        yield Figure(
            name=f"recall, {label}",
            ours=float(np.mean([found[name] for name in names])),
            unit="of copies",
            method=f"{len(names)} transforms, {size}",
            peer=float(np.mean([plain[name] for name in names])),
            peer_name="PDQ as it is",
            target=0.95 if label == "all" else None,
            judged="ours",
        )
    yield Figure(
        name="false matches",
        ours=false,
        unit="pairs",
        method=f"{len(found)} transforms x {len(scored)} copies x {len(scored) - 1} other photos",
        target=0,
        judged="ours",
        bound="at_most",
    )


def _groups() -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in COPIES:
        groups.setdefault(group(name), []).append(name)
    return groups | {f"beyond the promise: {name}": [name] for name in HARDER}


def _search(real: Values, work: Path, *, rows: int) -> Iterator[Figure]:
    values, queries = _generated(real, rows)
    np.save(work / "values.npy", values)
    np.save(work / "queries.npy", queries)
    index = HammingIndex(values)
    seconds, hits = best_of_three(lambda: index.search(queries))
    few = queries[:32]
    scan, scanned = best_of_three(lambda: _scan(values, few))
    assert scanned == int((hits.query_row < len(few)).sum()), "both are exact"
    peers = {"numpy, every pair": len(few) / scan}
    for tool in ("faiss-flat", "faiss-multihash"):
        if (measured := picture_tools.run(tool, work)) is not None:
            assert measured["pairs"] == len(hits), "both are exact"
            peers[tool] = len(queries) / measured["seconds"]
    for peer, rate in peers.items():
        yield Figure(
            name=f"search {rows:,}, beside {peer}",
            ours=len(queries) / seconds,
            unit="queries/s",
            method=f"all within 31 bits, {len(queries)} queries, half of them near a hash; best of 3, one processor",
            peer=rate,
            peer_name=peer,
            target=1,
        )


def _generated(real: Values, rows: int) -> tuple[Values, Values]:
    """Hashes whose rows of frequencies come from as many real hashes, and queries, every other one near such a hash."""
    random = np.random.default_rng(SEED)
    source = random.integers(0, len(real), (rows, pdq.HASH_BYTES // 2))
    values: Values = real.reshape(len(real), -1, 2)[source, np.arange(source.shape[1])].reshape(rows, -1)
    queries = values[random.choice(rows, QUERIES, replace=False)]
    flips = random.random((QUERIES, pdq.HASH_BYTES * 8)) < np.where(np.arange(QUERIES) % 2, 0.05, 0.4)[:, np.newaxis]
    return values, queries ^ np.packbits(flips, axis=1)


def _scan(values: Values, queries: Values) -> int:
    """Every pair, a word at a time."""
    found = 0
    columns = np.ascontiguousarray(values.view(np.uint64).T)
    for query in queries.view(np.uint64):
        distance = np.zeros(len(values), np.uint16)
        for column, word in zip(columns, query, strict=True):
            distance += np.bitwise_count(column ^ word)
        found += int((distance <= MAX_RADIUS).sum())
    return found
