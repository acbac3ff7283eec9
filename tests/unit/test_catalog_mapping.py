"""Columns: guessed, said, checked, saved."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alliance.errors import AllianceError, InvalidInput, NotFound
from member_agent.catalog.mapfile import load_map, map_path, save_map
from member_agent.catalog.mapping import guess, parse_assignments, settle
from member_agent.catalog.model import ColumnMap, Field, Format, source_name


def _guessed(header: str, *rows: str) -> dict[str, str]:
    columns = header.split("|")
    cells = [dict(zip(columns, row.split("|"), strict=True)) for row in rows]
    return {one.field.value: one.column for one in guess(columns, cells)}


def test_google_merchant_columns_are_all_known() -> None:
    columns = ["id", "title", "brand", "gtin", "mpn", "price", "link", "image_link", "additional_image_link",
               "condition", "product_type"]  # fmt: skip
    row = ["a1", "Blue shoe", "Acme", "4006381333931", "X-1", "15.00 USD", "https://s.example/1",
           "https://s.example/1.jpg", "https://s.example/2.jpg", "new", "Shoes"]  # fmt: skip
    found = {one.field.value: one.column for one in guess(columns, [dict(zip(columns, row, strict=True))])}
    assert found == {"url": "link", "category": "product_type"} | {
        name: name for name in columns if name not in ("link", "product_type")
    }


@pytest.mark.parametrize(
    ("header", "row", "title", "brand"),
    [
        ("Artikelnummer|Bezeichnung|Hersteller|Preis", "7|Schuh|Acme|9,99", "Bezeichnung", "Hersteller"),
        ("sku|Product Name|manufacturer|cost", "7|Shoe|Acme|9", "Product Name", "manufacturer"),
        ("商品编号|商品名称|品牌|价格", "7|运动鞋|Acme|9", "商品名称", "品牌"),
        ("uniqId|productTitle|brandName", "7|Shoe|Acme", "productTitle", "brandName"),
    ],
)
def test_columns_are_known_in_several_languages(header: str, row: str, title: str, brand: str) -> None:
    found = _guessed(header, row)
    assert (found["title"], found["brand"]) == (title, brand)
    assert found["id"] == header.split("|")[0]


def test_values_overrule_names() -> None:
    found = _guessed(
        "brand_id|id|name|image|upc|ean", "1|a|x|https://h/1.jpg|none|4006381333931", "1|b|y|https://h/2.jpg|-|96385074"
    )
    assert found == {"id": "id", "title": "name", "image_link": "image", "gtin": "ean"}


def test_an_id_that_repeats_is_no_id_and_one_with_errors_is() -> None:
    assert "id" not in _guessed("id|title", *(f"1|{title}" for title in "wxyz"))
    assert "id" in _guessed("id|title", "1|x", "1|y", "2|z")


def test_what_is_said_goes_before_what_is_guessed() -> None:
    chosen = settle(
        ["sku", "name", "label"],
        {Field.ID: "sku", Field.TITLE: "name", Field.BRAND: "label"},
        {Field.TITLE: "label", Field.ID: ""},
    )
    assert chosen == {Field.TITLE: "label"}


def test_a_column_that_is_not_there_is_named_with_one_like_it() -> None:
    with pytest.raises(InvalidInput) as caught:
        settle(["sku", "name"], {}, {Field.TITLE: "nmae"})
    assert caught.value.reason == "COLUMN_MISSING"
    assert caught.value.field == "title"
    assert "--column title=name" in str(caught.value)


def test_without_a_title_the_columns_there_are_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        settle(["a", "b"], {Field.ID: "a"}, {})
    assert caught.value.reason == "TITLE_UNMAPPED"
    assert "a, b" in str(caught.value)
    assert "--column title=NAME" in str(caught.value)


@pytest.mark.parametrize("text", ["title", "colour=x", "=x"])
def test_an_assignment_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="does not assign"):
        parse_assignments([text])


def test_an_assignment_may_hold_equals_signs() -> None:
    assert parse_assignments(["title = a=b"]) == {Field.TITLE: "a=b"}


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(
    columns=st.dictionaries(st.sampled_from(list(Field)), NAMES),
    format_=st.sampled_from(Format),
    delimiter=st.sampled_from(["", ",", "\t", "\x7f", "é"]),
    quote=st.sampled_from(['"', "", "'"]),
)
def test_a_saved_map_is_loaded_as_it_was(
    columns: dict[Field, str], format_: Format, delimiter: str, quote: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, source = tmp_path_factory.mktemp("home"), source_name("shop")
    saved = ColumnMap(format=format_, columns=columns, delimiter=delimiter, quote=quote, encoding="cp1252")
    assert load_map(save_map(home, source, saved)) == saved


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("format = ", ""),
        ('format = "csv"', "columns"),
        ('format = "csv"\n[columns]\ncolour = "x"', "columns.colour"),
        ('format = "csv"\n[columns]\ntitle = 1', "columns.title"),
        ('format = "csv"\ncolour = "x"\n[columns]', "colour"),
        ('format = "xls"\n[columns]', "format"),
    ],
)
def test_a_map_that_is_wrong_names_the_key(tmp_path: Path, content: str, field: str) -> None:
    path = tmp_path / "m.toml"
    path.write_text(content)
    with pytest.raises(InvalidInput) as caught:
        load_map(path)
    assert (caught.value.reason, caught.value.field) == ("MAP_MALFORMED", field)


def test_a_map_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load_map(map_path(tmp_path, source_name("shop")))


@pytest.mark.parametrize("text", ["../up", "Shop", "", "a" * 64, "a/b", "-a"])
def test_a_source_cannot_be_named_so_that_its_map_lands_elsewhere(text: str) -> None:
    with pytest.raises(AllianceError):
        source_name(text)
