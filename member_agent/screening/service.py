"""What screening takes from the banks, and the one thing it gives back: bucketed hit counts."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from itertools import groupby

from alliance.audience import Tlp
from alliance.errors import FailedPrecondition
from alliance.names import BankId, Digest
from alliance.v1 import fingerprint_pb2 as pb
from member_agent import outbox
from member_agent.database import LocalDatabase
from member_agent.screening.model import hit_bucket
from member_agent.sharing.bank_store import BankStore
from member_agent.sharing.contents import BankContents, open_bank
from member_agent.sharing.keyring import Keyring

MAX_HITS = 10_000


def open_contents(
    banks: BankStore, keyring: Keyring, wanted: set[BankId], *, now: dt.datetime, at_most: Tlp | None = None
) -> list[BankContents]:
    """The banks held here, or those wanted; only what may be shown `at_most` so widely, where that is said.

    Raises: FailedPrecondition where one is not held, or none is.
    """
    states = [state for state in banks.states() if not wanted or state.id in wanted]
    missing = wanted - {state.id for state in states}
    if missing or not states:
        raise FailedPrecondition(
            f"not held here: {', '.join(sorted(missing)) or 'any bank'}",
            reason="BANK_NOT_HELD",
            remedy='run "alliance-agent sync" first',
        )
    today = (now.date() - dt.date(1970, 1, 1)).days
    opened = [open_bank(banks, keyring, state, today=today) for state in states]
    return opened if at_most is None else [one.narrowed(at_most) for one in opened]


def report_hits(db: LocalDatabase, counted: Mapping[tuple[BankId, Digest, int], int], *, now: dt.datetime) -> None:
    """Puts bucketed counts into the outbox, bank by bank; `run` or `sync` sends them."""
    ordered = sorted(counted.items())
    with db.write() as tx:
        for bank, group in groupby(ordered, key=lambda item: item[0][0]):
            hits = [
                pb.FingerprintHits(batch_digest=digest, row=row, bucket=pb.HitBucket.Name(hit_bucket(count)))
                for (_, digest, row), count in group
            ]
            for at in range(0, len(hits), MAX_HITS):
                request = pb.ReportHitsRequest(request_id=str(uuid.uuid4()), bank=bank, hits=hits[at : at + MAX_HITS])
                outbox.put(tx, request, now=now)
