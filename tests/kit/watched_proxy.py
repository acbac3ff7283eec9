"""The kit's CONNECT proxy that also keeps every byte it carried, and cuts a tunnel when it is told to."""

from __future__ import annotations

import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable

from tests.kit.connect_proxy import CHUNK_BYTES, ConnectProxy


class WatchedProxy(ConnectProxy):
    """Attributes:
    seen: all bytes of all tunnels, as they came.
    cut: asked before bytes are passed on; once it says yes, they are dropped and the tunnel is closed.
    """

    def __init__(self, *, cut: Callable[[], bool] = lambda: False) -> None:
        super().__init__()
        self.seen = bytearray()
        self.cut = cut
        self.cuts = 0

    async def _carry(self, source: StreamReader, sink: StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await source.read(CHUNK_BYTES):
                if self.cut():
                    self.cuts += 1
                    sink.transport.abort()
                    return
                self.carried_bytes += len(chunk)
                self.seen += chunk
                sink.write(chunk)
                await sink.drain()
        if sink.can_write_eof() and not sink.is_closing():
            with contextlib.suppress(OSError):
                sink.write_eof()
