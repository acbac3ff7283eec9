"""An open bank: its batches unsealed and unpacked into columns, what does not count masked out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from alliance import schemes
from alliance.audience import Tlp
from alliance.errors import AllianceError, Corrupt
from alliance.names import Digest, MemberId
from member_agent.sharing import audiences, rows, sealing
from member_agent.sharing.bank_store import BankState, BankStore, SealedBatch
from member_agent.sharing.keyring import Keyring
from member_agent.sharing.rows import NO_BRAND, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBatch:
    digest: Digest
    publisher: MemberId
    epoch: int
    rows: Rows
    # (n,) bool: neither withdrawn nor expired, nor stricter than the bank may hold.
    alive: NDArray[np.bool_]
    # (n,) uint8, `Tlp`: whom a row may be shown to; a variant is as strict as its base value.
    labels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class BankContents:
    """`problems` are batches that did not open, and rows that no bank may hold: left out, never guessed at.

    `shown_at` is whom these contents were narrowed to, None for all that the bank holds.
    """

    state: BankState
    batches: tuple[OpenBatch, ...]
    problems: tuple[str, ...]
    shown_at: Tlp | None = None

    @property
    def version(self) -> str:
        """Which contents these are: the same string means the same fingerprints."""
        narrowed = "" if self.shown_at is None else f"-{self.shown_at.label}"
        return f"{self.state.cursor}-{self.state.chain_digest.hex()[:12]}{narrowed}"

    def narrowed(self, at_most: Tlp) -> BankContents:
        """What may be shown to everybody that rows with this label may be shown to."""
        batches = (replace(batch, alive=batch.alive & (batch.labels <= at_most)) for batch in self.batches)
        return replace(self, batches=tuple(batches), shown_at=at_most)

    def brands(self) -> set[str]:
        """Of the fingerprints that count."""
        found: set[str] = set()
        for batch in self.batches:
            used = np.unique(batch.rows.brand[batch.alive]).tolist()
            found.update(batch.rows.brands[index] for index in used if index != NO_BRAND)
        return found

    def locate(self, at: int) -> tuple[OpenBatch, int]:
        """The batch and row of the `at`-th fingerprint, counted through all batches."""
        for batch in self.batches:
            if at < len(batch.rows):
                return batch, at
            at -= len(batch.rows)
        raise IndexError(at)

    def alive(self) -> NDArray[np.bool_]:
        return np.concatenate([batch.alive for batch in self.batches] or [np.zeros(0, dtype=np.bool_)])


def open_bank(store: BankStore, keyring: Keyring, bank: BankState, *, today: int) -> BankContents:
    """Opens what is held of a bank; `today` in days since 1970. A batch that does not open is a problem, not an end."""
    batches: list[OpenBatch] = []
    problems: list[str] = []
    for sealed in store.batches(bank.id):
        try:
            batches.append(_open(keyring, bank, sealed, today))
        except AllianceError as error:
            problems.append(f"batch {sealed.digest.hex()[:12]} of {sealed.publisher}: {error}")
    by_digest = {batch.digest: batch for batch in batches}
    for tombstone in store.tombstones(bank.id):
        batch = by_digest.get(tombstone.batch_digest)
        # Signed by its publisher, whatever it says: nobody withdraws what is another's, or rows that are not there.
        if batch is not None and batch.publisher == tombstone.publisher:
            rows_gone = [row for row in tombstone.rows if row < len(batch.alive)]
            batch.alive[rows_gone if tombstone.rows else slice(None)] = False
    ceiling = bank.audience.ceiling
    for batch in batches:
        over, told = audiences.told_stricter(batch.labels, batch.alive, ceiling)
        batch.alive[over] = False
        if told:
            problems.append(f"batch {batch.digest.hex()[:12]} of {batch.publisher}: {told}")
    return BankContents(state=bank, batches=tuple(batches), problems=tuple(problems))


def _open(keyring: Keyring, bank: BankState, sealed: SealedBatch, today: int) -> OpenBatch:
    if hashlib.sha256(sealed.sealed).digest() != sealed.digest:
        raise Corrupt(
            "its stored bytes are damaged", reason="DIGEST_MISMATCH", remedy='run "alliance-agent sync --again"'
        )
    plain = sealing.unseal(
        sealed.sealed,
        keyring.held(bank.group, sealed.epoch),
        bank=bank.id,
        publisher=sealed.publisher,
        scheme=bank.scheme,
        row_count=sealed.row_count,
    )
    unpacked = rows.unpack(plain)
    if len(unpacked) != sealed.row_count or unpacked.width != schemes.scheme(bank.scheme).width:
        raise Corrupt("its rows are not those of its header", reason="ROWS_MALFORMED", remedy="tell its publisher")
    alive = (unpacked.expiry == 0) | (unpacked.expiry >= today)
    return OpenBatch(
        digest=sealed.digest,
        publisher=sealed.publisher,
        epoch=sealed.epoch,
        rows=unpacked,
        alive=alive,
        labels=audiences.effective(unpacked),
    )


def fingerprint_id(batch: OpenBatch, row: int) -> str:
    """How a fingerprint is named in files and on screens: "<batch digest hex>:<row>"."""
    return f"{batch.digest.hex()}:{row}"
