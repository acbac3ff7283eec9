"""Raw calls: any bytes to any RPC, and everything that came back, so that a contract can be held to the letter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from alliance.channel import FILES, METADATA
from alliance.status import DETAILS_METADATA

TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`responses` are the serialised messages until the first error; a stream is read to its first message."""

    code: grpc.StatusCode
    message: str
    infos: list[error_details_pb2.ErrorInfo]
    responses: list[bytes]

    @property
    def reason(self) -> str:
        """The reason of the error that the hub itself gave; empty where none of ours came."""
        return self.infos[0].reason if self.infos else ""


def all_methods() -> dict[str, MethodDescriptor]:
    """`alliance.v1.KeyService/AddWraps` to its descriptor, for every service the hub offers."""
    return {
        f"{service.full_name}/{method.name}": method
        for file in (*FILES, health_pb2, reflection_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


def raw_call(
    opened: grpc.Channel,
    method: MethodDescriptor,
    raw: bytes = b"",
    *,
    metadata: Iterable[tuple[str, str]] = METADATA,
) -> Outcome:
    """Sends `raw` as the (only) request message of any kind of RPC."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    channel: Any = opened  # the stubs insist on serialisers, without which gRPC passes bytes on
    arguments: dict[str, Any] = {"timeout": TIMEOUT_S, "metadata": tuple(metadata)}
    responses: list[bytes] = []
    try:
        if method.client_streaming and method.server_streaming:
            _first(channel.stream_stream(path)(iter([raw]), **arguments), responses)
        elif method.client_streaming:
            responses.append(channel.stream_unary(path)(iter([raw]), **arguments))
        elif method.server_streaming:
            _first(channel.unary_stream(path)(raw, **arguments), responses)
        else:
            responses.append(channel.unary_unary(path)(raw, **arguments))
    except grpc.RpcError as error:
        return _failed(cast("grpc.Call", error), responses)
    return Outcome(code=grpc.StatusCode.OK, message="", infos=[], responses=responses)


def _first(stream: Any, responses: list[bytes]) -> None:
    messages: Iterator[bytes] = stream
    for message in messages:
        responses.append(message)
        stream.cancel()
        return


def _failed(call: grpc.Call, responses: list[bytes]) -> Outcome:
    infos = []
    for key, value in call.trailing_metadata() or ():
        if key == DETAILS_METADATA and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    infos.append(info)
    return Outcome(code=call.code(), message=call.details() or "", infos=infos, responses=responses)
