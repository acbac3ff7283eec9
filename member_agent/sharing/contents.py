"""An open bank: its batches unsealed and unpacked into columns, with what was withdrawn or expired masked out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance import schemes
from alliance.errors import AllianceError, Corrupt
from alliance.names import Digest, MemberId
from member_agent.sharing import rows, sealing
from member_agent.sharing.bank_store import BankState, BankStore, SealedBatch
from member_agent.sharing.keyring import Keyring
from member_agent.sharing.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBatch:
    digest: Digest
    publisher: MemberId
    epoch: int
    rows: Rows
    # (n,) bool: neither withdrawn nor expired.
    alive: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class BankContents:
    """`problems` are batches that did not open: they are left out, never guessed at."""

    state: BankState
    batches: tuple[OpenBatch, ...]
    problems: tuple[str, ...]

    @property
    def version(self) -> str:
        """Which contents these are: the same string means the same fingerprints."""
        return f"{self.state.cursor}-{self.state.chain_digest.hex()[:12]}"

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
    return OpenBatch(digest=sealed.digest, publisher=sealed.publisher, epoch=sealed.epoch, rows=unpacked, alive=alive)


def fingerprint_id(batch: OpenBatch, row: int) -> str:
    """How a fingerprint is named in files and on screens: "<batch digest hex>:<row>"."""
    return f"{batch.digest.hex()}:{row}"
