"""titles: candidates text sketches find between real catalogues and listings, beside published and plain methods.

The data are the entity resolution sets of er_pyjedai: D8 Walmart-Amazon, D2 Abt-Buy, D3 Amazon-Google.
PC (pair completeness) is the share of the true pairs among the candidates, PQ (pairs quality) the share
of the candidates that are true. One configuration for all three, the defaults. The published figures are
the schema-agnostic kNN-Join of the sets' authors; every other peer runs here. `--quick` differs only in the
large bank of generated titles: 100,000 instead of 1,000,000.
"""

from __future__ import annotations

import csv
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import data
from bench.figure import Figure
from bench.peers import title_matchers
from member_agent.fingerprinting.text import TextItem, sketch_many
from member_agent.matching.text_index import Matches, TextIndex

KEY = bytes(range(32))


DISGUISES: tuple[Callable[[str], str], ...] = (
    lambda title: title.translate(str.maketrans("aeopcxABEKMHOPCTX", "аеорсхАВЕКМНОРСТХ")),
    lambda title: re.sub(r"(\w\w\w)", "\\1\u200b", title),
    lambda title: title.translate({code: code + 0xFEE0 for code in range(33, 127)}),
    lambda title: re.sub(r"(?<=[a-z])[oie](?=[a-z]{2})", lambda found: "013"["oie".index(found[0])], title, count=3),
    lambda title: ".".join(title.split(" ", 1)[0]) + title[len(title.split(" ", 1)[0]) :],
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The authors' kNN-Join on one set: pair completeness, pairs quality, candidates."""

    pc: float
    pq: float
    candidates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    catalogue: str
    listings: str
    delimiter: str
    columns: tuple[str, str, str]
    published: Published


SOURCES = {
    "D8": Source(
        catalogue="walmart.csv",
        listings="amazon.csv",
        delimiter="|",
        columns=("title", "brand", "modelno"),
        published=Published(pc=0.910, pq=0.150, candidates=5_163),
    ),
    "D2": Source(
        catalogue="abt.csv",
        listings="buy.csv",
        delimiter="|",
        columns=("name", "", ""),
        published=Published(pc=0.924, pq=0.229, candidates=4_345),
    ),
    "D3": Source(
        catalogue="amazon.csv",
        listings="gp.csv",
        delimiter="#",
        columns=("title", "manufacturer", ""),
        published=Published(pc=0.900, pq=0.028, candidates=35_333),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """A catalogue, listings, and the true pairs as (catalogue row, listing row)."""

    catalogue: list[TextItem]
    listings: list[TextItem]
    truth: frozenset[tuple[int, int]]


def load(folder: Path, name: str) -> Pairing:
    """One of SOURCES from the folder of real data."""
    source = SOURCES[name]
    at = folder / "er_pyjedai" / name
    truth = [tuple(map(int, row)) for row in _rows(at / "gt.csv", source)]
    return Pairing(
        catalogue=_items(at / source.catalogue, source),
        listings=_items(at / source.listings, source),
        truth=frozenset((left, right) for left, right in truth),
    )


def quality(pairs: set[tuple[int, int]], truth: frozenset[tuple[int, int]]) -> tuple[float, float]:
    """Pair completeness and pairs quality."""
    hits = len(pairs & truth)
    return hits / len(truth), hits / max(1, len(pairs))


def pairs_of(matches: Matches) -> set[tuple[int, int]]:
    """The matches as (catalogue row, listing row)."""
    return set(zip(matches.index_row.tolist(), matches.query_row.tolist(), strict=True))


def run(*, quick: bool) -> Iterator[Figure]:
    folder = data.folder()
    if folder is None:
        print("titles: no real data here; set ALLIANCE_DATA to the folder that holds er_pyjedai", file=sys.stderr)
        return
    pairings = {name: load(folder, name) for name in SOURCES}
    plain = {name: title_matchers.tfidf(*_texts(pairing)) for name, pairing in pairings.items()}
    for name, pairing in pairings.items():
        yield from _candidates(name, pairing, plain[name])
    yield from _disguised(pairings["D8"])
    yield from _making(pairings["D8"])
    yield from _searching(pairings["D8"], plain["D8"])
    yield from _searching_many(pairings, size=100_000 if quick else 1_000_000)


def _candidates(name: str, pairing: Pairing, plain: tuple[Any, Any]) -> Iterator[Figure]:
    published = SOURCES[name].published
    index = TextIndex.build(sketch_many(pairing.catalogue, key=KEY))
    listings = sketch_many(pairing.listings, key=KEY)
    found = pairs_of(index.join(listings))
    pc, pq = quality(found, pairing.truth)
    method = "batch join with the default limits; recall level .90 of the peer"
    peer_name = "published kNN-Join"
    yield Figure(
        name=f"{name} PC",
        ours=pc,
        unit="of true pairs",
        method=method,
        peer=published.pc,
        peer_name=peer_name,
        target=0.90,
        judged="ours",
    )
    yield Figure(
        name=f"{name} PQ",
        ours=pq,
        unit="of candidates",
        method=method,
        peer=published.pq,
        peer_name=peer_name,
        target=1,
    )
    yield Figure(
        name=f"{name} candidates",
        ours=len(found),
        unit="pairs",
        method=method,
        peer=published.candidates,
        peer_name=peer_name,
        target=1,
        bound="at_most",
    )
    single = quality(pairs_of(index.join(listings, per_listing=1, per_fingerprint=1)), pairing.truth)
    tfidf = quality(_best(title_matchers.tfidf_best(*plain)), pairing.truth)
    hashed = [title_matchers.minhash(texts) for texts in _texts(pairing)]
    minhash = quality(_best(title_matchers.minhash_best(*hashed)), pairing.truth)
    for measure, at, unit in (("PC", 0, "of true pairs"), ("PQ", 1, "of candidates")):
        for peer, other in (("TF-IDF", tfidf), ("MinHash", minhash)):
            yield Figure(
                name=f"{name} {measure}, one listing a fingerprint, beside {peer}",
                ours=single[at],
                unit=unit,
                method="ours: per_listing 1, per_fingerprint 1; peer: the top listing of every catalogue row",
                peer=other[at],
                peer_name=f"{peer} as in bench.peers.title_matchers",
            )


def _disguised(pairing: Pairing) -> Iterator[Figure]:
    index = TextIndex.build(sketch_many(pairing.catalogue, key=KEY))
    rng = random.Random(7)
    open_titles = [TextItem(title=item.title) for item in pairing.listings]
    disguised = [TextItem(title=rng.choice(DISGUISES)(item.title)) for item in open_titles]
    found, undisguised = (
        quality(pairs_of(index.join(sketch_many(listings, key=KEY))), pairing.truth)[0]
        for listings in (disguised, open_titles)
    )
    yield Figure(
        name="D8 PC, disguised titles alone",
        ours=found,
        unit="of true pairs",
        method="listings without brand and model, each title in one generated disguise: look-alike Cyrillic letters, "
        "zero-width spaces, full-width letters, digits for letters, or a dotted first word",
        peer=undisguised,
        peer_name="the same titles undisguised",
        target=0.95,
    )


def _making(pairing: Pairing) -> Iterator[Figure]:
    items, texts = pairing.listings, _texts(pairing)[1]
    method = f"{len(items):,} Walmart-Amazon listings, one thread, CPU time, cold; the peer reads one string each"
    yield Figure(
        name="sketching",
        ours=len(items) / _cpu_seconds(lambda: sketch_many(items, key=KEY)),
        unit="titles/s",
        method=method,
        peer=len(items) / _cpu_seconds(lambda: title_matchers.minhash(texts)),
        peer_name="256-bit MinHash in numpy, unkeyed, not normalised",
    )
    published = sketch_many(pairing.catalogue, key=KEY)
    yield Figure(
        name="fingerprint size",
        ours=float(np.mean([len(sketch.encode()) for sketch in published])),
        unit="bytes",
        method=f"mean over {len(published):,} Walmart products",
        peer=title_matchers.MINHASH_BITS / 8,
        peer_name="256-bit MinHash",
    )


def _searching(pairing: Pairing, plain: tuple[Any, Any]) -> Iterator[Figure]:
    listings = sketch_many(pairing.listings, key=KEY)
    index = TextIndex.build(sketch_many(pairing.catalogue, key=KEY))
    bank, wanted = plain
    yield Figure(
        name=f"search, bank of {len(index):,}",
        ours=len(listings) / _cpu_seconds(lambda: index.search(listings, threshold=0.2, top_k=5)),
        unit="listings/s",
        method="5 best above 0.2, one thread, CPU time; the peer only multiplies and takes the best",
        peer=wanted.shape[0] / _cpu_seconds(lambda: title_matchers.tfidf_best(wanted, bank)),
        peer_name="TF-IDF of character 3-5-grams, scipy product",
    )


def _searching_many(pairings: dict[str, Pairing], *, size: int) -> Iterator[Figure]:
    listings = sketch_many(pairings["D8"].listings[::44], key=KEY)
    titles = _generated_titles(pairings, size)
    sketches = sketch_many([TextItem(title=title) for title in titles], key=KEY)
    started = time.process_time()
    large = TextIndex.build(sketches)
    built = time.process_time() - started
    yield Figure(
        name=f"index build, bank of {size:,}",
        ours=size / built,
        unit="fingerprints/s",
        method="generated titles, one thread, CPU time",
    )
    yield Figure(
        name=f"search, bank of {size:,}",
        ours=len(listings) / _cpu_seconds(lambda: large.search(listings, threshold=0.2, top_k=5)),
        unit="listings/s",
        method=f"generated titles, {len(listings)} real listings, 5 best above 0.2, one thread, CPU time",
    )


def _generated_titles(pairings: dict[str, Pairing], count: int) -> list[str]:
    """Halves of two real titles around an invented model number."""
    rng = random.Random(5)
    real = [item.title.split() for each in pairings.values() for item in each.catalogue + each.listings]
    titles = []
    for _ in range(count):
        head, tail = rng.choice(real), rng.choice(real)
        model = f"{rng.choice('ABCDEFGHKLMPRSTVX')}{rng.choice('ABCDXZ')}{rng.randint(100, 99_999)}"
        titles.append(" ".join([*head[: rng.randint(2, 12)], model, *tail[rng.randint(0, len(tail)) :]]))
    return titles


def _rows(path: Path, source: Source) -> Iterator[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, delimiter=source.delimiter)
        next(reader)
        yield from reader


def _items(path: Path, source: Source) -> list[TextItem]:
    with path.open(encoding="utf-8", newline="") as file:
        title, brand, model = source.columns
        rows = csv.DictReader(file, delimiter=source.delimiter)
        return [TextItem(title=row[title], brand=row.get(brand) or "", model=row.get(model) or "") for row in rows]


def _texts(pairing: Pairing) -> tuple[list[str], list[str]]:
    """Everything the sketches read, as one string each."""
    catalogue, listings = (
        [" ".join(filter(None, (item.title, item.brand, item.model))) for item in items]
        for items in (pairing.catalogue, pairing.listings)
    )
    return catalogue, listings


def _best(listing_rows: NDArray[np.int64]) -> set[tuple[int, int]]:
    return set(enumerate(listing_rows.tolist()))


def _cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
