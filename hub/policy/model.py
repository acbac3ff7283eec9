"""The policy and what may be in it; pure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from enum import StrEnum

from alliance import canonical
from alliance.audience import Tlp
from alliance.errors import Conflict, InvalidInput
from alliance.names import Digest

LONGEST_INVITATION = 30 * 86_400
LONGEST_CERTIFICATE = 366 * 86_400
MOST_QUORUM = 1000


class TwoAdmins(StrEnum):
    """When two admins are needed: as soon as there are two, always, or never."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"

    def applies(self, admins: int) -> bool:
        return self is TwoAdmins.ALWAYS or (self is TwoAdmins.AUTO and admins >= 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A quorum counts members; `strictest_ceiling` is the strictest label that a new bank may hold."""

    two_admins: TwoAdmins = TwoAdmins.AUTO
    least_quorum: int = 2
    strictest_ceiling: Tlp = Tlp.AMBER_STRICT
    invitation_seconds: int = 72 * 3600
    certificate_seconds: int = 24 * 3600

    def checked(self) -> Policy:
        """Itself. Raises: InvalidInput naming the field."""
        for field, least, most in (
            ("least_quorum", 2, MOST_QUORUM),
            ("strictest_ceiling", Tlp.CLEAR, Tlp.AMBER_STRICT),
            ("invitation_seconds", 1, LONGEST_INVITATION),
            ("certificate_seconds", 1, LONGEST_CERTIFICATE),
        ):
            if not least <= getattr(self, field) <= most:
                raise InvalidInput(
                    f"{field} is {shown(least)} to {shown(most)}",
                    reason="POLICY_OUT_OF_RANGE",
                    field=f"policy.{field}",
                    remedy="choose a value in that range",
                )
        return self

    def require_quorum(self, quorum: int, *, field: str) -> None:
        """Raises: InvalidInput."""
        if quorum < self.least_quorum:
            raise InvalidInput(
                f"a quorum of {quorum} is below the alliance's least, {self.least_quorum}",
                reason="QUORUM_BELOW_POLICY",
                field=field,
                remedy=f"use at least {self.least_quorum}",
            )

    def require_ceiling(self, label: Tlp) -> None:
        """Raises: InvalidInput."""
        if label > self.strictest_ceiling:
            raise InvalidInput(
                f"no bank may hold {label.label} here, the strictest is {self.strictest_ceiling.label}",
                reason="CEILING_ABOVE_POLICY",
                field="tlp",
                remedy=f"use {self.strictest_ceiling.label} at most",
            )

    def to_bytes(self) -> bytes:
        return canonical.encode(
            "alliance/v1/policy",
            self.two_admins.value,
            self.least_quorum,
            self.strictest_ceiling.value,
            self.invitation_seconds,
            self.certificate_seconds,
        )

    def told(self) -> dict[str, str]:
        """Field to value, as they are shown and logged."""
        return {name: shown(getattr(self, name)) for name in FIELDS}


FIELDS = tuple(field.name for field in dataclasses.fields(Policy))


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """The policy after so many changes; 0 is what the hub's settings say."""

    number: int
    policy: Policy

    @property
    def etag(self) -> str:
        return f"{self.number}-{canonical.sha256(self.policy.to_bytes()).hex()[:16]}"

    def require_seen(self, etag: str) -> None:
        """Raises: InvalidInput without an etag, Conflict for another than this."""
        if not etag:
            raise InvalidInput(
                "a change names the policy that it was made for",
                reason="ETAG_MISSING",
                field="policy.etag",
                remedy="send the etag that GetPolicy gave",
            )
        if etag != self.etag:
            raise Conflict(
                "the policy was changed meanwhile",
                reason="POLICY_CHANGED",
                field="policy.etag",
                remedy='look at it with "alliance-hub policy show", then change it anew',
            )

    def changed(self, policy: Policy) -> Revision:
        """Raises: InvalidInput, also where nothing changes."""
        if policy.checked() == self.policy:
            raise InvalidInput("that is the policy already", reason="POLICY_UNCHANGED", field="policy")
        return replace(self, number=self.number + 1, policy=policy)


def changes(before: Policy, after: Policy) -> str:
    """As they stand in the log: "least_quorum=2>5,two_admins=auto>always"."""
    old, new = before.told(), after.told()
    return ",".join(f"{name}={old[name]}>{new[name]}" for name in sorted(FIELDS) if old[name] != new[name])


def change_digest(before: Policy, after: Policy) -> Digest:
    """What the log holds of a change: binds every field, before and after it."""
    return canonical.sha256(canonical.encode("alliance/v1/policy-change", before.to_bytes(), after.to_bytes()))


def shown(value: object) -> str:
    return value.label if isinstance(value, Tlp) else str(value)
