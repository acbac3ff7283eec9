"""The demo's worlds: what each member gets, and that the truth fits it."""

from __future__ import annotations

import csv
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import bench.data
from alliance.errors import FailedPrecondition, InvalidInput, NotFound
from bench import heart
from demo import generated_data, real_data, urls
from demo.copies import Picture, put_up
from demo.world import TITLES, MemberPlan, World
from member_agent.training.dataset import host, registrable_domain

PHOTOS = 24


def rows(path: Path | None) -> list[dict[str, str]]:
    assert path is not None
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def roles(world: World) -> Counter[str]:
    return Counter(member.role for member in world.members)


def member(world: World, name: str) -> MemberPlan:
    (found,) = (one for one in world.members if one.name == name)
    return found


def with_few_photos(data: Path, folder: Path) -> Path:
    """The real data sets, with PHOTOS of the photos: altering all takes its time."""
    folder.mkdir()
    for name in ("er_pyjedai", "phishstorm_urlset", "flamby_heart"):
        (folder / name).symlink_to(data / name)
    for photo in sorted((data / "clothing_cc0_images").rglob("*.jpg"))[:PHOTOS]:
        copied = folder / "clothing_cc0_images" / photo.parent.name / photo.name
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, copied)
    return folder


def check(world: World) -> None:
    """What holds in any world."""
    assert roles(world) == {"brand": 4, "association": 1, "marketplace": 2, "regulator": 1}
    folders = {one.name: one.catalogue or one.listings for one in world.members if TITLES in one.groups}
    assert all(path and path.parent.name == name for name, path in folders.items()), "its files, in its folder"
    products = [row["id"] for one in world.members if one.catalogue for row in rows(one.catalogue)]
    assert len(products) == len(set(products)) == len(world.titles)
    listings = {row["id"] for row in rows(member(world, world.scored).listings)}
    assert {pair.product for pair in world.true_pairs} <= set(products)
    assert {pair.listing for pair in world.true_pairs} <= listings
    (photographer,) = (one for one in world.members if one.photos)
    assert photographer.photos is not None
    keys = {path.relative_to(photographer.photos).as_posix() for path in photographer.photos.rglob("*.*")}
    assert {copy.photo for copy in world.copies} - {""} == keys
    offers = member(world, world.scored).offers
    assert offers is not None
    assert {row["id"] for row in rows(offers)} == {copy.listing for copy in world.copies}
    assert all((offers.parent / row["image"]).is_file() for row in rows(offers))
    for training in world.trainings:
        for name, file in training.files.items():
            assert TITLES in member(world, name).groups, "who trains is in the group the detector is proposed to"
            assert file.parent.name == name
            assert {row["label"] for row in rows(file)} == {"0", "1"}


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generated_data, "LOGOS", 8)
        yield generated_data.lay_out(tmp_path_factory.mktemp("generated"))


def test_the_generated_world_is_whole(generated: World) -> None:
    check(generated)
    assert generated.generated
    assert "GENERATED" in generated.source
    (training,) = generated.trainings
    assert len(training.files) == 5
    assert "GENERATED" in training.source


def test_the_generated_world_is_the_same_every_time(
    generated: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generated_data, "LOGOS", 8)
    again = generated_data.lay_out(tmp_path)
    assert again.true_pairs == generated.true_pairs
    assert again.copies == generated.copies
    assert [list(map(rows, one.files.values())) for one in again.trainings] == [
        list(map(rows, one.files.values())) for one in generated.trainings
    ]
    assert rows(member(again, again.scored).listings) == rows(member(generated, generated.scored).listings)


def test_generated_offers_are_retold_but_not_beyond_recognition(generated: World) -> None:
    titles = {row["id"]: row["title"] for row in rows(member(generated, generated.scored).listings)}
    products = {row["id"]: row["title"] for one in generated.members if one.catalogue for row in rows(one.catalogue)}
    same = sum(products[product] == titles[listing] for product, listing in generated.true_pairs)
    assert same < 0.05 * len(generated.true_pairs)
    shared = [
        len(set(products[product].lower().split()) & set(titles[listing].lower().split()))
        / len(products[product].split())
        for product, listing in generated.true_pairs
    ]
    assert sum(shared) / len(shared) > 0.5


def test_without_the_extra_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(
        FailedPrecondition, match=r"resvg-py is not installed; .*alliance-hub\[demo\].*--data"
    ) as missing:
        generated_data.lay_out(tmp_path)
    assert missing.value.reason == "EXTRA_MISSING"


