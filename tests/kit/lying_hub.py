"""A hub that lies: a real one whose database and blobs are rewritten under it, as only its operator could.

Its lies can be careful. `rewrite` gives a bank's log dense numbers, a right chain and a right head, `rewind_log` and
`log_event` sign what the log then says: what is left for an agent to find is what the hub cannot make.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text

from alliance import entries
from alliance.canonical import CHAIN_START
from alliance.names import BankId, Digest, MemberId
from alliance.v1 import fingerprint_pb2 as pb
from tests.kit.hub import RunningHub


class LyingHub:
    """What can be rewritten under a running hub."""

    def __init__(self, hub: RunningHub) -> None:
        self.hub = hub

    def execute(self, statement: str, **values: object) -> None:
        """Any SQL, past all rules but the database's own."""
        with self.hub.services.db.write() as tx:
            assert tx.execute(text(statement), values).rowcount, "the lie changed nothing"

    def rows(self, query: str, **values: object) -> list[Any]:
        with self.hub.services.db.read() as tx:
            return list(tx.execute(text(query), values).all())

    # Banks.

    def entries(self, bank: BankId) -> list[pb.BankEntry]:
        found = self.rows("SELECT body FROM bank_entry WHERE bank = :bank ORDER BY seq", bank=bank)
        return [pb.BankEntry.FromString(row.body) for row in found]

    def rewrite(self, bank: BankId, told: Iterable[pb.BankEntry]) -> None:
        """Makes these the whole bank, numbered and chained as an honest hub would have done it."""
        chain, seq, before = Digest(CHAIN_START), 0, set[bytes]()
        with self.hub.services.db.write() as tx:
            tx.execute(text("DELETE FROM bank_segment WHERE bank = :bank"), {"bank": bank})
            tx.execute(text("DELETE FROM bank_entry WHERE bank = :bank"), {"bank": bank})
            for seq, one in enumerate(told, 1):
                entry = pb.BankEntry()
                entry.CopyFrom(one)
                entry.seq = seq
                chain = entries.chain(chain, entry)
                entry.chain_digest = chain
                batch = entry.batch if entry.HasField("batch") else None
                tx.execute(
                    text("INSERT INTO bank_entry VALUES (:bank, :seq, :digest, :publisher, :rows, :size, :body)"),
                    {
                        "bank": bank,
                        "seq": seq,
                        # The table holds no batch twice; what is told is the body.
                        "digest": batch.digest if batch and batch.digest not in before else None,
                        "publisher": batch.publisher if batch else entry.tombstone.publisher,
                        "rows": batch.row_count if batch else 0,
                        "size": batch.size if batch else 0,
                        "body": entry.SerializeToString(),
                    },
                )
                before.add(batch.digest if batch else b"")
            head = text("UPDATE bank SET head_seq = :seq, head_digest = :chain WHERE name = :bank")
            tx.execute(head, {"seq": seq, "chain": chain, "bank": bank})

    def replace_entry(self, bank: BankId, entry: pb.BankEntry) -> None:
        """One entry is told differently, the others and the head are not."""
        statement = "UPDATE bank_entry SET body = :body WHERE bank = :bank AND seq = :seq"
        self.execute(statement, body=entry.SerializeToString(), bank=bank, seq=entry.seq)

    def replace_segment(self, bank: BankId, first_seq: int, data: bytes) -> None:
        """Other bytes as one of its segments, told by their own digest."""
        with self.hub.services.db.write() as tx:
            (group,) = tx.execute(text("SELECT group_name FROM bank WHERE name = :bank"), {"bank": bank}).one()
            digest = self.hub.services.blobs.put(tx, data, group)
        statement = "UPDATE bank_segment SET digest = :digest, size = :size WHERE bank = :bank AND first_seq = :first"
        self.execute(statement, digest=digest, size=len(data), bank=bank, first=first_seq)

    def blob(self, digest: bytes) -> Path:
        return self.hub.services.blobs.files.path(Digest(digest))

    # Members and groups.

    def put_into_group(self, group: str, member: MemberId) -> None:
        """Past the log."""
        self.execute("INSERT INTO sharing_group_member VALUES (:group, :member)", group=group, member=member)

    def claim_admitted(self, member: MemberId) -> None:
        """Past the log and every signature."""
        self.execute("INSERT INTO admitted VALUES (:member, 1)", member=member)

    def show_admission(self, member: MemberId, signer: MemberId, signature: bytes) -> None:
        """As if `signer` had signed it."""
        values = {"member": member, "signer": signer, "signature": signature}
        self.execute("INSERT INTO admission VALUES (:member, :signer, :signature, 1)", **values)

    # The log.

    def log_event(self, *, event: str, subject: str, digest: bytes = b"") -> None:
        """A leaf for what never happened, integrated and signed."""
        audit = self.hub.services.audit
        with self.hub.services.db.write() as tx:
            audit.record(tx, event=event, actor="hub", subject=subject, digest=digest)
            audit.integrate(tx)

    def log_size(self) -> int:
        with self.hub.services.db.read() as tx:
            return self.hub.services.audit.size(tx)

    def rewind_log(self, size: int) -> None:
        """Forgets what came after `size` leaves; the checkpoint of that size is signed anew."""
        self.execute("DELETE FROM audit_leaf WHERE leaf_index >= :size", size=size)
        # What covers a forgotten leaf goes too.
        self.execute("DELETE FROM audit_node WHERE ((position + 1) << level) > :size", size=size)
        self.execute("DELETE FROM audit_checkpoint WHERE size > :size", size=size)


@contextmanager
def flipped_byte(file: Path) -> Iterator[None]:
    """One byte in the middle of a file is another, until the block ends."""
    right = file.read_bytes()
    middle = len(right) // 2
    file.write_bytes(right[:middle] + bytes([right[middle] ^ 0x20]) + right[middle + 1 :])
    yield
    file.write_bytes(right)
