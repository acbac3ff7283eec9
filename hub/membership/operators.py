"""Console users: who they are, and how one is revoked. Certificates are issued by `enrolment`."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from alliance.errors import FailedPrecondition, NotFound
from alliance.names import OperatorId
from hub.audit.service import AuditService
from hub.membership import store
from hub.membership.model import ConsoleRole, Operator
from hub.pki.service import PkiService


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenOperator:
    """`live`: a certificate of its is neither expired nor revoked."""

    operator: Operator
    live: bool


class OperatorService:
    def __init__(self, *, pki: PkiService, audit: AuditService) -> None:
        self._pki = pki
        self._audit = audit

    def operators(self, tx: Connection, *, after: str | None, limit: int) -> list[SeenOperator]:
        """By name."""
        found = store.operators(tx, after=after, limit=limit)
        live = self._pki.live(tx, [one.id for one in found])
        return [SeenOperator(operator=one, live=one.id in live) for one in found]

    def admins(self, tx: Connection) -> int:
        """How many admins have a certificate that opens the console now."""
        return len(self._pki.live(tx, store.admins(tx)))

    def is_admin(self, tx: Connection, name: str) -> bool:
        """Whether this console user is an admin whose certificate is good."""
        return bool(self._pki.live(tx, [one for one in store.admins(tx) if one == name]))

    def revoke(self, tx: Connection, actor: str, operator: OperatorId) -> SeenOperator:
        """Raises: NotFound; FailedPrecondition for the last admin."""
        found = store.lock_operators(tx).get(operator)
        if found is None:
            raise NotFound(f"no console user {operator}", reason="OPERATOR_NOT_FOUND", field="name")
        if found.role is ConsoleRole.ADMIN and self.is_admin(tx, operator) and self.admins(tx) == 1:
            raise FailedPrecondition(
                f"{operator} is the only admin",
                reason="LAST_ADMIN",
                remedy='certify another with "alliance-hub operator add --role admin" first',
            )
        self._pki.revoke(tx, operator)
        self._audit.record(tx, event="operator_revoked", actor=actor, subject=operator)
        return SeenOperator(operator=found, live=False)
