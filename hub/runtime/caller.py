"""Who calls: what the edge found out from the certificate and the membership before any service runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from alliance.errors import NotPermitted
from alliance.names import MemberId
from alliance.tls import Peer


class Who(StrEnum):
    """Every kind of caller there is: nobody yet, a member's role, a console role."""

    ANONYMOUS = "anonymous"
    BRAND = "brand"
    MARKETPLACE = "marketplace"
    ASSOCIATION = "association"
    REGULATOR = "regulator"
    LAW_ENFORCEMENT = "law_enforcement"
    EXPERT = "expert"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"
    AUDITOR = "auditor"


MEMBERS = frozenset({Who.BRAND, Who.MARKETPLACE, Who.ASSOCIATION, Who.REGULATOR, Who.LAW_ENFORCEMENT, Who.EXPERT})
CONSOLE = frozenset({Who.VIEWER, Who.OPERATOR, Who.ADMIN, Who.AUDITOR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """`name` is "members/acme", "operators/dana" or "" for nobody; `active` is false while suspended.

    `admitted` is false of a member that has enrolled and waits for others to sign its admission.
    """

    who: Who
    name: str = ""
    active: bool = True
    admitted: bool = True
    peer: Peer | None = None

    @property
    def member(self) -> MemberId:
        """Raises: NotPermitted for a caller that is no member."""
        if self.who not in MEMBERS:
            raise NotPermitted("only a member may do this", reason="NOT_A_MEMBER")
        return MemberId(self.name)

    @property
    def is_console(self) -> bool:
        return self.who in CONSOLE


ANONYMOUS = Caller(who=Who.ANONYMOUS)
