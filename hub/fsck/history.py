"""What the log says there must be: one pass over its leaves, pure.

Leaves that wait in the queue count too: they committed with what they are of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from alliance.audience import Audience
from alliance.canonical import AuditEvent
from hub.fsck.acts import Acts
from hub.fsck.authorities import Authorities
from hub.fsck.certificates import Certificates
from hub.fsck.decided import Decided
from hub.fsck.findings import Said

_STANDINGS = {
    "member_enrolled": "active",
    "member_suspended": "suspended",
    "member_reinstated": "active",
    "member_expelled": "expelled",
    "member_left": "left",
}


@dataclass(slots=True)
class History:
    """By the key of the object that the store must have."""

    roles: dict[str, Said] = field(default_factory=dict)
    identities: dict[str, Said] = field(default_factory=dict)
    # From the one that enrolled to the one in use.
    all_identities: dict[str, list[Said]] = field(default_factory=lambda: defaultdict(list))
    cosigners: Said = field(default_factory=lambda: Said("0", -1))
    standings: dict[str, Said] = field(default_factory=dict)
    operators: dict[str, Said] = field(default_factory=dict)
    groups: dict[str, Said] = field(default_factory=dict)
    group_members: dict[tuple[str, str], Said] = field(default_factory=dict)
    admissions: dict[tuple[str, str], Said] = field(default_factory=dict)
    # The identity that an admission was signed for: it may have changed since.
    admitted_as: dict[tuple[str, str], bytes] = field(default_factory=dict)
    epochs: dict[tuple[str, int], Said] = field(default_factory=dict)
    epoch_creators: dict[tuple[str, int], str] = field(default_factory=dict)
    # The newest: a key is sealed anew to a member that changed its identity.
    wraps: dict[tuple[str, int, str], Said] = field(default_factory=dict)
    banks: dict[str, Said] = field(default_factory=dict)
    # In the order of the bank's own numbers: whoever appends holds the bank until it commits.
    entries: dict[str, list[Said]] = field(default_factory=lambda: defaultdict(list))
    results: dict[str, Said] = field(default_factory=dict)
    updates: dict[tuple[str, str], Said] = field(default_factory=dict)
    authorities: Authorities = field(default_factory=Authorities)
    certificates: Certificates = field(default_factory=Certificates)
    acts: Acts = field(default_factory=Acts)
    decided: Decided = field(default_factory=Decided)

    @classmethod
    def of(cls, leaves: Iterable[bytes]) -> History:
        """Raises: Corrupt for a leaf that is none."""
        history = cls()
        for index, data in enumerate(leaves):
            leaf = AuditEvent.from_bytes(data)
            for part in (history, history.authorities, history.certificates, history.acts):
                part.read(leaf, index)
        return history

    def read(self, leaf: AuditEvent, index: int) -> None:
        event, _, detail = leaf.event.partition(":")
        subject, digest = leaf.subject, Said(leaf.digest, index)
        self.decided.read(event, detail, leaf, index)
        if event in _STANDINGS:
            self.standings[subject] = Said(_STANDINGS[event], index)
        match event:
            case "member_invited":
                self.roles[subject] = Said(detail, index)
            case "member_enrolled":
                self.roles[subject], self.identities[subject] = Said(detail, index), digest
                self.all_identities[subject] = [digest]
            case "identity_changed":
                self.identities[subject] = digest
                self.all_identities[subject].append(digest)
            case "admission_policy":
                self.cosigners = Said(detail, index)
            case "member_expelled" | "member_left":
                self.group_members = {key: said for key, said in self.group_members.items() if key[1] != subject}
            case "admission_signed":
                self.admissions[subject, detail] = digest
                self.admitted_as[subject, detail] = self._identity(subject)
            case "operator_certified":
                self.operators[subject] = Said(detail, index)
            case "group_created":
                self.groups[subject] = digest
            case "group_joined":
                self.group_members[detail, subject] = digest
            case "epoch_created":
                self.epochs[subject, int(detail)] = digest
                self.epoch_creators[subject, int(detail)] = leaf.actor
            case "key_wrapped":
                group, _, number = detail.rpartition(":")
                self.wraps[group, int(number), subject] = digest
            case "bank_created":
                self.banks[subject] = Said(Audience.of_detail(detail).detail(), index)
            case "batch_published" | "rows_withdrawn":
                self.entries[subject].append(digest)
            case _:
                self._federated(event, detail, leaf, digest)

    def _identity(self, member: str) -> bytes:
        said = self.identities.get(member)
        return said.value if said is not None and isinstance(said.value, bytes) else b""

    def _federated(self, event: str, detail: str, leaf: AuditEvent, digest: Said) -> None:
        match event:
            case "round_released":
                self.results[leaf.subject] = digest
            case "slot_reported":
                self.updates[leaf.subject, detail] = digest
            case _:
                pass
