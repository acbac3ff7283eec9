"""The gRPC edge: every RPC passes one pipeline, so no service can forget a check.

bytes -> peer from the certificate -> caller and standing -> access table -> client version -> parse
-> (request id replay) -> method -> response -> commit. A unary RPC is one transaction in a bounded worker
pool, so services and stores are plain synchronous code; streams get a `Session` that re-checks the caller.
Requests are parsed here and not by gRPC, which would answer garbage with UNKNOWN and a class name.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar

import grpc
import structlog
from cryptography import x509
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from sqlalchemy import Connection

from alliance import chunks, release
from alliance.errors import AllianceError, InvalidInput, NotAuthenticated
from alliance.status import DETAILS_METADATA, code_of, to_status
from alliance.tls import Peer, peer_of
from hub.runtime import access, idempotency
from hub.runtime.access import Listener
from hub.runtime.caller import ANONYMOUS, Caller
from hub.runtime.changes import Changes
from hub.runtime.clock import Clock, micros
from hub.runtime.closed import require_known
from hub.runtime.db import Database, RaceLost
from hub.runtime.limits import Limits
from hub.runtime.metrics import Metrics
from hub.runtime.streams import Streams

log = structlog.get_logger()
R = TypeVar("R")
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
if TYPE_CHECKING:
    _Interceptor = grpc.aio.ServerInterceptor[Any, Any]
    Handler: TypeAlias = grpc.GenericRpcHandler[Any, Any]
    MethodHandler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
else:
    _Interceptor = grpc.aio.ServerInterceptor
Authenticate = Callable[[Connection, Peer], Caller]
# Raises where one console user may not do it alone.
RequireOne = Callable[[Connection, str, Message], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What the edge needs of the hub; built by `hub.serving`."""

    alliance: str
    db: Database
    pool: Executor
    clock: Clock
    metrics: Metrics
    changes: Changes
    authenticate: Authenticate
    require_one_suffices: RequireOne
    streams: Streams
    limits: Limits


class Session:
    """A stream's caller, re-checked as the stream goes, and the way to the worker pool."""

    def __init__(self, runtime: Runtime, method: str, listener: Listener, peer: Peer | None, caller: Caller) -> None:
        self.caller = caller
        self.peer = peer
        self.runtime = runtime
        self._method, self._listener = method, listener
        self._admit = functools.partial(_admit, runtime, method, listener, peer)
        self._seen: int | None = None

    async def recheck(self) -> None:
        """Call per stream message, so that expiry and standing bite at once. Raises: NotAuthenticated, NotPermitted."""
        # Where nothing was committed since the last time, only the clock can have changed the answer.
        state = self.runtime.db.state
        if state is None or state != self._seen:
            self.caller = await self.read(self._admit)
            self._seen = state
        elif self.peer is not None:
            self.peer.require_valid(self.runtime.clock())

    def checked(self, callers: Mapping[Peer, Caller | AllianceError]) -> Caller:
        """The caller, of what was found of several certificates at once. Raises: NotAuthenticated, NotPermitted."""
        if self.peer is None:
            raise NotAuthenticated("a certificate is needed")
        return access.require(self._method, self._listener, self.peer, callers[self.peer], self.runtime.clock())

    async def read(self, work: Callable[[Connection], R]) -> R:
        return await self._run(self.runtime.db.read, work)

    async def write(self, work: Callable[[Connection], R]) -> R:
        """For short work: it may share its commit."""
        return await self._run(functools.partial(self.runtime.db.write, shared=True), work)

    async def off_loop(self, work: Callable[[], R]) -> R:
        """Blocking work that needs no transaction."""
        return await asyncio.get_running_loop().run_in_executor(self.runtime.pool, work)

    async def _run(self, transaction: Callable[[], Any], work: Callable[[Connection], R]) -> R:
        def call() -> R:
            with transaction() as tx:
                return work(tx)

        return await self.off_loop(call)


