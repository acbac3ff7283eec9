"""Open streams, and the warden that ends those whose caller no longer counts.

A stream re-checks its caller as it goes (`Session`), but a silent one goes nowhere: an upload that sends nothing, a
download that its reader does not read, a health watch. So the callers of all open streams are looked up together once
a second (which also finds what happened at another hub process), and at once when this process changed a standing.
A hub that stops ends them all: a watch would hold the stop up for as long as it may. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy import Connection

from alliance.errors import AllianceError, Unavailable
from alliance.tls import Peer
from hub.runtime import access
from hub.runtime.access import Listener
from hub.runtime.caller import Caller
from hub.runtime.clock import Clock
from hub.runtime.db import Database

log = structlog.get_logger()
# How long at most until a change at another hub process is seen; and the least time between two looks.
SECONDS, LEAST_SECONDS = 1.0, 0.05
# Who each certificate speaks for, or why it speaks for nobody any more.
CallersOf = Callable[[Connection, Collection[Peer]], Mapping[Peer, Caller | AllianceError]]


class Stream:
    """One open stream, as an async context around its handler: once cut, whatever it waits for ends, and the context
    raises why. Like `asyncio.timeout`, it tells its own cancellation from the client's."""

    def __init__(self, streams: Streams, method: str, listener: Listener, peer: Peer | None) -> None:
        self.method, self.listener, self.peer = method, listener, peer
        self._streams = streams
        self._task: asyncio.Task[object] | None = None
        self._refused: AllianceError | None = None

    def cut(self, error: AllianceError) -> None:
        """Ends it with this error; only the first one counts."""
        if self._refused is None and self._task is not None:
            self._refused = error
            self._task.cancel()

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        self._streams.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._streams.discard(self)
        if self._refused is None:
            return
        assert self._task is not None
        if kind is not asyncio.CancelledError:
            # It ended by itself before it felt the cut: the cancellation that is under way must not hit gRPC.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        if self._task.uncancel() <= self._cancelling:
            raise self._refused from None


class Streams:
    """All streams that are open at this hub process."""

    def __init__(self, *, db: Database, pool: Executor, clock: Clock, callers: CallersOf) -> None:
        self._db, self._pool, self._clock, self.callers = db, pool, clock, callers
        self._open: set[Stream] = set()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def opened(self, method: str, listener: Listener, peer: Peer | None) -> Stream:
        """Use as an async context around the handler of a stream."""
        return Stream(self, method, listener, peer)

    def add(self, stream: Stream) -> None:
        self._open.add(stream)
        if self._stopping:
            stream.cut(_stopping())

    def discard(self, stream: Stream) -> None:
        self._open.discard(stream)

    def wake(self) -> None:
        """Somebody's standing or certificate changed here."""
        self._woken.set()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="stream-warden")

    async def stop(self) -> None:
        """Ends every stream, those included that are being opened."""
        self._stopping = True
        for stream in self._open:
            stream.cut(_stopping())
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SECONDS):
                    await self._woken.wait()
            self._woken.clear()
            if self._open:
                try:
                    await self._look()
                except AllianceError as error:
                    # Whoever sends or gets a message is still checked; the next look is soon.
                    log.error("streams_unchecked", reason=error.reason, message=error.message)
                except Exception as error:
                    log.error("streams_unchecked", exc_info=error)
            await asyncio.sleep(LEAST_SECONDS)

    async def _look(self) -> None:
        # Nobody's stream needs no look: what it may call asks for no certificate.
        streams = [(stream, stream.peer) for stream in self._open if stream.peer is not None]
        peers = {peer for _, peer in streams}

        def read() -> Mapping[Peer, Caller | AllianceError]:
            with self._db.read() as tx:
                return self.callers(tx, peers)

        callers = await asyncio.get_running_loop().run_in_executor(self._pool, read)
        now = self._clock()
        for stream, peer in streams:
            try:
                access.require(stream.method, stream.listener, peer, callers[peer], now)
            except AllianceError as error:
                log.info("stream_cut", method=stream.method, caller=peer.name, reason=error.reason)
                stream.cut(error)


def _stopping() -> Unavailable:
    return Unavailable("this hub stops", reason="HUB_STOPPING", remedy="connect again; go on where the stream was")
