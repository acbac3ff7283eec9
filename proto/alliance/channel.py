"""How a client dials the hub: one channel profile, one typed call, errors as the error tree.

Outbound only; an HTTP CONNECT proxy is taken from the argument or, as gRPC does, from `https_proxy`.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

import grpc
from google.protobuf.message import Message
from grpc.experimental import ChannelOptions

from alliance import chunks, release
from alliance.errors import Corrupt, Unavailable
from alliance.status import from_rpc_error
from alliance.v1 import (
    audit_pb2,
    blob_pb2,
    console_pb2,
    enrolment_pb2,
    federation_pb2,
    fingerprint_pb2,
    key_pb2,
    membership_pb2,
    pki_pb2,
)

R = TypeVar("R", bound=Message)
T = TypeVar("T")
# What signs a handshake, as gRPC calls it: the bytes, an algorithm, and where the signature or an error goes.
Sign = Callable[[bytes, object, Callable[[bytes | Exception], None]], Callable[[], None]]
FILES = (
    audit_pb2,
    blob_pb2,
    console_pb2,
    enrolment_pb2,
    federation_pb2,
    fingerprint_pb2,
    key_pb2,
    membership_pb2,
    pki_pb2,
)
METADATA = ((release.VERSION_METADATA, release.VERSION),)
_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", 8 << 20),
    # Nothing packed is asked for, and nothing is unpacked: gRPC would do it before it looks at the size, and refuses
    # what was not asked for only after it has begun.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    ("grpc.per_message_decompression", 0),
    # Notices a blackhole within 80 s instead of never.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Two identities in one process never share a connection.
    ("grpc.use_local_subchannel_pool", 1),
    # Whoever reads a stream waits for it itself, instead of for a thread that does.
    (ChannelOptions.SingleThreadedUnaryStream, 1),
)


@functools.cache
def routes() -> dict[str, str]:
    """Request message to RPC path; unique, since every RPC has its own request."""
    return {
        method.input_type.full_name: f"/{service.full_name}/{method.name}"
        for file in FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


def open_channel(
    address: str,
    *,
    roots: bytes,
    key: bytes | None = None,
    sign: Sign | None = None,
    chain: bytes | None = None,
    proxy: str = "",
) -> grpc.Channel:
    """A TLS channel that trusts `roots` only; with key and chain (PEM), a mutual one.

    Args:
        sign: instead of a key: signs for one that is not to be had. The channel must be closed: gRPC keeps the
            process until it is.
        proxy: "http://host:port" of an HTTP CONNECT proxy; empty follows the environment.
    """
    if sign is None:
        credentials = grpc.ssl_channel_credentials(root_certificates=roots, private_key=key, certificate_chain=chain)
    else:
        credentials = _signed_credentials(roots, sign, chain or b"")
    options = list(_OPTIONS)
    if proxy:
        options.append(("grpc.http_proxy", proxy))
    return grpc.secure_channel(address, credentials, options=options)


def _signed_credentials(roots: bytes, sign: Sign, chain: bytes) -> grpc.ChannelCredentials:
    """By gRPC's experimental way in (docs/adr/0014-authorities.md); the pinned version has it."""
    from grpc import experimental

    made: Any = experimental
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", made.ExperimentalApiWarning)
        credentials: grpc.ChannelCredentials = made.ssl_channel_credentials_with_custom_signer(
            private_key_sign_fn=sign, root_certificates=roots, certificate_chain=chain
        )
    return credentials


def call(channel: grpc.Channel, request: Message, response: type[R], *, timeout: float = 30.0) -> R:
    """A unary call. Raises: the AllianceError the hub answered with; Unavailable where none came."""
    method = channel.unary_unary(
        routes()[request.DESCRIPTOR.full_name],
        request_serializer=_bytes_of,
        response_deserializer=response.FromString,
    )
    return _translated(lambda: cast("R | None", method(request, timeout=timeout, metadata=METADATA)))


def stream_in(channel: grpc.Channel, requests: Iterable[Message | bytes], first: type[Message], response: type[R]) -> R:
    """A client-streaming call; `first` is the request type, and of that type are requests that are bytes already."""
    method = channel.stream_unary(
        routes()[first.DESCRIPTOR.full_name], request_serializer=_bytes_of, response_deserializer=response.FromString
    )
    return _translated(lambda: cast("R | None", method(iter(requests), metadata=METADATA)))


def stream_out(
    channel: grpc.Channel, request: Message, response: type[R], *, timeout: float | None = None
) -> Iterator[R]:
    """A server-streaming call; closing the iterator cancels it."""
    yield from _stream(channel, request, response.FromString, timeout)


def download(
    channel: grpc.Channel, request: blob_pb2.DownloadBlobRequest
) -> Iterator[blob_pb2.DownloadBlobResponse | memoryview]:
    """A blob: first a message with its size, then chunks."""
    kind = blob_pb2.DownloadBlobResponse
    yield from _stream(channel, request, lambda raw: chunks.view(kind, raw) or kind.FromString(raw))


def _stream(
    channel: grpc.Channel, request: Message, parse: Callable[[bytes], T], timeout: float | None = None
) -> Iterator[T]:
    method = channel.unary_stream(
        routes()[request.DESCRIPTOR.full_name], request_serializer=_bytes_of, response_deserializer=parse
    )
    stream: Any = method(request, timeout=timeout, metadata=METADATA)
    try:
        yield from stream
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error
    finally:
        stream.cancel()
        _drain(stream)


def _drain(stream: Any) -> None:
    """What a stream that is closed early still has in gRPC would stay there for as long as the process: nobody but its
    reader takes it. Of the pinned version's private parts; a contract test holds them."""
    while stream._state.due:
        stream._consume_next_event()


def _bytes_of(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else chunks.to_bytes(message)


def _translated(work: Callable[[], R | None]) -> R:
    try:
        answer = work()
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error
    except ValueError as error:
        # gRPC's word for a call on a closed channel.
        raise Unavailable("the connection was closed", reason="CHANNEL_CLOSED") from error
    if answer is None:
        # Well ended, with no message: gRPC lets it pass.
        raise Corrupt("the hub answered with nothing", reason="ANSWER_MISSING", remedy="tell the operator")
    return answer


def ready(channel: grpc.Channel, seconds: float) -> bool:
    """Whether a connection is up within the time."""
    future: Any = grpc.channel_ready_future(channel)
    try:
        future.result(timeout=seconds)
    except grpc.FutureTimeoutError:
        return False
    finally:
        future.cancel()
    return True
