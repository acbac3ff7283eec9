"""Who counts as a member: a pure function of the log and of the signatures that its leaves commit to.

The hub enrols; members admit. The first k members of the log are its founders, admitted by invitation. Everybody
after them counts once k admitted members have signed name, role and identity, each signature committed to by a leaf.
Where fewer than k admitted members are left, all of them must sign. So, seen by an admitted member X: nobody who is not
a founder gets in by fewer than k members that collude with the hub, unless X itself signed, whatever members the
hub logs as expelled (`docs/adr/0013-admission.md`).

Hub and agents both decide by this module; that they agree is tested against a real hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from alliance import canonical
from alliance.canonical import AuditEvent
from alliance.errors import Corrupt, InvalidInput
from alliance.names import Digest, MemberId, member_id

# Events of the log: `POLICY:k`, `SIGNED:members/signer`, `ENROLLED:role`, `CHANGED` (its identity).
POLICY, SIGNED, ENROLLED = "admission_policy", "admission_signed", "member_enrolled"
LEFT, EXPELLED = "member_left", "member_expelled"
CHANGED = "identity_changed"
EVENTS = (POLICY, SIGNED, ENROLLED, LEFT, EXPELLED, CHANGED)
MAX_COSIGNERS = 20

# (identity digest of the signer, the signed bytes, the digest in the leaf) -> whether the signature that the leaf
# commits to is at hand and right. Raises: Corrupt for one that is at hand and wrong.
Verified = Callable[[Digest, bytes, bytes], bool]
# (member, digest of an identity) -> whether that is one the member changed to, by a chain of signatures at hand.
Changed = Callable[[MemberId, Digest], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A member as the log has it. `signers`: whose signatures counted, or count so far, sorted."""

    role: str
    identity: Digest
    # What it signs with, where that is not the identity it enrolled with, and was admitted under.
    changed_to: Digest | None = None
    founder: bool = False
    admitted: bool = False
    gone: bool = False
    signers: tuple[MemberId, ...] = ()

    @property
    def signs_as(self) -> Digest:
        return self.changed_to or self.identity

    @property
    def counts(self) -> bool:
        """Keys are wrapped to it, and what it signs counts."""
        return self.admitted and not self.gone

    @property
    def pending(self) -> bool:
        return not (self.admitted or self.gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """Every member of the log, in the order of enrolment. `cosigners` is k; 0: an invitation suffices."""

    cosigners: int
    members: Mapping[MemberId, Entry]

    @property
    def needed(self) -> int:
        """How many signatures admit somebody now."""
        return needed(self.cosigners, sum(entry.counts for entry in self.members.values()))


def is_founder(enrolled_before: int, cosigners: int) -> bool:
    return enrolled_before < cosigners


def needed(cosigners: int, standing: int) -> int:
    """How many signatures admit, with so many members admitted and neither left nor expelled."""
    return max(1, min(cosigners, standing)) if cosigners else 0


def check_cosigners(cosigners: int, *, field: str) -> int:
    """Raises: InvalidInput."""
    if not 0 <= cosigners <= MAX_COSIGNERS:
        raise InvalidInput(
            f"0 to {MAX_COSIGNERS} members sign an admission",
            field=field,
            remedy="2 is the default; 0 leaves it to the operator",
        )
    return cosigners


def fingerprint(identity: bytes) -> str:
    """Of an identity digest, to be read out and compared: 30 decimal digits, 99.6 bits, in six groups."""
    number = int.from_bytes(canonical.sha256(canonical.encode("alliance/v1/fingerprint", identity)), "big") % 10**30
    digits = f"{number:030d}"
    return " ".join(digits[at : at + 5] for at in range(0, 30, 5))


def replay(
    alliance: str, events: Iterable[AuditEvent], verified: Verified, changed: Changed = lambda member, identity: False
) -> Register:
    """Reads the log's events in its order; other events are passed over.

    Raises: Corrupt, for what an honest hub's log never has: a policy that comes late or twice, two identities of one
    member; and what `verified` raises.
    """
    replayed = _Replay(alliance, verified, changed)
    for event in events:
        replayed.apply(event)
    return Register(cosigners=replayed.cosigners, members=replayed.members)


class _Replay:
    def __init__(self, alliance: str, verified: Verified, changed: Changed) -> None:
        self._alliance, self._verified, self._changed = alliance, verified, changed
        self._policies = self._counting = 0
        self.cosigners = 0
        self.members: dict[MemberId, Entry] = {}

    def apply(self, event: AuditEvent) -> None:
        kind, _, detail = event.event.partition(":")
        if kind == POLICY:
            self._policy(detail, event.subject)
        elif kind == ENROLLED:
            self._enrol(_member(event.subject), detail, event.digest)
        elif kind == SIGNED:
            self._sign(_member(detail), _member(event.subject), event.digest)
        elif kind == CHANGED:
            self._change(_member(event.subject), Digest(event.digest))
        elif kind in (LEFT, EXPELLED):
            self._go(_member(event.subject))

    def _policy(self, detail: str, subject: str) -> None:
        known = detail.isascii() and detail.isdecimal() and len(detail) < 3
        if self._policies or self.members or subject != self._alliance or not known:
            raise Corrupt(
                f"the log changes who admits members: {POLICY}:{detail[:20]} of {subject[:80]}",
                reason="ADMISSION_POLICY_CHANGED",
                remedy="keep this agent's home as evidence, tell the alliance",
            )
        self._policies, self.cosigners = 1, int(detail)

    def _enrol(self, member: MemberId, role: str, identity: bytes) -> None:
        if member in self.members:
            raise Corrupt(
                f"the log has two identities of {member}",
                reason="IDENTITY_CHANGED",
                remedy="keep this agent's home as evidence, tell the alliance",
            )
        founder = is_founder(len(self.members), self.cosigners)
        entry = Entry(role=role, identity=Digest(identity), founder=founder, admitted=founder or not self.cosigners)
        self.members[member] = entry
        self._counting += entry.counts

    def _sign(self, signer: MemberId, member: MemberId, digest: bytes) -> None:
        by, of = self.members.get(signer), self.members.get(member)
        if by is None or of is None or not by.counts or not of.pending or signer in of.signers:
            return
        signed = canonical.admission_bytes(self._alliance, member, of.role, of.identity)
        if self._verified(by.signs_as, signed, digest):
            self.members[member] = replace(of, signers=tuple(sorted((*of.signers, signer))))
            self._settle([member])

    def _change(self, member: MemberId, identity: Digest) -> None:
        """One that is not at hand changes nothing: what it signs does not count until it is."""
        entry = self.members.get(member)
        if entry is not None and self._changed(member, identity):
            self.members[member] = replace(entry, changed_to=identity)

    def _go(self, member: MemberId) -> None:
        entry = self.members.get(member)
        if entry is None or entry.gone:
            return
        self._counting -= entry.counts
        self.members[member] = replace(entry, gone=True)
        # Its signatures on those still waiting lapse; fewer may be needed now.
        self._settle([name for name, other in self.members.items() if other.pending])

    def _settle(self, waiting: list[MemberId]) -> None:
        """Admits, all at once, whom enough signed that still count: the order among them changes nothing."""
        enough = needed(self.cosigners, self._counting)
        for name in waiting:
            entry = self.members[name]
            signers = tuple(signer for signer in entry.signers if not self.members[signer].gone)
            self.members[name] = replace(entry, signers=signers, admitted=len(signers) >= enough)
            self._counting += self.members[name].admitted


def _member(name: str) -> MemberId:
    """Raises: Corrupt, since an honest hub logs none but checked names."""
    try:
        return member_id(name)
    except InvalidInput as error:
        raise Corrupt(
            f"the log names a member {name[:80]!r}",
            reason="LOG_FORKED",
            remedy="keep this agent's home as evidence, tell the alliance",
        ) from error
