"""What it takes to make a batch anew that waited while its group's key changed: its products, and their labels.

Values are not carried over: text sketches are keyed by the epoch as the sealing is, so that they are made again from
the catalogue. Labels are what the publisher said then, and stand in the batch alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from alliance.audience import Tlp
from alliance.errors import NotFound
from alliance.names import bank_id, member_id
from alliance.v1 import fingerprint_pb2 as pb
from member_agent.catalog.model import Product, ProductId, ProductState
from member_agent.catalog.service import CatalogService
from member_agent.sharing import rows, sealing
from member_agent.sharing.held_keys import GroupKey
from member_agent.sharing.making import Labels
from member_agent.sharing.published import PublishedRow
from member_agent.sharing.rows import Marks


def labels_of(batch: pb.BatchHeader, sealed: bytes, key: GroupKey) -> list[Labels]:
    """What was said of each row; `key` is that of the batch's epoch. Raises: Corrupt."""
    plain = sealing.unseal(
        sealed,
        key,
        bank=bank_id(batch.bank),
        publisher=member_id(batch.publisher),
        scheme=batch.scheme,
        row_count=batch.row_count,
    )
    found = rows.unpack(plain)
    columns = (found.marks, found.confidence, found.tlp, found.expiry)
    return [
        Labels(marks=Marks(marks), confidence=confidence, tlp=Tlp(tlp), expiry=expiry)
        for marks, confidence, tlp, expiry in zip(*(column.tolist() for column in columns), strict=True)
    ]


def products_of(
    catalog: CatalogService, live: Iterable[PublishedRow], labels: list[Labels]
) -> Mapping[Labels, list[Product]]:
    """The products of a batch's rows that are in the catalogue as they were published, by how they were labelled."""
    first: dict[int, PublishedRow] = {}
    for row in live:
        first.setdefault(row.product, row)
    chosen: dict[Labels, list[Product]] = {}
    for row in first.values():
        try:
            product = catalog.product(ProductId(row.product))
        except NotFound:
            continue
        if product.state is ProductState.ACTIVE and product.content_digest == row.content_digest:
            chosen.setdefault(labels[row.row], []).append(product)
    return chosen
