"""The two listeners: main (mutual TLS) and enrolment (server TLS), with limits that hold off abuse."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from alliance.errors import FailedPrecondition
from hub.runtime.edge import Guard

# Half-open sockets, endless metadata, oversized messages and immortal connections end here
# (docs/adr/0001-one-house.md has the measurements behind the numbers).
OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.server_handshake_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.max_metadata_size", 16 << 10),
    # None at all: gRPC unpacks a message before it looks at its size, and 4 MiB of gzip hold 4 GiB of zeros.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    ("grpc.max_connection_age_ms", 30 * 60_000),
    ("grpc.max_connection_age_grace_ms", 30_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Two hubs must never share a port by accident.
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The hub's server key and chain, and the roots that member certificates must chain to; all PEM."""

    key: bytes
    chain: bytes
    roots: bytes


class Credentials:
    """What the listeners show, and whom they trust, at each new handshake.

    `replace` needs no restart and touches no open connection: TLS looks at a certificate at the handshake only.
    """

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    @property
    def identity(self) -> Identity:
        return self._identity

    def replace(self, identity: Identity) -> None:
        """From the next handshake on; from any thread."""
        self._identity = identity

    def of_listener(self, *, client_certificates: bool) -> grpc.ServerCredentials:
        """Asked anew by gRPC before every handshake, in a thread of its own."""
        shown, lock = self._identity, threading.Lock()

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal shown
            with lock:
                if shown is self._identity:
                    return None  # gRPC's word for "as before"
                shown = self._identity
                return _configuration(shown, client_certificates=client_certificates)

        return grpc.dynamic_ssl_server_credentials(
            _configuration(shown, client_certificates=client_certificates),
            fetch,  # type: ignore[arg-type]  # because the stubs forgot that None means unchanged
            require_client_authentication=client_certificates,
        )


def _configuration(identity: Identity, *, client_certificates: bool) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(identity.key, identity.chain)], root_certificates=identity.roots if client_certificates else None
    )


def build(
    address: str,
    credentials: Credentials,
    *,
    client_certificates: bool,
    interceptors: Sequence[Guard] = (),
) -> tuple[grpc.aio.Server, int]:
    """A server, not yet started, and the port it is bound to. Raises: FailedPrecondition if the port is taken."""
    server = grpc.aio.server(interceptors=list(interceptors), options=list(OPTIONS))
    try:
        port = server.add_secure_port(address, credentials.of_listener(client_certificates=client_certificates))
    except RuntimeError as error:
        raise FailedPrecondition(
            f"cannot listen on {address}", reason="ADDRESS_IN_USE", remedy="free the port, or set another address"
        ) from error
    return server, port
