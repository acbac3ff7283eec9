"""Which products of the catalogue a publish is about, and with which label: none is widened by accident."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from alliance.audience import Tlp
from alliance.names import BankId
from member_agent.catalog.model import Product
from member_agent.database import LocalDatabase
from member_agent.sharing import published
from member_agent.sharing.making import Made


class Selection:
    """Which changed products are published: of the source, not withheld, not published as they are; and how labelled.

    Args:
        tlp: the label asked for; what has a stricter one keeps it unless `widen`.
    """

    def __init__(
        self, db: LocalDatabase, bank: BankId, source: str | None, held: set[int], tlp: Tlp, *, widen: bool
    ) -> None:
        self._db, self._bank, self.source, self._held = db, bank, source, held
        self.tlp, self._widen = tlp, widen
        self._stricter: dict[int, Tlp] = {}
        self.unchanged = self.withheld = self.kept_stricter = 0

    def relabels(self, old: Tlp) -> bool:
        """Whether a row is published anew for its label alone: a stricter one always, a wider one if told to."""
        return old < self.tlp or (self._widen and old > self.tlp)

    def of(self, changed: Iterator[Product]) -> Iterator[Product]:
        for product in changed:
            if self.source is not None and product.source != self.source:
                continue
            if product.id in self._held:
                self.withheld += 1
                continue
            with self._db.read() as tx:
                known = published.digest_of(tx, self._bank, product.id)
                label = published.strictest(tx, self._bank, product.id) or self.tlp
            if label > self.tlp and not self._widen:
                self._stricter[product.id] = label
                self.kept_stricter += 1
            if known == product.content_digest and not self.relabels(label):
                self._stricter.pop(product.id, None)
                self.unchanged += 1
            else:
                yield product

    def labelled(self, made: Made) -> Made:
        """With the label that the product has already, where that is the stricter one."""
        label = self._stricter.pop(made.product.id, None)
        return made if label is None else replace(made, rows=tuple(replace(row, tlp=label) for row in made.rows))
