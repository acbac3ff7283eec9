"""The world on a machine without data: a GENERATED marketplace of real brand logos, the same at every run.

Four brands are members and an association holds the products of others; two marketplaces offer some of those products,
retold by sellers, among many that nobody published. The association publishes drawings of logos; the marketplace's
pictures are altered copies of those and of as many logos that nobody published. Who publishes trains `url-risk` too.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from demo import generated_urls, urls
from demo.copies import Picture, put_up
from demo.generated_titles import Item, offer, other_offer, product
from demo.logos import Logos
from demo.processes import WORKERS
from demo.scoring import Pair
from demo.world import MemberPlan, World, write_table

_SEED = 380_000_000
_MEMBERS = ("nike", "sony", "bosch", "garmin")
_OTHERS = (
    "adidas", "puma", "newbalance", "samsung", "bose", "jbl", "nikon", "hp", "dell", "lenovo",
    "asus", "panasonic", "xiaomi", "huawei", "fitbit", "dji", "sennheiser", "epson", "fujifilm", "leica",
)  # fmt: skip
_PRODUCTS_OF_A_MEMBER, _PRODUCTS_OF_ANOTHER = 150, 25
_OFFERED = 0.6
_LISTINGS, _LISTINGS_OF_THE_SECOND = 8_000, 2_000
LOGOS = 120
_COLUMNS = ("id", "title", "brand", "model")
_ASSOCIATION, _MARKETPLACE = "brand-association", "bazaar"


def lay_out(folder: Path) -> World:
    """Generates one folder a member.

    Raises:
        FailedPrecondition: the extra with the logos is not installed.
    """
    logos = Logos()
    rng = random.Random(_SEED)
    catalogues = _catalogues(logos, rng)
    everything = [item for own in catalogues.values() for item in own]
    listings, truth = _listings(everything, _LISTINGS, rng)
    second, _ = _listings(everything, _LISTINGS_OF_THE_SECOND, rng)
    offers, copies = put_up(_pictures(logos, folder, rng), folder / _MARKETPLACE / "offers")
    return World(
        generated=True,
        source="GENERATED titles and listings, real brand logos",
        members=[
            *(_publisher(name, own, folder) for name, own in catalogues.items()),
            MemberPlan(
                name=_MARKETPLACE,
                role="marketplace",
                holds=f"{len(listings):,} generated listings, {len(copies):,} pictures",
                listings=_table(folder / _MARKETPLACE / "listings.csv", listings),
                offers=offers,
            ),
            MemberPlan(
                name="flea-market",
                role="marketplace",
                holds=f"{len(second):,} generated listings",
                listings=_table(folder / "flea-market" / "listings.csv", second),
            ),
            MemberPlan(name="regulator", role="regulator", holds="the log"),
        ],
        scored=_MARKETPLACE,
        true_pairs=frozenset(truth),
        copies=copies,
        titles=[item.title for item in everything],
        trainings=[urls.training(generated_urls.dealt(list(catalogues), rng), folder, source="GENERATED URLs")],
    )


def _publisher(name: str, own: Sequence[Item], folder: Path) -> MemberPlan:
    with_logos = name == _ASSOCIATION
    return MemberPlan(
        name=name,
        role="association" if with_logos else "brand",
        holds=f"{len(own):,} generated products" + (f", {LOGOS} logos" if with_logos else ""),
        catalogue=_table(folder / name / "products.csv", own),
        photos=folder / name / "photos" if with_logos else None,
    )


def _catalogues(logos: Logos, rng: random.Random) -> dict[str, list[Item]]:
    """Each publisher's products; numbered through, so that a key is one product in all of the alliance."""
    numbers = itertools.count(1)
    found = {
        slug: [product(next(numbers), logos.title(slug), rng) for _ in range(_PRODUCTS_OF_A_MEMBER)]
        for slug in _MEMBERS
    }
    found[_ASSOCIATION] = [
        product(next(numbers), logos.title(slug), rng) for slug in _OTHERS for _ in range(_PRODUCTS_OF_ANOTHER)
    ]
    return found


def _listings(catalogue: Sequence[Item], count: int, rng: random.Random) -> tuple[list[Item], list[Pair]]:
    """Listings of which some offer a product of the catalogue, and which do."""
    offered = rng.sample(catalogue, round(_OFFERED * len(catalogue)))
    brands = sorted({item.brand for item in catalogue})
    numbers = rng.sample(range(1, 1_000_000), count)
    originals: list[Item | None] = [*offered, *[None] * (count - len(offered))]
    listings, truth = [], []
    for number, original in zip(numbers, originals, strict=True):
        if original is None:
            listings.append(other_offer(number, brands, catalogue, rng))
        else:
            listings.append(offer(number, original, rng))
            truth.append(Pair(original.id, listings[-1].id))
    rng.shuffle(listings)
    return listings, truth


def _pictures(logos: Logos, folder: Path, rng: random.Random) -> list[Picture]:
    """Draws twice LOGOS logos: those of the association, under the key they are published by, and as many others.

    A picture's key is its path below the folder that is imported.
    """
    chosen = rng.sample(logos.slugs(), 2 * LOGOS)
    own, others = folder / _ASSOCIATION / "photos", folder / "unpublished-logos"
    published = [Picture(file=own / f"{slug}.png", product=f"{slug}.png") for slug in chosen[:LOGOS]]
    strangers = [Picture(file=others / f"{slug}.png") for slug in chosen[LOGOS:]]
    pictures = published + strangers
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda picture: logos.draw(picture.file.stem, picture.file), pictures))
    return pictures


def _table(path: Path, items: Sequence[Item]) -> Path:
    return write_table(path, (item.row() for item in items), _COLUMNS)
