"""From products to rows of fingerprints, per scheme. Whatever cannot be fingerprinted is said with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from alliance import schemes
from alliance.audience import Tlp
from alliance.errors import AllianceError, InvalidInput
from member_agent.catalog.model import Product
from member_agent.fingerprinting.decode import ImageDecoder, Result
from member_agent.fingerprinting.text import Sketcher, TextItem
from member_agent.sharing.held_keys import GroupKey
from member_agent.sharing.rows import Marks, Row, brand_label

_TEXT_CHUNK = 4096
_IMAGE_CHUNK = 512
# Which value of a picture a row is; the member's own table keeps the variant's name.
BASE, VARIANT = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What the publisher says of all rows of one publish."""

    marks: Marks = Marks.GENUINE
    confidence: int = 100
    tlp: Tlp = Tlp.AMBER
    expiry: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The rows of one product, with `variant_of` counted from its own first row; `kinds` names each."""

    product: Product
    rows: tuple[Row, ...]
    kinds: tuple[str, ...]
    problems: tuple[str, ...] = field(default=())


Maker = Callable[[Iterable[Product]], Iterator[Made]]


def maker(scheme: str, key: GroupKey, labels: Labels, decoder: Callable[[], ImageDecoder]) -> Maker:
    """How products become rows of this scheme. Raises: InvalidInput."""
    if scheme == schemes.TERMS.id:
        return lambda products: _texts(products, key, labels)
    if scheme == schemes.PDQ.id:
        return lambda products: _images(products, labels, decoder)
    raise InvalidInput(f"this agent cannot make {scheme} fingerprints", field="scheme", remedy="upgrade the agent")


def _texts(products: Iterable[Product], key: GroupKey, labels: Labels) -> Iterator[Made]:
    sketcher = Sketcher(key=key.text_key())
    source = iter(products)
    while chunk := list(islice(source, _TEXT_CHUNK)):
        items = [TextItem(title=p.title, brand=p.brand, model=p.model) for p in chunk]
        for product, sketch in zip(chunk, sketcher.sketch_many(items), strict=True):
            if not len(sketch):
                yield Made(product=product, rows=(), kinds=(), problems=("the title has no letters or digits",))
                continue
            row = _row(product, sketch.encode(), labels, quality=100, kind=BASE, variant_of=-1)
            yield Made(product=product, rows=(row,), kinds=("title",))


def _images(products: Iterable[Product], labels: Labels, decoder: Callable[[], ImageDecoder]) -> Iterator[Made]:
    """The pictures of many products in one stream through the decoder, regrouped by product."""
    source = iter(products)
    with decoder() as workers:
        while chunk := list(islice(source, _IMAGE_CHUNK)):
            paths = [path for product in chunk for path in product.image_paths]
            results = workers.fingerprint_files(paths, mode="publish")
            for product in chunk:
                yield _image_rows(product, [next(results)[1] for _ in product.image_paths], labels)


def _image_rows(product: Product, results: Sequence[Result], labels: Labels) -> Made:
    made: list[Row] = []
    kinds: list[str] = []
    problems: list[str] = []
    for path, result in zip(product.image_paths, results, strict=True):
        if isinstance(result, AllianceError):
            problems.append(f"{path.name}: {result.message} [{result.reason}]")
            continue
        base = len(made)
        for variant in result:
            first = len(made) == base
            made.append(
                _row(
                    product,
                    variant.hash,
                    labels,
                    quality=variant.quality,
                    kind=BASE if first else VARIANT,
                    variant_of=-1 if first else base,
                )
            )
            kinds.append(f"{path.name}#{variant.kind}")
    if not product.image_paths:
        problems.append("the product has no picture on this machine")
    return Made(product=product, rows=tuple(made), kinds=tuple(kinds), problems=tuple(problems))


def _row(product: Product, value: bytes, labels: Labels, *, quality: int, kind: int, variant_of: int) -> Row:
    return Row(
        value=value,
        marks=labels.marks,
        brand=brand_label(product.brand),
        confidence=labels.confidence,
        tlp=labels.tlp,
        quality=quality,
        kind=kind,
        expiry=labels.expiry,
        variant_of=variant_of,
    )
