"""Something that speaks TLS and gRPC at a hub's address, and answers with whatever bytes and metadata a test gives it.

It keeps to no rule of ours: what a real hub never sends, however its database is rewritten (`lying_hub`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from bench.peers.certificate import self_signed

# Answers one call with the bytes of its messages, and with whatever else it does to the call.
Answer = Callable[[Any], Iterable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileHub:
    """`answer` may be replaced between calls; `roots` (PEM) is what a client trusts."""

    address: str
    roots: bytes
    answers: list[Answer]

    def will(self, answer: Answer) -> None:
        """Answers every call so from now on."""
        self.answers[:] = [answer]


class _Every(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # because only the stubs make it generic
    def __init__(self, answers: list[Answer]) -> None:
        self._answers = answers

    def service(self, handler_call_details: Any) -> Any:
        """A unary call is on the wire a stream of one message, so that this serves both."""
        return grpc.unary_stream_rpc_method_handler(
            lambda raw, context: iter(self._answers[0](context)),
            request_deserializer=lambda raw: raw,
            response_serializer=lambda raw: raw,
        )


@contextmanager
def hostile_hub() -> Iterator[HostileHub]:
    """Serves on loopback until the block ends."""
    private, pem = self_signed()
    answers: list[Answer] = [lambda context: ()]
    pool = futures.ThreadPoolExecutor(4)
    server = grpc.server(
        pool, handlers=[_Every(answers)], options=[("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
    )
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(private, pem)]))
    server.start()
    try:
        yield HostileHub(address=f"127.0.0.1:{port}", roots=pem, answers=answers)
    finally:
        server.stop(None).wait()
        pool.shutdown()
