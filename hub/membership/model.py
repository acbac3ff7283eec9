"""Members, invitations, operators and sharing groups; pure, every transition returns a new value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from alliance.errors import FailedPrecondition
from alliance.names import AgentId, GroupId, MemberId, OperatorId


class Role(StrEnum):
    BRAND = "brand"
    MARKETPLACE = "marketplace"
    ASSOCIATION = "association"
    REGULATOR = "regulator"
    LAW_ENFORCEMENT = "law_enforcement"
    EXPERT = "expert"


class ConsoleRole(StrEnum):
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"
    AUDITOR = "auditor"


class Standing(StrEnum):
    INVITED = "invited"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    EXPELLED = "expelled"
    LEFT = "left"


GONE = frozenset({Standing.EXPELLED, Standing.LEFT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Public halves of a member identity: P-256 SPKI DER, X25519 raw 32 bytes."""

    signing_key: bytes
    sealing_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Times are microseconds since the epoch."""

    id: MemberId
    role: Role
    standing: Standing
    create_time: int
    enrol_time: int | None = None
    admit_time: int | None = None
    identity: Identity | None = None
    reason: str = ""

    @property
    def admitted(self) -> bool:
        return self.admit_time is not None

    @property
    def waits(self) -> bool:
        """For others to admit it."""
        return self.enrol_time is not None and not self.admitted and self.standing not in GONE

    @property
    def takes_part(self) -> bool:
        return self.admitted and self.standing is Standing.ACTIVE

    def enrol(self, identity: Identity, now: int) -> Member:
        self._require("enrol", Standing.INVITED)
        return replace(self, standing=Standing.ACTIVE, identity=identity, enrol_time=now)

    def suspend(self, reason: str) -> Member:
        self._require("be suspended", Standing.ACTIVE)
        return replace(self, standing=Standing.SUSPENDED, reason=reason)

    def reinstate(self, reason: str) -> Member:
        self._require("be reinstated", Standing.SUSPENDED)
        return replace(self, standing=Standing.ACTIVE, reason=reason)

    def expel(self, reason: str) -> Member:
        self._require("be expelled", Standing.INVITED, Standing.ACTIVE, Standing.SUSPENDED)
        return replace(self, standing=Standing.EXPELLED, reason=reason)

    def leave(self) -> Member:
        self._require("leave", Standing.ACTIVE, Standing.SUSPENDED)
        return replace(self, standing=Standing.LEFT)

    def _require(self, verb: str, *allowed: Standing) -> None:
        if self.standing not in allowed:
            raise FailedPrecondition(
                f"{self.id} is {self.standing} and cannot {verb}",
                reason="STANDING",
                remedy=f"only a member that is {' or '.join(allowed)} can",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityChange:
    """Both identities signed it; `number` counts a member's changes from 1."""

    member: MemberId
    number: int
    former: Identity
    identity: Identity
    former_signature: bytes
    signature: bytes
    create_time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A machine of a member; `expire_time` is its newest certificate's. Microseconds since the epoch."""

    member: MemberId
    name: AgentId
    create_time: int
    expire_time: int
    revoke_time: int | None = None

    def revoked(self, now: int) -> Agent:
        return replace(self, revoke_time=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """`signer` admits `member`: its signature over `canonical.admission_bytes`."""

    member: MemberId
    signer: MemberId
    signature: bytes
    create_time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    member: MemberId
    secret_digest: bytes
    expire_time: int
    used_time: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    id: OperatorId
    role: ConsoleRole


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    id: GroupId
    members: tuple[MemberId, ...]
    create_time: int
