"""Prometheus sees how the hub does, and not what its members do."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from alliance.errors import FailedPrecondition
from hub.runtime.metrics import Metrics
from tests.kit.alliance import alliance
from tests.kit.hub_process import free_address


def test_calls_bytes_and_leaves_are_counted_without_names(tmp_path: Path) -> None:
    address = free_address()
    with alliance(members=2, folder=tmp_path, metrics_address=address) as a:
        sealed = a.members[0].publish(a.bank, bytes(1000))
        a.members[1].download(sealed.header.digest)
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
            text = response.read().decode()
        publish = 'alliance_rpc_calls_total{code="OK",method="alliance.v1.FingerprintService/PublishBatch"} 1.0'
        assert publish in text
        for direction in ("in", "out"):
            assert f'alliance_blob_bytes_total{{direction="{direction}"}} {len(sealed.data)}.0' in text
        for name in (a.members[0].name, "member-0", a.bank, "everything"):
            assert name not in text
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://{address}/metrics", timeout=10)


def test_a_taken_port_is_said() -> None:
    metrics, other = Metrics(), Metrics()
    port = metrics.serve("127.0.0.1:0")
    try:
        with pytest.raises(FailedPrecondition) as caught:
            other.serve(f"127.0.0.1:{port}")
        assert caught.value.reason == "ADDRESS_IN_USE"
    finally:
        metrics.close()
