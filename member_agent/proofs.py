"""What a member can show of the log to somebody who believes neither it nor the hub.

A proof of inclusion says that a payload of this member's ledger stands in the log under a head that the hub signed;
`alliance/verify_log.py` checks it with nothing of ours. An export is the whole log with everybody's statements.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alliance import export, merkle
from alliance.errors import FailedPrecondition, InvalidInput, NotFound
from alliance.export import Witnessed
from alliance.names import MemberId
from member_agent.audit_log import AuditLog, Head
from member_agent.directory import Directory
from member_agent.hub_client import HubClient
from member_agent.ledger import Ledger, LedgerEntry
from member_agent.logged import Logged
from member_agent.witness import Witnesses

FORMAT = "alliance/inclusion/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A leaf under a signed head, and the payload of the ledger that it is of."""

    payload: LedgerEntry
    logged: Logged
    leaf_index: int
    leaf: bytes
    hashes: Sequence[bytes]
    head: Head

    def document(self) -> dict[str, object]:
        """What `verify_log.py` reads."""
        return {
            "format": FORMAT,
            "payload": {
                "id": self.payload.id,
                "time": self.payload.time.isoformat(timespec="milliseconds"),
                "message": self.payload.message,
                "bytes": self.payload.size,
                "sha256": self.payload.digest.hex(),
            },
            "event": self.logged.event,
            "subject": self.logged.subject,
            "content": self.logged.content.hex(),
            "signed": b64encode(self.logged.signed).decode(),
            "leaf_index": self.leaf_index,
            "leaf": b64encode(self.leaf).decode(),
            "proof": [value.hex() for value in self.hashes],
            "checkpoint": self.head.note,
        }


def find(ledger: Ledger, named: str) -> tuple[LedgerEntry, list[Logged]]:
    """The payload that `named` is: its number in the ledger, a SHA-256 in hexadecimal, or the `last` that counts.

    Raises: InvalidInput; NotFound; FailedPrecondition, NOT_LOGGED for a payload that changes nothing at the hub.
    """
    if named == "last":
        found = ledger.find()
    elif re.fullmatch(r"[0-9]{1,18}", named):
        found = ledger.find(id=int(named))
    elif re.fullmatch(r"[0-9a-fA-F]{64}", named):
        found = ledger.find(digest=bytes.fromhex(named))
    else:
        raise InvalidInput(
            f"{named[:80]!r} is neither a number of the ledger nor a SHA-256",
            field="PAYLOAD",
            remedy='see "alliance-agent egress log"',
        )
    if found is None:
        raise NotFound(
            "the ledger has no such payload", reason="PAYLOAD_NOT_FOUND", remedy='see "alliance-agent egress log"'
        )
    if not found[1]:
        raise FailedPrecondition(
            f"a {found[0].message} causes no leaf that names what was sent",
            reason="NOT_LOGGED",
            remedy="prove the batch header, withdrawal, key or result that it belongs to",
        )
    return found


def prove(
    log: AuditLog, head: Head, *, member: MemberId, payload: LedgerEntry, leaves: Sequence[Logged]
) -> list[Proof]:
    """A proof for each leaf of the payload, from this member's own copy, checked against the verified head.

    Raises: NotFound, LEAF_MISSING where the log does not have one; Corrupt.
    """
    made = []
    for logged in leaves:
        index = log.locate(event=logged.event, subject=logged.subject, actor=member, digest=logged.digest)
        if index is None:
            raise NotFound(
                f"the log has no {logged.event} of this payload for {logged.subject}",
                reason="LEAF_MISSING",
                remedy="if the hub accepted it, try again in a second; if it stays, tell the alliance",
            )
        leaf = next(log.leaves(index))
        hashes = merkle.inclusion_proof(index, head.size, log.read_nodes)
        merkle.verify_inclusion(leaf=merkle.leaf_hash(leaf), index=index, size=head.size, proof=hashes, root=head.root)
        made.append(Proof(payload=payload, logged=logged, leaf_index=index, leaf=leaf, hashes=hashes, head=head))
    return made


def export_log(
    folder: Path, log: AuditLog, head: Head, *, witnesses: Witnesses, directory: Directory, hub: HubClient
) -> int:
    """Writes the log under `head` and what each member saw; returns the number of leaves. Raises: AlreadyExists."""
    seen = []
    for one in witnesses.seen():
        identity = directory.get(hub, one.member)
        seen.append(
            Witnessed(
                member=one.member,
                note=one.note,
                witness_key=one.witness_key,
                certificate=one.certificate,
                signing_key=identity.signing_key,
                sealing_key=identity.sealing_key,
            )
        )
    leaves = (leaf for _, leaf in zip(range(head.size), log.leaves(), strict=False))
    return export.write(folder, leaves=leaves, checkpoint=head.note, key=str(log.key), seen=seen)
