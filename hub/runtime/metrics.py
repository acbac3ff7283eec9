"""Prometheus metrics of the hub, served on a loopback port of their own."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from alliance.errors import FailedPrecondition


class Metrics:
    """One registry per hub, so that two hubs in one process (tests) do not share counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Counter(
            "alliance_rpc_calls", "RPCs by method and outcome", ["method", "code"], registry=self.registry
        )
        self.seconds = Histogram("alliance_rpc_seconds", "RPC latency in seconds", ["method"], registry=self.registry)
        self.blob_bytes = Counter("alliance_blob_bytes", "Blob bytes moved", ["direction"], registry=self.registry)
        self.watchers = Gauge("alliance_watchers", "Open watch streams", registry=self.registry)
        self.audit_size = Gauge("alliance_audit_leaves", "Leaves in the audit log", registry=self.registry)

        self._closers: list[Callable[[], None]] = []

    def serve(self, address: str) -> int:
        """Serves /metrics until `close`; returns the port bound (for ":0"). Raises: FailedPrecondition."""
        host, _, port = address.rpartition(":")
        try:
            server, thread = start_http_server(int(port), host or "127.0.0.1", registry=self.registry)
        except OSError as error:
            raise FailedPrecondition(
                f"cannot serve metrics on {address}: {error.strerror}",
                reason="ADDRESS_IN_USE",
                remedy="free the port, or set another address",
            ) from error
        self._closers += [server.shutdown, thread.join, server.server_close]
        return int(server.server_port)

    def close(self) -> None:
        while self._closers:
            self._closers.pop(0)()
