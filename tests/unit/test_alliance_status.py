"""An error is the same at both ends of the wire: class, reason, message, remedy, field, row."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from alliance import errors, status
from alliance.errors import AllianceError


class Failed(grpc.RpcError):
    """What gRPC raises, as far as we read it."""

    def __init__(self, code: grpc.StatusCode, details: str, metadata: tuple[tuple[str, str | bytes], ...]) -> None:
        self._code, self._details, self._metadata = code, details, metadata

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> Any:
        return self._metadata


def sent(error: AllianceError) -> AllianceError:
    """Through the wire form and back."""
    wire = status.to_status(error).SerializeToString()
    return status.from_rpc_error(Failed(status.code_of(error), error.message, ((status.DETAILS_METADATA, wire),)))


@pytest.mark.parametrize("kind", list(status.CODES))
def test_each_kind_comes_back_as_itself(kind: type[AllianceError]) -> None:
    error = kind("it broke", reason="SOME_REASON", remedy="mend it", field="batch.rows", row=7, retry_seconds=1.5)
    got = sent(error)
    assert type(got) is kind
    for part in ("message", "reason", "remedy", "field", "row", "retry_seconds", "exit_code"):
        assert getattr(got, part) == getattr(error, part)
    assert str(got) == str(error) == "row 7, batch.rows: it broke; mend it"


def test_kinds_and_codes_are_one_to_one() -> None:
    assert len(set(status.CODES.values())) == len(status.CODES)
    assert set(status.CODES) == {
        AllianceError,
        *(k for k in AllianceError.__subclasses__() if k.__module__ == errors.__name__),
    }


def test_what_is_not_said_stays_unsaid() -> None:
    got = sent(errors.NotFound("no such blob"))
    assert (got.reason, got.remedy, got.field, got.row, got.retry_seconds) == ("NOT_FOUND", "", "", None, 0.0)
    assert str(got) == "no such blob"


def test_a_subclass_travels_as_its_kind() -> None:
    class Lost(errors.Conflict):
        pass

    assert type(sent(Lost("second"))) is errors.Conflict


def test_the_wire_form_has_one_error_info_and_no_traceback() -> None:
    wire = status.to_status(errors.InvalidInput("bad", field="name"))
    assert [detail.type_url.rpartition(".")[2] for detail in wire.details] == ["ErrorInfo", "BadRequest"]
    info = error_details_pb2.ErrorInfo()
    assert wire.details[0].Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == ("INVALID_INPUT", "alliance", {})


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.Unavailable, "UNAVAILABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.Unavailable, "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.UNIMPLEMENTED, errors.FailedPrecondition, "UNIMPLEMENTED"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.LimitExceeded, "LIMIT_EXCEEDED"),
        (grpc.StatusCode.CANCELLED, AllianceError, "CANCELLED"),
    ],
)
def test_an_error_of_grpcs_own_keeps_its_kind(code: grpc.StatusCode, kind: type[AllianceError], reason: str) -> None:
    got = status.from_rpc_error(Failed(code, "", ()))
    assert (type(got), got.reason, got.message) == (kind, reason, code.name.lower())


def garbled(kind: str) -> bytes:
    wire = status.to_status(errors.NotFound("gone", field="name"))
    if kind == "status":
        return b"\xff" * 50
    if kind == "detail":
        wire.details[0].value = b"\xff" * 50
    else:
        wire.details[0].Pack(error_details_pb2.ErrorInfo(metadata={"row": "9" * 5000}))
    raw: bytes = wire.SerializeToString()
    return raw


@pytest.mark.parametrize("kind", ["status", "detail", "row"])
def test_details_that_cannot_be_read_leave_the_kind(kind: str) -> None:
    """Whoever is at the other end, its answer is one of ours, never an exception of a parser's."""
    metadata = ((status.DETAILS_METADATA, garbled(kind)),)
    got = status.from_rpc_error(Failed(grpc.StatusCode.NOT_FOUND, "as gRPC has it", metadata))
    assert (type(got), got.reason, got.message) == (errors.NotFound, "NOT_FOUND", "as gRPC has it")