class Edge:
    """Turns a service's descriptor and its methods into gRPC handlers.

    A unary method is `def name(tx, caller, request) -> response`; a streaming one is `async`, and takes
    `(session, request)` or `(session, requests)`. `name` is the RPC's name in snake_case. Of requests, what is nothing
    but a chunk of a blob comes as a view of it; of responses, what is bytes already goes as it is (`alliance.chunks`).
    """

    def __init__(self, runtime: Runtime, listener: Listener) -> None:
        self._runtime = runtime
        self._listener = listener

    def handler(self, service: ServiceDescriptor, target: object, *, committed: Callable[[], None]) -> Handler:
        """`committed` is called on the event loop after every mutation of this service."""
        methods = {method.name: self._method(service, method, target, committed) for method in service.methods}
        return grpc.method_handlers_generic_handler(service.full_name, methods)

    def _method(
        self, service: ServiceDescriptor, method: MethodDescriptor, target: object, committed: Callable[[], None]
    ) -> MethodHandler:
        name = f"{service.full_name}/{method.name}"
        parse = parser(method)
        call = implementation(target, method)
        if method.client_streaming:
            return grpc.stream_unary_rpc_method_handler(functools.partial(self._stream_in, name, parse, call))
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(functools.partial(self._stream_out, name, parse, call))
        told = committed if "request_id" in method.input_type.fields_by_name else None
        return grpc.unary_unary_rpc_method_handler(functools.partial(self._unary, name, parse, call, told))

    async def _unary(
        self,
        name: str,
        parse: Callable[[bytes], Message],
        call: Any,
        committed: Callable[[], None] | None,
        raw: bytes,
        context: Context,
    ) -> bytes:
        """A mutation where there is somebody to tell that it committed."""
        runtime, mutates = self._runtime, committed is not None

        def attempt() -> bytes:
            peer = _peer(context, runtime.alliance)
            _require_rate(runtime, peer, context)
            with runtime.db.write(shared=True) if mutates else runtime.db.read() as tx:
                caller = _admit(runtime, name, self._listener, peer, tx)
                runtime.limits.call(caller.name, name)
                _check_version(context)
                request = parse(raw)
                if mutates:
                    answer = _once(tx, runtime, caller, name, request, call)
                else:
                    answer = bytes(call(tx, caller, request).SerializeToString())
            runtime.limits.moved(caller.name, len(raw) + len(answer))
            return answer

        def work() -> bytes:
            try:
                return attempt()
            except RaceLost:
                # The winner has committed, so that this time the checks see it and say what is wrong.
                return attempt()

        async with _Observed(runtime.metrics, name, context):
            response = await asyncio.get_running_loop().run_in_executor(runtime.pool, work)
            if committed is not None:
                committed()
            return response

    async def _stream_in(
        self, name: str, parse: Callable[[bytes], Message], call: Any, requests: AsyncIterator[bytes], context: Context
    ) -> bytes:
        runtime = self._runtime

        async def parsed() -> AsyncIterator[Message]:
            async for raw in requests:
                yield parse(raw)
                await runtime.limits.slow_down(session.caller.name, len(raw))

        async with _Observed(runtime.metrics, name, context):
            session = await self._session(name, context)
            with runtime.limits.stream(session.caller.name):
                async with runtime.streams.opened(name, self._listener, session.peer):
                    response = await call(session, parsed())
            return bytes(response.SerializeToString())

    async def _stream_out(
        self, name: str, parse: Callable[[bytes], Message], call: Any, raw: bytes, context: Context
    ) -> None:
        """Writes instead of yielding, so that a cut reaches it also while its reader does not read."""
        runtime = self._runtime
        async with _Observed(runtime.metrics, name, context):
            session = await self._session(name, context)
            with runtime.limits.stream(session.caller.name):
                async with (
                    runtime.streams.opened(name, self._listener, session.peer),
                    contextlib.aclosing(call(session, parse(raw))) as responses,
                ):
                    async for response in responses:
                        written = response if isinstance(response, bytes) else response.SerializeToString()
                        await context.write(written)
                        await runtime.limits.slow_down(session.caller.name, len(written))

    async def _session(self, name: str, context: Context) -> Session:
        session = await _session(self._runtime, name, self._listener, context)
        _check_version(context)
        return session


class Guard(_Interceptor):
    """Puts library services (health, reflection) behind the same table; our own go through `Edge`."""

    def __init__(self, runtime: Runtime, listener: Listener) -> None:
        self._runtime = runtime
        self._listener = listener

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(details)
        name = details.method.lstrip("/")
        if handler is None or name.startswith("alliance."):
            return handler
        parse = functools.partial(_parsed_by, handler.request_deserializer)

        async def unary(raw: bytes, context: Context) -> Any:
            async with _Observed(self._runtime.metrics, name, context):
                await _session(self._runtime, name, self._listener, context)
                return await handler.unary_unary(parse(raw), context)

        async def stream(raw: Any, context: Context) -> None:
            async with _Observed(self._runtime.metrics, name, context):
                session = await _session(self._runtime, name, self._listener, context)
                with self._runtime.limits.stream(session.caller.name):
                    async with self._runtime.streams.opened(name, self._listener, session.peer):
                        if handler.request_streaming:
                            answer = handler.stream_stream((parse(one) async for one in raw), context)
                        else:
                            answer = handler.unary_stream(parse(raw), context)
                        # A library's handler either writes to the context or yields.
                        if inspect.isawaitable(answer):
                            await answer
                            return
                        async for response in answer:
                            await context.write(response)

        make = {
            (False, False): (grpc.unary_unary_rpc_method_handler, unary),
            (False, True): (grpc.unary_stream_rpc_method_handler, stream),
            (True, True): (grpc.stream_stream_rpc_method_handler, stream),
        }[(handler.request_streaming, handler.response_streaming)]
        return make[0](make[1], None, handler.response_serializer)


