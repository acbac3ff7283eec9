"""What a batch of rows does to the catalogue. Pure: decides, and neither reads nor writes.

The rules: a row whose product is stored unchanged writes nothing but that it was seen; a row that cannot be read
leaves an earlier version of its product alone and keeps it from counting as vanished; of two rows with one id the
first counts; a product withdrawn earlier that is in the source again is active again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from alliance.canonical import encode
from member_agent.catalog.model import Facts, Image, ImportCounts, ProductId, ProductState, RowError
from member_agent.catalog.parse import DERIVED_KEY, ParsedRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the catalogue has under a key. `seen_row` is the row of this run that had it, 0 if none had yet."""

    id: ProductId
    row_digest: bytes
    content_digest: bytes
    state: ProductState = ProductState.ACTIVE
    seen_row: int = 0
    seen_whole: bool = False
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A product to insert or to overwrite. `announce` is whether its published form may differ."""

    id: ProductId
    key: str
    facts: Facts
    images: tuple[Image, ...]
    row_digest: bytes
    content_digest: bytes
    announce: bool


@dataclass(slots=True, kw_only=True)
class Batch:
    """The effect of some rows, to be committed together with `cursor`, the last row they cover."""

    cursor: int
    new: list[Write] = field(default_factory=list)
    changed: list[Write] = field(default_factory=list)
    seen: dict[ProductId, tuple[int, bool]] = field(default_factory=dict)
    """Product to (row, whether the row was whole)."""
    errors: list[RowError] = field(default_factory=list)
    after: dict[str, Stored] = field(default_factory=dict)
    """What will be stored under the keys of these rows."""
    tally: Counter[str] = field(default_factory=Counter)

    @property
    def counts(self) -> ImportCounts:
        return ImportCounts(**self.tally)


def merge(
    rows: Sequence[tuple[ParsedRow, tuple[Image, ...]]],
    stored: Mapping[str, Stored],
    *,
    next_id: ProductId,
    cursor: int,
) -> Batch:
    """Decides for rows in file order.

    Args:
        rows: parsed rows with the images found for them.
        stored: what the catalogue has under the keys of these rows.
        next_id: the first id that is free.
    """
    batch = Batch(cursor=cursor, after=dict(stored))
    now = batch.after
    for row, images in rows:
        batch.tally["rows"] += 1
        before = now.get(row.key) if row.key else None
        if row.facts is None:
            _reject(batch, row.errors)
            batch.tally["unmatched"] += before is None and (row.misread or not row.key)
            if before is not None and not before.seen_row:
                now[row.key] = _see(batch, before, row.number, whole=False)
        elif before is not None and before.seen_whole:
            _reject(batch, (_duplicate(row, before.seen_row),))
        else:
            batch.errors += row.errors
            batch.tally["warnings"] += len(row.errors)
            new_id = ProductId(next_id + len(batch.new))
            after = _apply(batch, row.key, row.facts, images, before, new_id)
            now[row.key] = _see(batch, after, row.number, whole=True)
    return batch


def digests(key: str, facts: Facts, images: Sequence[Image]) -> tuple[bytes, bytes]:
    """(row digest, content digest): of everything stored, and of what fingerprints are made from."""
    content = hashlib.sha256(
        encode(
            "catalog/content",
            *(facts.title, facts.brand, facts.model, facts.gtin, facts.mpn, facts.category),
            *(image.sha256 for image in images if image.sha256),
        )
    ).digest()
    row = hashlib.sha256(
        encode(
            "catalog/row",
            *(key, content, facts.condition, facts.url, str(facts.price), facts.currency),
            *(f"{image.link}\n{'' if image.link else image.path}" for image in images),
        )
    ).digest()
    return row, content


def _apply(
    batch: Batch, key: str, facts: Facts, images: tuple[Image, ...], before: Stored | None, new_id: ProductId
) -> Stored:
    row_digest, content_digest = digests(key, facts, images)
    if before is None:
        batch.new.append(_write(new_id, key, facts, images, row_digest, content_digest, announce=True))
        batch.tally["new"] += 1
        return Stored(id=new_id, row_digest=row_digest, content_digest=content_digest)
    back = before.state is ProductState.WITHDRAWN
    if not back and row_digest == before.row_digest:
        batch.tally["unchanged"] += 1
        return before
    announce = back or content_digest != before.content_digest
    batch.changed.append(_write(before.id, key, facts, images, row_digest, content_digest, announce=announce))
    batch.tally["changed"] += 1
    return replace(before, row_digest=row_digest, content_digest=content_digest, state=ProductState.ACTIVE)


def _write(
    id_: ProductId, key: str, facts: Facts, images: tuple[Image, ...], row: bytes, content: bytes, *, announce: bool
) -> Write:
    return Write(id=id_, key=key, facts=facts, images=images, row_digest=row, content_digest=content, announce=announce)


def _see(batch: Batch, product: Stored, row: int, *, whole: bool) -> Stored:
    batch.seen[product.id] = (row, whole)
    return replace(product, seen_row=row, seen_whole=whole)


def _reject(batch: Batch, errors: Sequence[RowError]) -> None:
    batch.errors += errors
    batch.tally["rejected"] += 1


def _duplicate(row: ParsedRow, first: int) -> RowError:
    same = "says the same" if row.key.startswith(DERIVED_KEY) else f"has the id {row.key[:80]!r}"
    return RowError(row=row.number, field="id", reason="DUPLICATE_ID", message=f"row {first} {same} already")
