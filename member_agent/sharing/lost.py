"""Batches of this member that this agent did not publish: those of an agent that was lost, or of another one.

Which product a row of them was of stood in the lost agent's own files; whole batches can still be withdrawn.
"""

from __future__ import annotations

import uuid

from sqlalchemy import select

from alliance import entries
from alliance.names import BankId, Digest, MemberId
from alliance.v1 import fingerprint_pb2 as pb
from member_agent import outbox
from member_agent.clock import Clock, timestamp, utc_now
from member_agent.database import LocalDatabase
from member_agent.identity import Identity
from member_agent.sharing.bank_store import BankStore
from member_agent.sharing.published import published_table


def batches(db: LocalDatabase, banks: BankStore, bank: BankId, member: MemberId) -> list[tuple[Digest, int]]:
    """The bank's batches of the member, as synced, that still count in whole or part: digest and number of rows."""
    withdrawn: dict[Digest, set[int]] = {}
    for tombstone in banks.tombstones(bank):
        whole = withdrawn.setdefault(tombstone.batch_digest, set())
        whole.update(tombstone.rows or [-1])
    with db.read() as tx:
        known = tx.execute(select(published_table.c.batch_digest).where(published_table.c.bank == bank).distinct())
        own = {bytes(digest) for digest in known.scalars()}
    return [
        (digest, rows)
        for digest, rows in banks.digests(bank, member)
        if digest not in own and not (-1 in withdrawn.get(digest, ()) or len(withdrawn.get(digest, ())) >= rows)
    ]


def withdraw(db: LocalDatabase, banks: BankStore, bank: BankId, identity: Identity, *, clock: Clock = utc_now) -> int:
    """Tombstones every such batch, in the outbox; returns how many rows they had."""
    me, now = identity.public.member, clock()
    found = batches(db, banks, bank, me)
    with db.write() as tx:
        for digest, _ in found:
            tombstone = pb.Tombstone(bank=bank, publisher=me, batch_digest=digest, create_time=timestamp(now))
            tombstone.signature = identity.sign(entries.tombstone_bytes(tombstone))
            outbox.put(tx, pb.WithdrawRowsRequest(request_id=str(uuid.uuid4()), tombstone=tombstone), now=now)
    return sum(rows for _, rows in found)
