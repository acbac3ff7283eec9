"""A real HTTP CONNECT proxy (RFC 9110 section 9.3.6) on loopback, as a company puts before its agents.

Promise: it listens on a free port of 127.0.0.1, tunnels to loopback addresses only, counts what it tunnelled,
and every socket is closed when the `with` block ends. It refuses everything if told to.

gRPC takes a proxy from the channel option `grpc.http_proxy`, else from `grpc_proxy`, `https_proxy`,
`http_proxy`; a target listed in `no_grpc_proxy` or `no_proxy` goes around it, whichever way it was named.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from asyncio import StreamReader, StreamWriter
from types import TracebackType
from typing import Self

HEAD_TIMEOUT_S = 5.0
CHUNK_BYTES = 65_536

_LOOPBACK = {"127.0.0.1", "localhost"}


class ConnectProxy:
    """A proxy in a thread of its own.

    Attributes:
        targets: the `host:port` of every tunnel that was opened, in order.
        refused: how many requests were turned away.
        carried_bytes: bytes that went through the tunnels, both ways.
    """

    def __init__(self, *, refuse: bool = False) -> None:
        self.targets: list[str] = []
        self.refused = 0
        self.carried_bytes = 0
        self._refuse = refuse
        self._port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="connect-proxy")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._tunnels: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        return len(self.targets)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(HEAD_TIMEOUT_S):
            raise AssertionError("the proxy did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        server.close()
        for tunnel in self._tunnels:
            tunnel.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)
        await server.wait_closed()

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.create_task(self._answer(reader, writer))
        self._tunnels.add(task)
        task.add_done_callback(self._tunnels.discard)

    async def _answer(self, reader: StreamReader, writer: StreamWriter) -> None:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(_close, writer)
            try:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_TIMEOUT_S)
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ConnectionError):
                return
            method, target, *_ = (*head.split(b"\r\n", 1)[0].decode("latin-1").split(" "), "", "")
            host, _, port = target.rpartition(":")
            if method != "CONNECT":
                await self._turn_away(writer, "405 Method Not Allowed")
                return
            if self._refuse or host not in _LOOPBACK or not port.isdigit():
                await self._turn_away(writer, "403 Forbidden")
                return
            try:
                far_reader, far_writer = await asyncio.open_connection(host, int(port))
            except OSError:
                await self._turn_away(writer, "502 Bad Gateway")
                return
            stack.push_async_callback(_close, far_writer)
            self.targets.append(target)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))

    async def _turn_away(self, writer: StreamWriter, status: str) -> None:
        self.refused += 1
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            await writer.drain()

    async def _carry(self, source: StreamReader, sink: StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await source.read(CHUNK_BYTES):
                self.carried_bytes += len(chunk)
                sink.write(chunk)
                await sink.drain()
        if sink.can_write_eof() and not sink.is_closing():
            with contextlib.suppress(OSError):
                sink.write_eof()


async def _close(writer: StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
