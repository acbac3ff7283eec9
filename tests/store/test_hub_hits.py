"""Match counts come back to the publisher in buckets, summed over who reports, and to nobody else."""

from __future__ import annotations

import pytest

from alliance.errors import InvalidInput
from alliance.names import Digest
from hub.fingerprints.model import Hit
from tests.kit.direct import DirectMember, Shoes
from tests.kit.keys import Sealed


def hit(sealed: Sealed, row: int, bucket: int) -> Hit:
    return Hit(batch_digest=Digest(sealed.header.digest), row=row, bucket=bucket)


def report(shoes: Shoes, member: DirectMember, *hits: Hit) -> int:
    with shoes.services.db.write() as tx:
        bank = shoes.services.fingerprints.readable(tx, member.name, shoes.bank)
        return shoes.services.fingerprints.report_hits(tx, member.caller, bank, hits)


def hits(shoes: Shoes, member: DirectMember, *, limit: int = 100) -> list[tuple[int, int, int]]:
    """(row, bucket, reporters) of a member's own fingerprints, fetched page by page."""
    found: list[tuple[int, int, int]] = []
    after: tuple[bytes, int] | None = None
    while True:
        with shoes.services.db.read() as tx:
            bank = shoes.services.fingerprints.readable(tx, member.name, shoes.bank)
            page = shoes.services.fingerprints.hits(tx, member.caller, bank, after=after, limit=limit)
        if not page:
            return found
        found += [(h.row, h.bucket, h.reporters) for h in page]
        after = (page[-1].batch_digest, page[-1].row)


def test_hits_are_summed_for_their_publisher_alone(shoes: Shoes) -> None:
    sealed = shoes.acme.publish(shoes.bank, rows=3)
    assert report(shoes, shoes.zoo, hit(sealed, 0, 1), hit(sealed, 2, 3)) == 2
    assert report(shoes, shoes.acme, hit(sealed, 2, 2)) == 1
    assert hits(shoes, shoes.acme) == hits(shoes, shoes.acme, limit=1) == [(0, 1, 1), (2, 3, 2)]
    assert hits(shoes, shoes.zoo) == []


def test_a_newer_report_replaces_the_older(shoes: Shoes) -> None:
    sealed = shoes.acme.publish(shoes.bank)
    report(shoes, shoes.zoo, hit(sealed, 0, 4))
    report(shoes, shoes.zoo, hit(sealed, 0, 1), hit(sealed, 0, 2))
    assert hits(shoes, shoes.acme) == [(0, 2, 1)]


def test_hits_on_what_is_not_there_are_ignored(shoes: Shoes) -> None:
    sealed, unpublished = shoes.acme.publish(shoes.bank, rows=2), shoes.acme.seal(shoes.bank, b"never")
    assert report(shoes, shoes.zoo, hit(sealed, 2, 1), hit(sealed, -1, 1), hit(unpublished, 0, 1)) == 0
    assert hits(shoes, shoes.acme) == []


def test_a_report_has_a_limit(shoes: Shoes) -> None:
    sealed = shoes.acme.publish(shoes.bank)
    with pytest.raises(InvalidInput, match="at most 10000 hits"):
        report(shoes, shoes.zoo, *[hit(sealed, 0, 1)] * 10_001)
