"""Publishing and withdrawing: catalogue to sealed batches in the outbox, each product exactly once.

A batch, the rows it publishes and the tombstones of what it replaces enter the agent's database in one
transaction; a kill leaves whole batches or none, and the next run goes on behind them. Nothing is sent here:
the outbox does that.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, groupby

from sqlalchemy import Connection

from alliance import canonical, entries, schemes
from alliance.audience import Audience
from alliance.names import BankId, Digest, MemberId
from alliance.v1 import fingerprint_pb2 as pb
from member_agent import outbox
from member_agent.catalog.model import ChangeSeq, ProductId, source_name
from member_agent.catalog.service import CatalogService
from member_agent.clock import Clock, timestamp, utc_now
from member_agent.database import LocalDatabase
from member_agent.fingerprinting.decode import ImageDecoder
from member_agent.identity import Identity
from member_agent.outbox import Stale
from member_agent.sharing import audiences, making, published, remaking, rows, sealing
from member_agent.sharing.held_keys import GroupKey
from member_agent.sharing.making import Labels, Made
from member_agent.sharing.published import PublishedRow
from member_agent.sharing.selection import Selection

# A batch is sealed whenever it has this many rows; a picture has at most 23 values.
BATCH_ROWS = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The bank to publish into, its audience as the log has it, and the key of its group."""

    bank: BankId
    audience: Audience
    scheme: str
    key: GroupKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a publish did, or (dry run) would do. `bytes_` are sealed bytes; `problems` name product and reason.

    `kept_stricter` are products that keep the stricter label they were published with before.
    """

    bank: BankId
    products: int = 0
    rows: int = 0
    batches: int = 0
    bytes_: int = 0
    unchanged: int = 0
    withheld: int = 0
    withdrawn: int = 0
    kept_stricter: int = 0
    problems: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A batch ready to leave."""

    request: pb.PublishBatchRequest
    data: bytes
    published: tuple[PublishedRow, ...]


