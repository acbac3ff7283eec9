"""Listings to be screened, read from a file as a catalogue is and stored nowhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from member_agent.catalog.images import NoImage, locate
from member_agent.catalog.model import ColumnMap, Field, Format, Listing, Origin, RowError
from member_agent.catalog.parse import ParsedRow, RowParser
from member_agent.catalog.planning import Understood, image_root, understand
from member_agent.catalog.readers.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingFile:
    """A file of listings, opened; its rows are read anew each time they are asked for."""

    known: Understood
    root: Path

    @property
    def columns(self) -> tuple[str, ...]:
        """All it has, by name."""
        return self.known.opened.reader.columns

    @property
    def mapped(self) -> Mapping[Field, str]:
        """Which column means what."""
        return self.known.columns.columns

    def rows(self, keep: Collection[str] = ()) -> Iterator[Listing | RowError]:
        """Listings in file order, each with the cells of the columns to `keep`; a wrong row is its error."""
        parser = RowParser(self.known.columns)
        for record in self.known.opened.reader.records():
            row = parser.parse(record)
            if row.facts is None:
                yield from row.errors
            else:
                yield from self._listing(parser, record, row, keep)

    def _listing(
        self, parser: RowParser, record: Record, row: ParsedRow, keep: Collection[str]
    ) -> Iterator[Listing | RowError]:
        assert row.facts is not None
        paths: list[Path] = []
        for name in row.images:
            try:
                paths.append(locate(self.root, name))
            except NoImage as error:
                yield error.warning(record.number)
        own_id = parser.text(record, Field.ID) or parser.text(record, Field.URL)
        if not own_id and self.known.columns.format is Format.IMAGES and paths:
            own_id = paths[0].name
        yield Listing(
            row=record.number,
            id=own_id or f"row {record.number}",
            title=row.facts.title,
            brand=row.facts.brand,
            model=row.facts.model,
            gtin=parser.text(record, Field.GTIN),
            mpn=parser.text(record, Field.MPN),
            category=row.facts.category,
            url=row.facts.url,
            platform=parser.text(record, Field.PLATFORM),
            seller=parser.text(record, Field.SELLER),
            price=row.facts.price,
            currency=row.facts.currency,
            image_paths=tuple(paths),
            image_links=row.links,
            cells={column: record.cells.get(column, "") for column in keep},
        )


def open_listings(
    path: Path,
    columns: ColumnMap | None = None,
    *,
    said: Mapping[Field, str] | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    images: Path | None = None,
    titled: bool = True,
) -> ListingFile:
    """Opens a file of listings.

    Args:
        columns: the map of the file; guessed from names and values when None.
        said: columns that go before the map's.
        images: the folder image paths are relative to; the file's own when None.
        titled: whether listings need a title or a picture.

    Raises:
        InvalidInput, NotFound: as `planning.understand` does.
    """
    origin = Origin(path=path, encoding=encoding, delimiter=delimiter, images=images)
    known = understand(origin, columns, said or {}, titled=titled)
    return ListingFile(known=known, root=image_root(origin))


def listings(path: Path, columns: ColumnMap | None = None) -> Iterator[Listing | RowError]:
    """The rows of a file of which no more need be said. Raises: as `open_listings`."""
    return open_listings(path, columns).rows()