@pytest.mark.realdata
def test_the_real_world_is_whole(tmp_path: Path) -> None:
    data = bench.data.folder()
    if data is None:
        pytest.skip("the real data sets are not on this machine")
    world = real_data.lay_out(with_few_photos(data, tmp_path / "data"), tmp_path / "files")
    check(world)
    assert not world.generated
    assert [one.name for one in world.members if one.role == "brand"] == ["draper", "da-lite", "hp", "startech"]
    for brand, count in {"draper": 153, "da-lite": 107, "hp": 56, "startech": 53}.items():
        own = rows(member(world, brand).catalogue)
        assert len(own) == count
        assert len({row["brand"] for row in own}) == 1
    assert len(rows(member(world, "amazon").listings)) == 22_074
    assert len(rows(member(world, "abt-buy").listings)) == 2_152
    assert len(world.true_pairs) == 853
    assert len(world.copies) == 5 * PHOTOS
    assert len({copy.photo for copy in world.copies if copy.photo}) == PHOTOS / 2
    by_urls, by_records = world.trainings
    owned = [{registrable_domain(host(row["url"])) for row in rows(file)} for file in by_urls.files.values()]
    assert len(owned) == 5
    assert sum(map(len, owned)) == len(set().union(*owned)), "no domain is at two members"
    assert 11_000 < sum(len(rows(file)) for file in by_urls.files.values()) < 13_000
    centres = heart.load(data / "flamby_heart")
    for centre, file in zip(centres, by_records.files.values(), strict=True):
        found = rows(file)
        assert [row["part"] == "train" for row in found] == centre.train.tolist()
        assert [int(row["label"]) for row in found] == centre.y.tolist()
        assert [[float(row[name]) for name in by_records.columns[:13]] for row in found] == centre.x.tolist()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"--data: there is no folder .*nowhere; .*leave --data out") as missing:
        real_data.lay_out(tmp_path / "nowhere", tmp_path / "files")
    assert missing.value.reason == "DATA_MISSING"


def test_what_a_folder_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "clothing_cc0_images").mkdir()
    with pytest.raises(NotFound, match=r"lacks er_pyjedai/D8/walmart\.csv") as missing:
        real_data.lay_out(tmp_path, tmp_path / "files")
    assert "clothing" not in str(missing.value)


def test_a_table_without_a_column_is_named(tmp_path: Path) -> None:
    for name in ("D8/walmart.csv", "D8/amazon.csv", "D8/gt.csv", "D2/abt.csv", "D2/buy.csv"):
        (tmp_path / "er_pyjedai" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "er_pyjedai" / name).write_text("id|title\n1|x\n")
    for name in ("clothing_cc0_images", "phishstorm_urlset", "flamby_heart"):
        (tmp_path / name).mkdir()
    with pytest.raises(InvalidInput, match=r"walmart\.csv lacks the column 'brand'"):
        real_data.lay_out(tmp_path, tmp_path / "files")


def test_a_domain_and_all_beneath_it_go_to_one_member() -> None:
    rows = [urls.Labelled(f"http://u@WWW{n}.Shop{n % 40}.co.uk:80/a?b=http://x.y", str(n % 2)) for n in range(50)]
    rows += [urls.Labelled(f"{n % 7}.shop{n % 40}.example/p", str(n % 2)) for n in range(400)]
    dealt = urls.deal(rows, ["a", "b", "c"])
    assert sorted(row for own in dealt.values() for row in own) == sorted(rows)
    owned = [{urls.domain(row.url) for row in own} for own in dealt.values()]
    assert set().union(*owned) == {"co.uk", *(f"shop{n}.example" for n in range(40))}
    assert sum(map(len, owned)) == 41


def test_urls_without_a_row_are_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "part.csv").write_text('"a.example/x,y\\,z", 1.0\n\xff\n"b.example", 0.0\n', "latin-1")
    assert urls.phishstorm(tmp_path) == [("a.example/x,y\\,z", "1"), ("b.example", "0")]
    (tmp_path / "part.csv").write_text("nothing\n")
    with pytest.raises(InvalidInput, match="has no labelled URLs"):
        urls.phishstorm(tmp_path)


def test_copies_tell_nothing_by_name_or_place(tmp_path: Path) -> None:
    pictures = []
    for number in range(6):
        file = tmp_path / f"{number}.png"
        Image.effect_noise((96, 64), 40 + 20 * number).save(file)
        pictures.append(Picture(file=file, product=file.name if number < 3 else ""))
    table, copies = put_up(pictures, tmp_path / "offers")
    assert Counter(copy.transform for copy in copies) == dict.fromkeys(
        ("reencoded", "resized", "cropped", "padded", "flipped"), 6
    )
    assert Counter(copy.photo for copy in copies) == {"0.png": 5, "1.png": 5, "2.png": 5, "": 15}
    assert [row["id"] for row in rows(table)] == [f"offer-{number:04}" for number in range(1, 31)]
    published = [bool(copy.photo) for copy in copies]
    assert published != sorted(published)
    assert published != sorted(published, reverse=True)
    for copy in copies:
        with Image.open(tmp_path / "offers" / f"{copy.listing}.jpg") as picture:
            assert picture.format == "JPEG"
