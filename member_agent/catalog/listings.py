"""Listings to be screened, read from a file as a catalogue is and stored nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from member_agent.catalog.images import NoImage, locate
from member_agent.catalog.model import ColumnMap, Field, Format, Listing, Origin, RowError
from member_agent.catalog.parse import RowParser
from member_agent.catalog.planning import image_root, understand


def listings(
    path: Path,
    columns: ColumnMap | None = None,
    *,
    said: Mapping[Field, str] | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    images: Path | None = None,
) -> Iterator[Listing | RowError]:
    """Reads listings in file order; a row that is wrong comes as its error, in its place.

    Opening happens at the call, reading as the iterator is drawn.

    Args:
        columns: the map of the file; guessed from names and values when None.
        said: columns that go before the map's.
        images: the folder image paths are relative to; the file's own when None.

    Raises:
        InvalidInput, NotFound: as `planning.understand` does.
    """
    origin = Origin(path=path, encoding=encoding, delimiter=delimiter, images=images)
    known = understand(origin, columns, said or {})
    parser, root = RowParser(known.columns), image_root(origin)

    def read() -> Iterator[Listing | RowError]:
        for record in known.opened.reader.records():
            row = parser.parse(record)
            if row.facts is None:
                yield from row.errors
                continue
            paths: list[Path] = []
            for name in row.images:
                try:
                    paths.append(locate(root, name))
                except NoImage as error:
                    yield error.warning(record.number)
            own_id = parser.text(record, Field.ID) or parser.text(record, Field.URL)
            if not own_id and known.columns.format is Format.IMAGES and paths:
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
            )

    return read()
