"""What members state about the heads of the log: the newest cosignature of each, checked, kept and listed.

The hub checks them so that a broken agent is refused at once; members check them again, against the identities
they hold, because the hub may lie. The whole note is kept, the hub's line and the member's: it stands by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from alliance import checkpoint as notes
from alliance import cosignature
from alliance.errors import FailedPrecondition
from alliance.names import MemberId
from hub.audit import store
from hub.audit.store import StoredCosignature

# (tx, member, signed bytes, signature); raises InvalidInput. `membership` knows identities, and stands above `audit`.
RequireSigned = Callable[[Connection, MemberId, bytes, bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A member's cosignature as it came; `time` in seconds since the epoch."""

    size: int
    root: bytes
    time: int
    witness_key: bytes
    certificate: bytes
    signature: bytes


class WitnessService:
    def __init__(self, *, alliance: str, require_signed: RequireSigned) -> None:
        self._alliance = alliance
        self._require_signed = require_signed

    def add(self, tx: Connection, member: MemberId, said: Statement) -> None:
        """Keeps it, unless a newer one is here.

        Raises: FailedPrecondition for a head that this log never had; InvalidInput, Corrupt for a bad signature.
        """
        head = store.checkpoint(tx, said.size)
        if head is None or head.root != said.root:
            raise FailedPrecondition(
                f"this log has no checkpoint of {said.size} leaves with that root",
                reason="HEAD_UNKNOWN",
                field="cosignature.root_hash",
                remedy="stop, keep the agent's home as evidence, tell the alliance",
            )
        signed = cosignature.witness_bytes(self._alliance, member, said.witness_key)
        self._require_signed(tx, member, signed, said.certificate)
        text, _ = notes.split_note(head.note)
        cosignature.verify(text, witness_key=said.witness_key, time=said.time, signature=said.signature)
        note = cosignature.cosigned_note(
            head.note,
            name=cosignature.witness_name(self._alliance, member),
            witness_key=said.witness_key,
            time=said.time,
            signature=said.signature,
        )
        store.save_cosignature(
            tx,
            StoredCosignature(
                member=member,
                size=said.size,
                root=said.root,
                time=said.time,
                note=note,
                witness_key=said.witness_key,
                certificate=said.certificate,
            ),
        )

    def newest(self, tx: Connection, *, after: str | None, limit: int) -> list[StoredCosignature]:
        """One of each member that ever cosigned, by member."""
        return store.cosignatures(tx, after=after, limit=limit)
