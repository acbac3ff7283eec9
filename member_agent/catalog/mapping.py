"""Which column means what: guessed from names and a sample of values, or said, then checked.

A guess is a proposal with its score, for a person to confirm; nothing is imported on one unseen. Names count first,
in the languages catalogues come in, then the values must not contradict them: a `url` column of file names is an
image, a `brand_id` that repeats is no row's id. Pure.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from alliance.errors import InvalidInput
from member_agent.catalog.identifiers import gtin14
from member_agent.catalog.model import Field
from member_agent.catalog.prices import parse_price
from member_agent.catalog.readers.folder import FILE_COLUMN, FOLDER_COLUMN, IMAGE_SUFFIXES

_NAMES: Mapping[Field, tuple[str, ...]] = {
    Field.ID: ("id", "productid", "offerid", "itemid", "listingid", "sku", "articlenumber", "artikelnummer", "asin",
               "uniqid", "uuid", "key", "商品编号", "品番"),
    Field.TITLE: ("title", "name", "producttitle", "productname", "itemname", "titel", "bezeichnung", "produktname",
                  "titre", "nom", "titulo", "título", "titolo", "nome", "标题", "商品名称", "商品名", "タイトル"),
    Field.BRAND: ("brand", "brandname", "manufacturer", "maker", "vendor", "marke", "hersteller", "marque", "marca",
                  "品牌", "ブランド"),
    Field.MODEL: ("model", "modelno", "modelnumber", "modelname", "modell", "modele", "modelo", "style", "型号",
                  "型番"),
    Field.GTIN: ("gtin", "ean", "upc", "gtin14", "gtin13", "ean13", "upca", "barcode", "isbn", "jan", "条码"),
    Field.MPN: ("mpn", "manufacturernumber", "manufacturerpartnumber", "partnumber", "partno", "teilenummer"),
    Field.CATEGORY: ("category", "producttype", "googleproductcategory", "categories", "department", "kategorie",
                     "categorie", "categoria", "类目", FOLDER_COLUMN),
    Field.CONDITION: ("condition", "zustand", "etat", "condicion"),
    Field.PRICE: ("price", "saleprice", "cost", "amount", "preis", "prix", "precio", "prezzo", "价格", "価格"),
    Field.CURRENCY: ("currency", "pricecurrency", "wahrung", "währung", "devise", "moneda", "valuta"),
    Field.URL: ("url", "link", "producturl", "productlink", "listingurl", "href", "page"),
    Field.IMAGE: ("image", "images", "imagefile", "imagepath", FILE_COLUMN, "filename", "picture", "photo", "bild"),
    Field.IMAGE_LINK: ("imagelink", "imageurl", "imageurls", "image", "images", "pictureurl", "photourl", "thumbnail"),
    Field.MORE_IMAGE_LINKS: ("additionalimagelink", "additionalimagelinks", "moreimages"),
    Field.PLATFORM: ("platform", "marketplace", "site", "channel"),
    Field.SELLER: ("seller", "sellername", "merchant", "shop", "shopname", "store", "storename", "卖家"),
}  # fmt: skip
_ID_REPEATS = 0.02
"""Share of values an id may repeat, and be an id with some errors in it; two may in any sample."""
_ACCEPT = 0.35
_UNKNOWN = 0.8
"""What the values of an empty column say: little, so the name nearly decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A proposed column for a field; `score` is in (0, 1], `sample` a value of it."""

    field: Field
    column: str
    score: float
    sample: str


def guess(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> list[Guess]:
    """Proposes at most one column a field and one field a column, best scores first."""
    found: list[Guess] = []
    for column in columns:
        values = [value for row in rows if (value := row.get(column, "").strip())]
        for field in Field:
            named = _name_score(field, column)
            score = named * _values_agree(field, values) if named else 0.0
            if score >= _ACCEPT:
                sample = values[0] if values else ""
                found.append(Guess(field=field, column=column, score=round(score, 2), sample=sample))
    found.sort(key=lambda candidate: -candidate.score)  # stable: among equals the column on the left
    fields: set[Field] = set()
    taken: set[str] = set()
    chosen: list[Guess] = []
    for candidate in found:
        if candidate.field not in fields and candidate.column not in taken:
            chosen.append(candidate)
            fields.add(candidate.field)
            taken.add(candidate.column)
    return sorted(chosen, key=lambda one: list(Field).index(one.field))


def settle(
    columns: Sequence[str], proposed: Mapping[Field, str], said: Mapping[Field, str], *, titled: bool = True
) -> dict[Field, str]:
    """The map an import uses: what was said goes before what was proposed; a column said to be "" is left out.

    Args:
        titled: whether rows need a title or a picture to be known by.

    Raises:
        InvalidInput: COLUMN_MISSING for a column the source does not have, TITLE_UNMAPPED when rows need a title or a
            picture and have neither.
    """
    taken = set(said.values())
    chosen = {field: column for field, column in proposed.items() if column not in taken}
    chosen.update(said)
    chosen = {field: column for field, column in chosen.items() if column}
    for field, column in chosen.items():
        if column not in columns:
            raise _missing(field, column, columns)
    if titled and Field.TITLE not in chosen and Field.IMAGE not in chosen:
        raise InvalidInput(
            f"no column looks like the title (there are: {_listed(columns)})",
            reason="TITLE_UNMAPPED",
            field="title",
            remedy="name it with --column title=NAME",
        )
    return chosen


def parse_assignments(texts: Iterable[str]) -> dict[Field, str]:
    """Parses `field=column` options. Raises: InvalidInput."""
    said: dict[Field, str] = {}
    for text in texts:
        name, equals, column = text.partition("=")
        if not equals or name.strip() not in set(Field):
            raise InvalidInput(
                f"{text[:80]!r} does not assign a column",
                reason="COLUMN_OPTION_MALFORMED",
                field="--column",
                remedy=f"write FIELD=COLUMN, FIELD being one of {', '.join(Field)}",
            )
        said[Field(name.strip())] = column.strip()
    return said


def _missing(field: Field, column: str, columns: Sequence[str]) -> InvalidInput:
    close = difflib.get_close_matches(column, columns, n=1)
    hint = f"--column {field}={close[0]}" if close else f"--column {field}=NAME"
    return InvalidInput(
        f"there is no column {column!r} (there are: {_listed(columns)})",
        reason="COLUMN_MISSING",
        field=field.value,
        remedy=f"map the right one with {hint}",
    )


def _listed(columns: Sequence[str], limit: int = 30) -> str:
    more = f" and {len(columns) - limit} more" if len(columns) > limit else ""
    return ", ".join(columns[:limit]) + more


def _name_score(field: Field, column: str) -> float:
    names = _NAMES[field]
    plain = _plain(column)
    if plain in names:
        return 1.0 - 0.02 * names.index(plain)
    last = _plain(re.split(r"[.\s_:/-]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", column))[-1])
    if last in names and len(last) > 2:
        return 0.6 - 0.02 * names.index(last)
    return 0.0


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _values_agree(field: Field, values: Sequence[str]) -> float:
    if not values:
        return _UNKNOWN
    if field is Field.ID:
        repeats = len(values) - len(set(values))
        return 1.0 if repeats <= max(2, _ID_REPEATS * len(values)) else 0.2
    test = _TESTS.get(field)
    return _share(values, test) if test else 1.0


def _share(values: Sequence[str], test: Callable[[str], bool]) -> float:
    return sum(map(test, values)) / len(values)


def _is_link(value: str) -> bool:
    return value.lower().startswith(("http://", "https://"))


def _is_image_file(value: str) -> bool:
    return not _is_link(value) and value.lower().endswith(tuple(IMAGE_SUFFIXES))


def _is_gtin_like(value: str) -> bool:
    try:
        gtin14(value)
    except InvalidInput as error:
        return error.reason != "GTIN_MALFORMED"
    return True


def _is_price(value: str) -> bool:
    try:
        parse_price(value)
    except InvalidInput:
        return False
    return True


_TESTS: Mapping[Field, Callable[[str], bool]] = {
    Field.GTIN: _is_gtin_like,
    Field.PRICE: _is_price,
    Field.URL: _is_link,
    Field.IMAGE: _is_image_file,
    Field.IMAGE_LINK: _is_link,
    Field.MORE_IMAGE_LINKS: _is_link,
    Field.TITLE: lambda value: any(character.isalpha() for character in value),
}
