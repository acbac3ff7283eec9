"""What the catalogue holds and what an import says about it.

Values only: frozen, no clock, no file, no database. A product is known by (source, source key): the key is the
row's own id in its source, so importing the same file again finds the same products. Prices are kept for the
member's local use; no type that may leave the member has a place for one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import NewType

from alliance.errors import InvalidInput

ProductId = NewType("ProductId", int)
SourceId = NewType("SourceId", int)
RunId = NewType("RunId", int)
SourceName = NewType("SourceName", str)
ChangeSeq = NewType("ChangeSeq", int)
"""Position in the catalogue's own order of changes; 0 is before the first."""

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?\Z")


def source_name(text: str) -> SourceName:
    """Parses a source's name, which is also a file name under `maps/`. Raises: InvalidInput."""
    if not _SLUG.match(text):
        raise InvalidInput(
            f"{text[:80]!r} cannot name a source",
            reason="SOURCE_NAME_MALFORMED",
            field="--source",
            remedy="use lower-case letters, digits, _ and -, at most 63",
        )
    return SourceName(text)


class Format(StrEnum):
    """How the rows of a source are written down."""

    CSV = "csv"
    TSV = "tsv"
    GOOGLE = "google"
    JSONL = "jsonl"
    SQL = "sql"
    IMAGES = "images"


class Field(StrEnum):
    """What a column can mean. A source maps the columns it has; all but the title may be absent."""

    ID = "id"
    TITLE = "title"
    BRAND = "brand"
    MODEL = "model"
    GTIN = "gtin"
    MPN = "mpn"
    CATEGORY = "category"
    CONDITION = "condition"
    PRICE = "price"
    CURRENCY = "currency"
    URL = "url"
    IMAGE = "image"
    IMAGE_LINK = "image_link"
    MORE_IMAGE_LINKS = "additional_image_link"
    PLATFORM = "platform"
    SELLER = "seller"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMap:
    """How one source's file is read: its dialect, and which column means what.

    An empty `encoding` is UTF-8 or what a byte order mark says. An empty `delimiter` is recognised, an empty `quote`
    means that the file has no quoting, an empty `decimal` is told by each price ("." and "," fix it).
    """

    format: Format
    columns: Mapping[Field, str]
    encoding: str = ""
    delimiter: str = ""
    quote: str = '"'
    decimal: str = ""


class Severity(StrEnum):
    REJECTED = "rejected"
    """The row is not in the catalogue; an earlier import's version of it stays as it was."""
    WARNING = "warning"
    """The row is in the catalogue, without the value at fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowError:
    """What is wrong with one row of a source.

    `row` counts as a spreadsheet does (a header is row 1); None where the error is not about one row. `reason` is
    stable and machine-readable, `message` is for people.
    """

    row: int | None
    field: str
    reason: str
    message: str
    severity: Severity = Severity.REJECTED


class ProductState(StrEnum):
    ACTIVE = "active"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a row says of a product, parsed. Absent text is empty.

    `gtin` is a valid GTIN-14, `mpn` canonical (see `identifiers`); both stay local.
    """

    title: str = ""
    brand: str = ""
    model: str = ""
    gtin: str = ""
    mpn: str = ""
    category: str = ""
    condition: str = ""
    url: str = ""
    price: Decimal | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture of a product: a local file, or a link that may be fetched into one when asked for.

    `path` is None as long as a link was not fetched; `sha256` (32 bytes) is of the file at `path`, else empty. `size`
    and `modified_ns` tell whether the file must be read again.
    """

    path: Path | None = None
    link: str = ""
    sha256: bytes = b""
    size: int = 0
    modified_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Product(Facts):
    """A product of the catalogue.

    `content_digest` covers what fingerprints are made from (title, brand, model, identifiers, category, the bytes of
    the pictures) and nothing else: a new price is no reason to publish again.
    """

    id: ProductId
    source: SourceName
    source_key: str
    content_digest: bytes
    images: tuple[Image, ...] = ()
    state: ProductState = ProductState.ACTIVE

    @property
    def image_paths(self) -> tuple[Path, ...]:
        return tuple(image.path for image in self.images if image.path is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """An offer to be screened, as its file describes it. Never stored.

    `gtin` and `mpn` are as written (they may be damaged); `image_paths` exist; `row` as in `RowError`. `cells` are
    those columns as written that whoever reads the file asked for.
    """

    row: int
    id: str
    title: str = ""
    brand: str = ""
    model: str = ""
    gtin: str = ""
    mpn: str = ""
    category: str = ""
    url: str = ""
    platform: str = ""
    seller: str = ""
    price: Decimal | None = None
    currency: str = ""
    image_paths: tuple[Path, ...] = ()
    image_links: tuple[str, ...] = ()
    cells: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlQuery:
    """A query and where it runs. The URL may hold a password, so it is never shown or stored."""

    url: str = field(repr=False)
    query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What is read: a file, a folder of images, or a query, and how much of it is said rather than guessed.

    `images` is the folder that relative image paths start from (default: the file's own). `manifest` is a table that
    describes the images of the folder at `path`.
    """

    path: Path | None = None
    sql: SqlQuery | None = None
    format: Format | None = None
    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    images: Path | None = None
    manifest: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportCounts:
    """Counts of one import. `rows` = `new` + `changed` + `unchanged` + `rejected`.

    `unmatched` are the rejected rows that may be of any product, because not even their id could be read for sure.
    `vanished` products were in the source before and are not now; those among them that were withdrawn are `withdrawn`.
    """

    rows: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: int = 0
    unmatched: int = 0
    warnings: int = 0
    vanished: int = 0
    withdrawn: int = 0

    def __add__(self, other: ImportCounts) -> ImportCounts:
        return ImportCounts(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """How an import ended.

    `resumed_after` is the row an interrupted import had committed, 0 for one that ran in one go. `prune_held` says
    that `--prune` was asked for and not done, because rows that could not be read may be those that seem to have
    vanished.
    `errors_file` is None where there was nothing to write.
    """

    source: SourceName
    dry_run: bool
    counts: ImportCounts
    resumed_after: int = 0
    prune_held: bool = False
    vanished_keys: tuple[str, ...] = ()
    errors_file: Path | None = None


class Resume(StrEnum):
    """What an import does about one of the same source that was interrupted."""

    AUTO = "auto"
    """Goes on with it when file and map are the same, else starts anew."""
    ONLY = "only"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an import is. Rows are committed when reported; `total` bytes (or files) is 0 where it is unknown."""

    rows: int
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSummary:
    name: SourceName
    format: Format
    active: int
    withdrawn: int
    missing: int
    imported_time: datetime | None
    interrupted: bool
