"""The one mapping between the error tree and google.rpc.Status (AIP-193): the only place that knows gRPC codes.

An error crosses the wire as its code, its message, one `ErrorInfo{reason, domain: "alliance"}` and, for a
field at fault, one `BadRequest`, and where waiting helps, one `RetryInfo`. It comes back as the same class with the
same reason, field, remedy and time to wait.
"""

from __future__ import annotations

import math
from typing import cast

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from alliance import errors

DOMAIN = "alliance"
DETAILS_METADATA = "grpc-status-details-bin"

CODES: dict[type[errors.AllianceError], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.NotAuthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.NotPermitted: grpc.StatusCode.PERMISSION_DENIED,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.LimitExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Corrupt: grpc.StatusCode.DATA_LOSS,
    errors.AllianceError: grpc.StatusCode.INTERNAL,
}
_CLASSES = {code: cls for cls, code in CODES.items()} | {
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.Unavailable,
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidInput,
    grpc.StatusCode.UNIMPLEMENTED: errors.FailedPrecondition,
}


def code_of(error: errors.AllianceError) -> grpc.StatusCode:
    return next(CODES[cls] for cls in type(error).__mro__ if cls in CODES)


def to_status(error: errors.AllianceError) -> status_pb2.Status:
    """The wire form; carries the message and remedy, never a traceback."""
    metadata = {"remedy": error.remedy} if error.remedy else {}
    if error.row is not None:
        metadata["row"] = str(error.row)
    details = [_packed(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata))]
    if error.field:
        bad = error_details_pb2.BadRequest()
        bad.field_violations.add(field=error.field, description=error.message)
        details.append(_packed(bad))
    if error.retry_seconds:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(math.ceil(error.retry_seconds * 1000))
        details.append(_packed(retry))
    return status_pb2.Status(code=code_of(error).value[0], message=error.message, details=details)


def from_rpc_error(error: grpc.RpcError) -> errors.AllianceError:
    """What the other end meant; an error without our details, or with some that cannot be read, keeps its code's
    class."""
    call = cast("grpc.Call", error)  # every error raised by a call is also the call; the stubs cannot say so
    code = call.code()
    cls = _CLASSES.get(code, errors.AllianceError)
    trailing = dict(call.trailing_metadata() or ())
    raw = trailing.get(DETAILS_METADATA)
    if isinstance(raw, bytes):
        try:
            return _told(cls, status_pb2.Status.FromString(raw))
        except (DecodeError, ValueError):
            pass
    return cls(call.details() or code.name.lower(), reason=_plain_reason(code))


def _told(cls: type[errors.AllianceError], status: status_pb2.Status) -> errors.AllianceError:
    """Raises: DecodeError, ValueError, for what is not as `to_status` makes it."""
    info, retry, field = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), ""
    for detail in status.details:
        bad = error_details_pb2.BadRequest()
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(bad.DESCRIPTOR):
            detail.Unpack(bad)
            field = bad.field_violations[0].field if bad.field_violations else ""
        elif detail.Is(retry.DESCRIPTOR):
            detail.Unpack(retry)
    row = info.metadata.get("row", "")
    return cls(
        status.message,
        reason=info.reason or None,
        remedy=info.metadata.get("remedy", ""),
        field=field,
        row=int(row) if row.isdecimal() else None,
        retry_seconds=max(0.0, retry.retry_delay.ToMilliseconds() / 1000),
    )


def _packed(
    message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo,
) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _plain_reason(code: grpc.StatusCode) -> str | None:
    return None if code in CODES.values() else code.name