class Publisher:
    def __init__(
        self,
        db: LocalDatabase,
        *,
        identity: Identity,
        catalog: CatalogService,
        decoder: Callable[[], ImageDecoder],
        clock: Clock = utc_now,
    ) -> None:
        self._db = db
        self._identity = identity
        self._catalog = catalog
        self._decoder = decoder
        self._clock = clock

    def publish(
        self,
        target: Target,
        labels: Labels,
        *,
        source: str = "",
        dry_run: bool = False,
        include_withheld: bool = False,
        widen: bool = False,
        progress: Callable[[Report], None] = lambda report: None,
    ) -> Report:
        """Publishes what is new or changed since the last time and withdraws what left the catalogue.

        What is out there with a wider label than the one given is replaced, or withdrawn where it cannot be made anew.
        What has a stricter one keeps it, unless told to `widen`.

        Raises: InvalidInput for a scheme this agent cannot make, or a label the bank may not hold.
        """
        audiences.require_label(labels.tlp, target.bank, target.audience.ceiling)
        only = source_name(source) if source else None
        with self._db.write() as tx:
            if not dry_run:
                self._reclaim(tx)
            if include_withheld and not dry_run:
                published.release(tx, target.bank)
            since, held = published.cursor(tx, target.bank, source), published.withheld(tx, target.bank)
            held = set() if include_withheld else held
            wanted = Selection(self._db, target.bank, only, held, labels.tlp, widen=widen)
            if any(map(wanted.relabels, published.labels(tx, target.bank, only))):
                since = 0
        changes = self._catalog.changes(ChangeSeq(since))
        report = Report(bank=target.bank)
        make = making.maker(target.scheme, target.key, labels, self._decoder)
        for group in _batches(map(wanted.labelled, make(wanted.of(changes.changed)))):
            report = self._batch(target, group, report, widen=widen, dry_run=dry_run)
            progress(report)
        report = replace(
            report, unchanged=wanted.unchanged, withheld=wanted.withheld, kept_stricter=wanted.kept_stricter
        )
        cursor = (source, changes.upto)
        return self._gone(target.bank, changes.withdrawn, wanted, report, cursor, dry_run=dry_run)

    def withdraw(self, bank: BankId, *, source: str | None = None, keys: frozenset[str] = frozenset()) -> int:
        """Tombstones published products of a source or with these keys (none: all); returns how many rows.

        They stay withheld: a later publish leaves them out unless told to include them.
        """
        with self._db.write() as tx:
            found = published.live(tx, bank, source=source)
            chosen = [row for row in found if not keys or row.source_key in keys]
            self._tombstones(tx, bank, chosen)
            published.withhold(tx, bank, {row.product for row in chosen})
        return len(chosen)

    def remake(self, target: Target, stale: Stale, sealed: bytes, key: GroupKey) -> int:
        """Makes a batch that the hub never had anew, under the target's key and labelled as it was; returns its rows.

        What has changed or left the catalogue since is left to the next `publish`.

        Args:
            key: the one that `sealed` was sealed under.

        Raises: Corrupt.
        """
        labels, digest = remaking.labels_of(stale.batch, sealed, key), Digest(stale.batch.digest)
        with self._db.read() as tx:
            live = published.live(tx, target.bank, batch=digest)
        made: list[Made] = []
        for label, products in remaking.products_of(self._catalog, live, labels).items():
            make = making.maker(target.scheme, target.key, label, self._decoder)
            made += [one for one in make(products) if one.rows]
        anew = [self._seal(target, group) for group in _batches(made)]
        with self._db.write() as tx:
            if not outbox.take_stale(tx, stale):
                return 0
            published.forget_batch(tx, digest)
            for one in anew:
                self._put(tx, one)
        return sum(len(one.published) for one in anew)

    def _put(self, tx: Connection, sealed: Sealed) -> None:
        digest = sealed.request.batch.digest
        outbox.put(tx, sealed.request, now=self._clock(), sealed=sealed.data, digest=digest)
        published.add(tx, sealed.published)

    def _batch(self, target: Target, group: list[Made], report: Report, *, widen: bool, dry_run: bool) -> Report:
        problems = tuple(f"{m.product.source_key}: {p}" for m in group for p in m.problems)
        made = [m for m in group if m.rows]
        report = replace(report, problems=report.problems + problems)
        if not made:
            return report
        sealed = self._seal(target, made)
        if not dry_run:
            with self._db.write() as tx:
                for one in made:
                    report = replace(report, withdrawn=report.withdrawn + self._replaced(tx, target.bank, one))
                    if widen:
                        published.widen(tx, target.bank, one.product.id, one.rows[0].tlp)
                self._put(tx, sealed)
        return replace(
            report,
            products=report.products + len(made),
            rows=report.rows + len(sealed.published),
            batches=report.batches + 1,
            bytes_=report.bytes_ + len(sealed.data),
        )

    def _seal(self, target: Target, made: list[Made]) -> Sealed:
        me = self._identity.public.member
        placed: list[rows.Row] = []
        for one in made:
            base = len(placed)
            placed += [r if r.variant_of < 0 else replace(r, variant_of=r.variant_of + base) for r in one.rows]
        plain = rows.pack(placed, width=schemes.scheme(target.scheme).width)
        data = sealing.seal(
            plain, target.key, bank=target.bank, publisher=me, scheme=target.scheme, row_count=len(placed)
        )
        header = self._header(target, me, row_count=len(placed), data=data)
        owners = ((one, kind) for one in made for kind in one.kinds)
        listed = tuple(
            PublishedRow(
                bank=target.bank,
                batch_digest=Digest(header.digest),
                row=at,
                product=one.product.id,
                source=one.product.source,
                source_key=one.product.source_key,
                kind=kind,
                content_digest=one.product.content_digest,
                tlp=placed[at].tlp,
            )
            for at, (one, kind) in enumerate(owners)
        )
        request = pb.PublishBatchRequest(request_id=str(uuid.uuid4()), batch=header)
        return Sealed(request=request, data=data, published=listed)

    def _header(self, target: Target, me: MemberId, *, row_count: int, data: bytes) -> pb.BatchHeader:
        header = pb.BatchHeader(
            bank=target.bank,
            publisher=me,
            scheme=target.scheme,
            epoch=target.key.epoch,
            row_count=row_count,
            digest=canonical.sha256(data),
            size=len(data),
            create_time=timestamp(self._clock()),
        )
        header.signature = self._identity.sign(entries.batch_bytes(header))
        return header

    def _replaced(self, tx: Connection, bank: BankId, made: Made) -> int:
        """Tombstones the rows of an older version of the same product."""
        old = published.live(tx, bank, product=made.product.id)
        self._tombstones(tx, bank, old)
        return len(old)

    def _gone(
        self,
        bank: BankId,
        products: Iterator[ProductId],
        wanted: Selection,
        report: Report,
        cursor: tuple[str, int],
        *,
        dry_run: bool,
    ) -> Report:
        """Tombstones what left the catalogue, and what is still out there with a wider label, since no stricter row
        could be made of it; remembers how far the catalogue is published, by source."""
        with self._db.write() as tx:
            gone = chain.from_iterable(published.live(tx, bank, product=product) for product in products)
            wide = published.live(tx, bank, source=wanted.source, wider_than=wanted.tlp)
            rows_gone = list({(row.batch_digest, row.row): row for row in chain(gone, wide)}.values())
            if not dry_run:
                self._tombstones(tx, bank, rows_gone)
                published.set_cursor(tx, bank, *cursor)
        return replace(report, withdrawn=report.withdrawn + len(rows_gone))

    def _tombstones(self, tx: Connection, bank: BankId, withdrawn: list[PublishedRow]) -> None:
        """One tombstone per batch, each in the outbox."""
        me, now = self._identity.public.member, self._clock()
        ordered = sorted(withdrawn, key=lambda row: (row.batch_digest, row.row))
        for digest, group in groupby(ordered, key=lambda row: row.batch_digest):
            numbers = [row.row for row in group]
            tombstone = pb.Tombstone(
                bank=bank, publisher=me, batch_digest=digest, rows=numbers, create_time=timestamp(now)
            )
            tombstone.signature = self._identity.sign(entries.tombstone_bytes(tombstone))
            request = pb.WithdrawRowsRequest(request_id=str(uuid.uuid4()), tombstone=tombstone)
            outbox.put(tx, request, now=now)
            published.mark_withdrawn(tx, bank, digest, numbers)

    def _reclaim(self, tx: Connection) -> None:
        """Products of batches the hub refused for good are published again."""
        for digest in outbox.take_failed_batches(tx):
            published.forget_batch(tx, digest)


def _batches(made_of: Iterable[Made]) -> Iterator[list[Made]]:
    """Groups of products whose rows fill a batch; a product's rows are never split."""
    group: list[Made] = []
    size = 0
    for made in made_of:
        if group and size + len(made.rows) > BATCH_ROWS:
            yield group
            group, size = [], 0
        group.append(made)
        size += len(made.rows)
    if group:
        yield group


def expiry_day(days: int, now: dt.datetime) -> int:
    """A lifetime in days to the day it ends, in days since 1970; 0 stays 0, never."""
    return (now.date() - dt.date(1970, 1, 1)).days + days if days else 0
