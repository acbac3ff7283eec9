"""The world on real data: Walmart's catalogue against Amazon's listings, CC0 photos of clothes, URLs and records.

The data folder's own README tells sources and licences. The four best-stocked brands of the Walmart catalogue are
members and an association holds the rest of it; one marketplace lists Amazon's products, another those of Abt and Buy.
Keys are the data sets' own, so that their `gt.csv` scores the result. The first brand publishes every second photo.
Those who publish train `url-risk` on phishing URLs, and the brands `tabular-risk` on hospitals' records: what members
would bring to such a detector of their own is not public, so a known split of known data stands in for it.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections import Counter
from pathlib import Path

from alliance.errors import InvalidInput, NotFound
from demo import heart, urls
from demo.copies import Picture, put_up
from demo.scoring import Pair
from demo.world import MemberPlan, World, write_table

_WALMART, _AMAZON, _TRUTH = "er_pyjedai/D8/walmart.csv", "er_pyjedai/D8/amazon.csv", "er_pyjedai/D8/gt.csv"
_ABT, _BUY = "er_pyjedai/D2/abt.csv", "er_pyjedai/D2/buy.csv"
_PHOTOS = "clothing_cc0_images"
_URLS, _HEART = "phishstorm_urlset", "flamby_heart"
_URL_ROWS = 12_000
_BRANDS = 4
_OFFER = ("id", "title", "brand", "modelno", "price")
_MARKETPLACE, _ASSOCIATION = "amazon", "trade-association"
Row = dict[str, str]


def lay_out(data: Path, folder: Path) -> World:
    """Splits the real data into one folder a member.

    Raises:
        NotFound: a data set is missing.
        InvalidInput: a table lacks a column.
    """
    _require(data)
    catalogue = _rows(data / _WALMART, *_OFFER)
    brands = _best_stocked(catalogue)
    pictures = _share_out(data / _PHOTOS, folder / _slug(brands[0]) / "photos")
    offers, copies = put_up(pictures, folder / _MARKETPLACE / "offers")
    publishers = [*map(_slug, brands), _ASSOCIATION]
    dealt = urls.deal(urls.thin(urls.phishstorm(data / _URLS), _URL_ROWS), publishers)
    return World(
        generated=False,
        source=f"real data in {data}",
        members=[
            *(_brand(brand, catalogue, folder) for brand in brands),
            _association([row for row in catalogue if row["brand"] not in brands], folder),
            *_marketplaces(data, folder, offers, len(copies)),
            MemberPlan(name="regulator", role="regulator", holds="the log"),
        ],
        scored=_MARKETPLACE,
        true_pairs=frozenset(Pair(row["D1"], row["D2"]) for row in _rows(data / _TRUTH, "D1", "D2")),
        copies=copies,
        titles=[row["title"] for row in catalogue],
        trainings=[
            urls.training(dealt, folder, source=f"{sum(map(len, dealt.values())):,} URLs, no domain at two members"),
            heart.training(data / _HEART, publishers[:_BRANDS], folder),
        ],
    )


def _brand(brand: str, catalogue: list[Row], folder: Path) -> MemberPlan:
    """A brand with its products, and the photos it was given, if it was."""
    own = [row for row in catalogue if row["brand"] == brand]
    photos = folder / _slug(brand) / "photos"
    count = sum(1 for _ in photos.rglob("*.jpg"))
    return MemberPlan(
        name=_slug(brand),
        role="brand",
        holds=f"{len(own):,} products" + (f", {count:,} photos" if count else ""),
        catalogue=write_table(folder / _slug(brand) / "products.csv", own, _OFFER),
        photos=photos if count else None,
    )


def _association(rest: list[Row], folder: Path) -> MemberPlan:
    name = _ASSOCIATION
    return MemberPlan(
        name=name,
        role="association",
        holds=f"{len(rest):,} products",
        catalogue=write_table(folder / name / "products.csv", rest, _OFFER),
    )


def _marketplaces(data: Path, folder: Path, offers: Path, pictures: int) -> list[MemberPlan]:
    listings = _rows(data / _AMAZON, *_OFFER)
    shop = [*_shop(data / _ABT, "abt"), *_shop(data / _BUY, "buy")]
    return [
        MemberPlan(
            name=_MARKETPLACE,
            role="marketplace",
            holds=f"{len(listings):,} listings, {pictures:,} pictures",
            listings=write_table(folder / _MARKETPLACE / "listings.csv", listings, _OFFER),
            offers=offers,
        ),
        MemberPlan(
            name="abt-buy",
            role="marketplace",
            holds=f"{len(shop):,} listings",
            listings=write_table(folder / "abt-buy" / "listings.csv", shop, ("id", "title", "price")),
        ),
    ]


def _require(data: Path) -> None:
    wanted = (_WALMART, _AMAZON, _TRUTH, _ABT, _BUY, _PHOTOS, _URLS, _HEART)
    missing = [name for name in wanted if not (data / name).exists()]
    if missing:
        raise NotFound(
            f"{data} lacks {', '.join(missing)}" if data.is_dir() else f"there is no folder {data}",
            reason="DATA_MISSING",
            field="--data",
            remedy="name the folder of the real data sets, or leave --data out for a generated marketplace",
        )


def _rows(path: Path, *columns: str) -> list[Row]:
    """A table whose cells are told apart by bars."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="|")
        if lacking := [name for name in columns if name not in (reader.fieldnames or ())]:
            raise InvalidInput(
                f"{path} lacks the column {lacking[0]!r}", reason="COLUMN_MISSING", remedy="restore the data set"
            )
        return list(reader)


def _shop(path: Path, name: str) -> list[Row]:
    """A shop's products as listings; two shops number theirs alike, so the key says which."""
    found = _rows(path, "id", "name", "price")
    return [{"id": f"{name}-{row['id']}", "title": row["name"], "price": row["price"] or ""} for row in found]


def _best_stocked(catalogue: list[Row]) -> list[str]:
    counts = Counter(row["brand"] for row in catalogue if row["brand"])
    return sorted(counts, key=lambda brand: (-counts[brand], brand))[:_BRANDS]


def _slug(brand: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", brand.lower()).strip("-")


def _share_out(photos: Path, folder: Path) -> list[Picture]:
    """Copies every second photo to the brand that publishes; all of them, with the keys those are published by.

    A picture's key is its path below the folder that is imported.
    """
    pictures = []
    for number, source in enumerate(sorted(photos.rglob("*.jpg"))):
        key = f"{source.parent.name}/{source.name}"
        if number % 2:
            pictures.append(Picture(file=source))
            continue
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / key)
        pictures.append(Picture(file=source, product=key))
    return pictures
