"""From the identity a member enrolled with to the one it has: pure, and decided by signatures and the log.

Each change is signed by the identity before and by the new one, and the log has the new one's digest, in this order.
So neither the hub alone nor whoever stole a former identity later can put in another: the former one signed before
the change, or the hub would have to show the log's leaf of its own change to all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from alliance.canonical import identity_change_bytes, identity_digest
from alliance.errors import Corrupt
from alliance.names import Digest
from member_agent.identity import Former, PublicIdentity

EVIDENCE = "keep this agent's home as evidence, tell the alliance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """As the hub shows it: nothing of it is believed yet."""

    former: PublicIdentity
    identity: PublicIdentity
    former_signature: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A leaf of the log that says the member has another identity: where, and whose digest."""

    index: int
    digest: bytes


def digest_of(identity: PublicIdentity) -> Digest:
    return identity_digest(identity.signing_key, identity.sealing_key)


def follow(alliance: str, enrolled: bytes, changes: Sequence[Change], places: Sequence[Place]) -> PublicIdentity:
    """The identity in use, with those before it, each good for what the log has up to its change.

    Args:
        enrolled: digest of the first identity, as the log has it.
        changes: oldest first; at least one.
        places: the log's leaves of changes of this member, oldest first, as many as there are changes.

    Raises: Corrupt.
    """
    at = changes[0].former
    if digest_of(at) != enrolled:
        raise refused(f"the changes of {at.member} do not begin with the identity that enrolled")
    if len(places) != len(changes):
        raise refused(f"the log has {len(places)} changes of {at.member}, the hub shows {len(changes)}")
    former: tuple[Former, ...] = ()
    for change, place in zip(changes, places, strict=True):
        if change.former != at or change.identity.member != at.member:
            raise refused(f"the changes of {at.member} are no chain")
        if place.digest != digest_of(change.identity):
            raise refused(f"the log has another identity of {at.member} than the hub shows")
        signed = identity_change_bytes(alliance, at.member, digest_of(at), digest_of(change.identity))
        try:
            at.verify(change.former_signature, signed)
            change.identity.verify(change.signature, signed)
        except Corrupt as error:
            raise refused(f"a change of identity is not signed by {at.member}") from error
        former = (*former, Former(signing_key=at.signing_key, sealing_key=at.sealing_key, until=place.index))
        at = change.identity
    return replace(at, former=former)


def refused(what: str) -> Corrupt:
    return Corrupt(what, reason="IDENTITY_CHANGED", remedy=EVIDENCE)
