"""From rows to products, pictures and decisions."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import pytest

from alliance.errors import InvalidInput
from member_agent.catalog.images import find_images
from member_agent.catalog.listings import listings, open_listings
from member_agent.catalog.merge import Stored, digests, merge
from member_agent.catalog.model import ColumnMap, Facts, Field, Format, Image, Listing, ProductId, RowError
from member_agent.catalog.parse import ParsedRow, RowParser, clean
from member_agent.catalog.readers.records import Record, broken

MAP = ColumnMap(format=Format.CSV, columns={field: field.value for field in Field})


def _parse(_columns: ColumnMap = MAP, /, **cells: str) -> ParsedRow:
    return RowParser(_columns).parse(Record(7, cells))


def test_a_row_is_understood() -> None:
    row = _parse(
        id=" a1 ",
        title="Blue \t shoe",
        brand="ACME",
        gtin="036000291452",
        mpn="x-1",
        price="9,99 EUR",
        image="a.jpg|b.jpg|a.jpg",
        image_link="https://h/1.jpg",
        additional_image_link="https://h/2,3.jpg, https://h/4.jpg",
    )
    assert row.key == "a1"
    assert row.facts == Facts(
        title="Blue shoe", brand="ACME", gtin="00036000291452", mpn="X1", price=Decimal("9.99"), currency="EUR"
    )
    assert row.images == ("a.jpg", "b.jpg")
    assert row.links == ("https://h/1.jpg", "https://h/2,3.jpg", "https://h/4.jpg")
    assert not row.errors


def test_values_that_cannot_be_understood_are_left_out_with_a_warning() -> None:
    row = _parse(id="1", title="x", gtin="8.13817E+11", price="call us", url="https://h/" + "x" * 2000)
    assert row.facts == Facts(title="x")
    assert [(one.field, one.reason, one.severity) for one in row.errors] == [
        ("url", "TEXT_TOO_LONG", "warning"),
        ("gtin", "GTIN_DAMAGED", "warning"),
        ("price", "PRICE_UNREADABLE", "warning"),
    ]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"title": "x"}, "ID_MISSING"),
        ({"id": "1", "title": " \t"}, "TITLE_MISSING"),
        ({"id": "1", "title": "x" * 2001}, "TEXT_TOO_LONG"),
    ],
)
def test_a_row_with_nothing_to_know_it_by_is_rejected(cells: dict[str, str], reason: str) -> None:
    row = RowParser(MAP).parse(Record(7, cells))
    assert row.facts is None
    assert [one.reason for one in row.errors] == [reason]


def test_without_an_id_column_a_row_is_known_by_its_text_and_not_by_its_price() -> None:
    columns = ColumnMap(format=Format.CSV, columns={Field.TITLE: "t", Field.BRAND: "b", Field.PRICE: "p"})
    one, same, other = (_parse(columns, t="x", b=brand, p=price) for brand, price in ("a1", "a2", "b1"))
    assert one.key == same.key != other.key
    swapped = _parse(columns, t="a", b="x", p="1")
    assert swapped.key != one.key


def test_text_is_one_composed_line() -> None:
    assert clean("  a\r\n b\u2028c\x00 ") == "a b c"
    assert clean("Mu\u0308ller  ") == "Müller"
    assert clean("") == ""


def _folder(root: Path) -> Path:
    (root / "in").mkdir()
    (root / "in" / "a.jpg").write_bytes(b"pixels")
    (root / "in" / "empty.jpg").write_bytes(b"")
    (root / "secret.jpg").write_bytes(b"secret")
    (root / "in" / "link.jpg").symlink_to(root / "secret.jpg")
    return (root / "in").resolve()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../secret.jpg", "IMAGE_OUTSIDE_FOLDER"),
        ("link.jpg", "IMAGE_OUTSIDE_FOLDER"),
        ("/etc/hostname", "IMAGE_OUTSIDE_FOLDER"),
        ("absent.jpg", "IMAGE_MISSING"),
        ("a.jpg/b.jpg", "IMAGE_MISSING"),
        ("x\0y", "IMAGE_MISSING"),
        ("n" * 5000, "IMAGE_MISSING"),
        ("empty.jpg", "IMAGE_EMPTY"),
        (".", "IMAGE_EMPTY"),
    ],
)
def test_a_picture_that_is_not_one_below_the_folder_is_a_warning(tmp_path: Path, name: str, reason: str) -> None:
    images, warnings = find_images(_folder(tmp_path), [name, "a.jpg"], [], row=3, known=())
    assert [image.path and image.path.name for image in images] == ["a.jpg"]
    assert [(one.row, one.reason) for one in warnings] == [(3, reason)]


def test_a_picture_is_read_again_only_when_size_or_time_changed(tmp_path: Path) -> None:
    root = _folder(tmp_path)
    (first,), _ = find_images(root, ["a.jpg"], [], row=1, known=())
    stat = (root / "a.jpg").stat()
    (root / "a.jpg").write_bytes(b"PIXELS")
    os.utime(root / "a.jpg", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (again,), _ = find_images(root, ["a.jpg"], [], row=1, known=[first])
    assert again == first, "size and time are the same, so the file was not opened"
    os.utime(root / "a.jpg", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    (changed,), _ = find_images(root, ["a.jpg"], [], row=1, known=[first])
    assert changed.sha256 != first.sha256


def test_a_link_keeps_the_file_that_was_fetched_for_it() -> None:
    fetched = Image(path=Path("/x/1.jpg"), link="https://h/1.jpg", sha256=b"1" * 32)
    images, _ = find_images(Path("/x"), [], ["https://h/2.jpg", "https://h/1.jpg"], row=1, known=[fetched])
    assert images == (Image(link="https://h/2.jpg"), fetched)


def test_the_content_digest_covers_what_is_published_and_nothing_else() -> None:
    facts = Facts(title="x", brand="y", price=Decimal(1), url="https://h", condition="new")
    image = Image(path=Path("/a"), sha256=b"1" * 32)
    row, content = digests("k", facts, [image])
    for other in (Facts(title="x", brand="y"), Facts(title="x", brand="y", price=Decimal(2))):
        assert digests("k", other, [image])[1] == content
        assert digests("k", other, [image])[0] != row
    assert digests("k", facts, [Image(path=Path("/moved"), sha256=b"1" * 32)])[1] == content
    assert digests("k", Facts(title="xy"), [image])[1] != digests("k", Facts(title="x", brand="y"), [image])[1]
    assert digests("k", facts, [Image(path=Path("/a"), sha256=b"2" * 32)])[1] != content


def test_of_two_rows_with_one_id_the_first_whole_one_counts() -> None:
    row_digest, content = digests("k", Facts(title="old"), ())
    stored = {"k": Stored(id=ProductId(5), row_digest=row_digest, content_digest=content)}
    parser = RowParser(MAP)
    rows = [
        parser.parse(broken(2, "TOO_FEW_FIELDS", "", {"id": "k"})),
        parser.parse(Record(3, {"id": "k", "title": "new"})),
        parser.parse(Record(4, {"id": "k", "title": "newer"})),
        parser.parse(broken(5, "TOO_FEW_FIELDS", "", {"title": "an unquoted, comma", "id": "perhaps an id"})),
        parser.parse(Record(6, {"id": "n"})),
    ]
    batch = merge([(row, ()) for row in rows], stored, next_id=ProductId(6), cursor=6)
    assert [(write.id, write.facts.title) for write in batch.changed] == [(5, "new")]
    assert batch.seen == {5: (3, True)}
    assert [(one.row, one.reason) for one in batch.errors] == [
        (2, "TOO_FEW_FIELDS"), (4, "DUPLICATE_ID"), (5, "TOO_FEW_FIELDS"), (6, "TITLE_MISSING"),
    ]  # fmt: skip
    counts = batch.counts
    assert (counts.rows, counts.changed, counts.rejected, counts.unmatched) == (5, 1, 4, 1)


def test_listings_come_in_file_order_with_their_errors(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"x")
    path = tmp_path / "export.csv"
    path.write_text(
        "url,title,brand,seller,marketplace,price,image,ean\n"
        "https://m.example/1,Shoe,Acme,jo,Mall,9.90 EUR,1.jpg,8.1E+11\n"
        "https://m.example/2,Shoe\n"
        "https://m.example/3,Boot,,,,,2.jpg,\n"
    )
    first, error, warning, last = listings(path)
    assert isinstance(first, Listing)
    assert (first.row, first.id, first.platform, first.seller) == (2, "https://m.example/1", "Mall", "jo")
    assert (first.price, first.currency, first.gtin) == (Decimal("9.90"), "EUR", "8.1E+11")
    assert first.image_paths == ((tmp_path / "1.jpg").resolve(),)
    assert isinstance(error, RowError)
    assert (error.row, error.reason) == (3, "TOO_FEW_FIELDS")
    assert isinstance(warning, RowError)
    assert (warning.row, warning.reason) == (4, "IMAGE_MISSING")
    assert isinstance(last, Listing)
    assert (last.row, last.title, last.image_paths) == (4, "Boot", ())


def test_a_file_without_titles_can_be_opened_for_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "urls.csv"
    path.write_text("link,age\nhttps://m.example/1,3\n,\n")
    with pytest.raises(InvalidInput) as raised:
        open_listings(path)
    assert raised.value.reason == "TITLE_UNMAPPED"
    opened = open_listings(path, titled=False)
    assert (opened.columns, dict(opened.mapped)) == (("link", "age"), {Field.URL: "link"})
    first, second = opened.rows(keep=("age", "link"))
    assert isinstance(first, Listing)
    assert (first.id, first.title, first.cells) == (
        "https://m.example/1",
        "",
        {"age": "3", "link": "https://m.example/1"},
    )
    assert isinstance(second, Listing)
    assert (second.id, second.cells) == ("row 3", {"age": "", "link": ""})
    (again, _) = opened.rows()
    assert isinstance(again, Listing)
    assert again.cells == {}


def test_listings_are_read_with_a_map_when_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text("a;b\n1;Shoe\n")
    columns = ColumnMap(format=Format.CSV, columns={Field.TITLE: "b"})
    (only,) = listings(path, columns)
    assert isinstance(only, Listing)
    assert (only.id, only.title) == ("row 2", "Shoe")
