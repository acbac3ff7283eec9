"""The one error tree of hub and agents.

AllianceError
├── InvalidInput         the request or file is wrong; names the field (and the row)
├── NotFound             no such resource, or the caller may not know of it
├── AlreadyExists        the name is taken
├── NotAuthenticated     no certificate, or one that no longer counts
├── NotPermitted         authenticated, but not allowed
├── FailedPrecondition   right request, wrong state; the remedy says what to do first
├── Conflict             lost a race; retrying the whole operation may succeed
├── LimitExceeded        a size, rate or quota limit
├── Unavailable          the other end cannot answer now; safe to retry
└── Corrupt              bytes do not match their digest, signature or key

Every error carries a machine-readable `reason` (UPPER_SNAKE, stable) and a message in lower case that
ends with the remedy. `alliance.status` is the only place that knows gRPC codes; the command lines map
`exit_code` (documented in docs/reference/exit-codes.md).
"""

from __future__ import annotations

from typing import ClassVar


class AllianceError(Exception):
    """An error a caller can act on.

    Args:
        message: lower case, no full stop.
        reason: stable machine-readable reason; the class has a default.
        remedy: what the caller should do, as an imperative; appended to the message after "; ".
        field: the request field, column or option at fault, if one is.
        row: the 1-based row of the input at fault, if one is.
        retry_seconds: how long to wait before the same may succeed; 0 where waiting does not help.
    """

    default_reason: ClassVar[str] = "INTERNAL"
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        remedy: str = "",
        field: str = "",
        row: int | None = None,
        retry_seconds: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.remedy = remedy
        self.field = field
        self.row = row
        self.retry_seconds = retry_seconds

    def __str__(self) -> str:
        where = [f"row {self.row}"] if self.row is not None else []
        where += [self.field] if self.field else []
        prefix = f"{', '.join(where)}: " if where else ""
        return prefix + (f"{self.message}; {self.remedy}" if self.remedy else self.message)


class InvalidInput(AllianceError):
    default_reason = "INVALID_INPUT"
    exit_code = 2


class NotFound(AllianceError):
    default_reason = "NOT_FOUND"
    exit_code = 3


class AlreadyExists(AllianceError):
    default_reason = "ALREADY_EXISTS"
    exit_code = 4


class NotAuthenticated(AllianceError):
    default_reason = "NOT_AUTHENTICATED"
    exit_code = 5


class NotPermitted(AllianceError):
    default_reason = "NOT_PERMITTED"
    exit_code = 6


class FailedPrecondition(AllianceError):
    default_reason = "FAILED_PRECONDITION"
    exit_code = 7


class Conflict(AllianceError):
    default_reason = "CONFLICT"
    exit_code = 8


class LimitExceeded(AllianceError):
    default_reason = "LIMIT_EXCEEDED"
    exit_code = 9


class Unavailable(AllianceError):
    default_reason = "UNAVAILABLE"
    exit_code = 10


class Corrupt(AllianceError):
    default_reason = "CORRUPT"
    exit_code = 11
