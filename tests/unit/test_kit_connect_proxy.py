"""The kit's proxy is one that a real gRPC channel works through."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tests.kit.connect_proxy import ConnectProxy


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a gRPC server that answers with what it was asked."""
    handler = grpc.method_handlers_generic_handler(
        "kit.Echo", {"Say": grpc.unary_unary_rpc_method_handler(lambda request, context: request)}
    )
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, handlers=[handler])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield port
        server.stop(None).wait()


@pytest.fixture(autouse=True)
def no_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC goes around every proxy for a target these name, and machines name loopback in them."""
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy", "NO_GRPC_PROXY"):
        monkeypatch.delenv(name, raising=False)


def as_bytes(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
    return channel.unary_unary("/kit.Echo/Say", bytes, bytes)


def say(word: bytes, *, port: int, proxy: ConnectProxy) -> bytes:
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.http_proxy", proxy.url)]) as channel:
        return as_bytes(channel)(word, timeout=5)


def test_a_call_goes_through_and_is_counted(port: int) -> None:
    with ConnectProxy() as proxy:
        assert say(b"hello", port=port, proxy=proxy) == b"hello"
        assert proxy.targets == [f"127.0.0.1:{port}"]
        assert proxy.connections == 1
        assert proxy.carried_bytes > len("hello") * 2


def test_a_refusing_proxy_lets_nothing_through(port: int) -> None:
    with ConnectProxy(refuse=True) as proxy:
        with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
            say(b"hello", port=port, proxy=proxy)
        assert (proxy.connections, proxy.refused > 0) == (0, True)


def test_only_loopback_is_reachable() -> None:
    with (
        ConnectProxy() as proxy,
        grpc.insecure_channel("192.0.2.1:443", options=[("grpc.http_proxy", proxy.url)]) as channel,
    ):
        with pytest.raises(grpc.RpcError):
            as_bytes(channel)(b"hello", timeout=5)
        assert (proxy.connections, proxy.refused > 0) == (0, True)


def test_a_target_that_does_not_answer_is_a_bad_gateway() -> None:
    with ConnectProxy() as proxy:
        with pytest.raises(grpc.RpcError):
            say(b"hello", port=1, proxy=proxy)
        assert (proxy.connections, proxy.refused > 0) == (0, True)