class _Observed:
    """Turns what goes wrong into a status, and counts what happened."""

    def __init__(self, metrics: Metrics, name: str, context: Context) -> None:
        self._metrics, self._name, self._context = metrics, name, context

    async def __aenter__(self) -> None:
        self._start = time.perf_counter()

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        code = "OK"
        try:
            if isinstance(error, AllianceError):
                code = code_of(error).name
                log.info("rpc_refused", method=self._name, reason=error.reason, code=code)
                await _abort(self._context, error)
            elif isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
                code = "INTERNAL"
                reference = uuid.uuid4().hex[:12]
                log.error("rpc_failed", method=self._name, reference=reference, exc_info=error)
                await _abort(self._context, AllianceError(f"internal error {reference}", remedy="tell the operator"))
            elif error is not None:
                code = "CANCELLED"
        finally:
            self._metrics.calls.labels(self._name, code).inc()
            self._metrics.seconds.labels(self._name).observe(time.perf_counter() - self._start)


async def _abort(context: Context, error: AllianceError) -> NoReturn:
    details = (DETAILS_METADATA, to_status(error).SerializeToString())
    await context.abort(code_of(error), error.message, (details,))
    raise AssertionError("abort raises")


def _admit(runtime: Runtime, name: str, listener: Listener, peer: Peer | None, tx: Connection) -> Caller:
    """The certificate's validity, the caller's standing and the access table, in that order."""
    caller = ANONYMOUS
    if peer is not None:
        peer.require_valid(runtime.clock())
        caller = runtime.authenticate(tx, peer)
    access.rule(name).check(caller, listener)
    return caller


async def _session(runtime: Runtime, name: str, listener: Listener, context: Context) -> Session:
    """A stream's, or a library's call's. Raises: what `_admit` raises, LimitExceeded."""
    peer = _peer(context, runtime.alliance)
    _require_rate(runtime, peer, context)
    session = Session(runtime, name, listener, peer, ANONYMOUS)
    await session.recheck()
    runtime.limits.call(session.caller.name, name)
    return session


def _require_rate(runtime: Runtime, peer: Peer | None, context: Context) -> None:
    """Before any work is done; what a revoked agent calls in its member's name is not counted to the member."""
    if peer is None:
        runtime.limits.enrolment_call(context.peer())
    else:
        runtime.limits.require_call(peer.name)


def _once(tx: Connection, runtime: Runtime, caller: Caller, name: str, request: Any, call: Any) -> bytes:
    """A mutation under its request id: replayed, or done and remembered in this transaction."""
    body = request.SerializeToString(deterministic=True)
    key = {"caller": caller.name, "method": name, "request_id": request.request_id, "body": body}
    stored = idempotency.replay(tx, **key)
    if stored is not None:
        return stored
    runtime.require_one_suffices(tx, name, request)
    response = bytes(call(tx, caller, request).SerializeToString())
    idempotency.remember(tx, **key, response=response, now=micros(runtime.clock()))
    return response


def implementation(target: object, method: MethodDescriptor) -> Any:
    """What a service's object does for an RPC."""
    return getattr(target, _snake(method.name))


def parser(method: MethodDescriptor) -> Callable[[bytes], Message]:
    """Bytes to the RPC's request. Raises: InvalidInput."""
    return functools.partial(_parse, GetMessageClass(method.input_type))


def _parse(cls: type[Message], raw: bytes) -> Any:
    if (chunk := chunks.view(cls, raw)) is not None:
        return chunk
    message = _parsed_by(cls.FromString, raw)
    require_known(message)
    return message


def _parsed_by(parse: Callable[[bytes], Message], raw: bytes) -> Message:
    try:
        return parse(raw)
    except DecodeError as error:
        raise InvalidInput(
            "the request is not a valid message", reason="MESSAGE_MALFORMED", remedy="use the published contract"
        ) from error


def _check_version(context: Context) -> None:
    for key, value in context.invocation_metadata() or ():
        if key == release.VERSION_METADATA:
            release.require_supported(str(value))


def _peer(context: Context, alliance: str) -> Peer | None:
    certificates = list(context.auth_context().get("x509_pem_cert", ()))
    return _peer_of_pem(certificates[0], alliance) if certificates else None


@functools.lru_cache(maxsize=4096)
def _peer_of_pem(pem: bytes, alliance: str) -> Peer:
    # Parsing costs 17 us and the same certificate comes with every call of a connection.
    return peer_of(x509.load_pem_x509_certificate(pem), alliance=alliance)


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_")
