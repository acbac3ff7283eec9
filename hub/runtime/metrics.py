"""Prometheus metrics of the hub, served on a loopback port of their own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server


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

    def serve(self, address: str) -> int:
        """Serves /metrics; returns the port bound (for ":0")."""
        host, _, port = address.rpartition(":")
        server, _thread = start_http_server(int(port), host or "127.0.0.1", registry=self.registry)
        return int(server.server_port)
