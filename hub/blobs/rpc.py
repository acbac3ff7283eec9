"""BlobService: streams, so these methods are async and hand blocking work to the pool."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import ExitStack

from sqlalchemy import Connection

from alliance import chunks
from alliance.errors import InvalidInput, LimitExceeded
from alliance.names import Digest, MemberId, digest
from alliance.v1 import blob_pb2 as pb
from hub.blobs.files import CHUNK, chunk_at_hand, read_chunk
from hub.blobs.service import BlobService
from hub.runtime.caller import Caller
from hub.runtime.edge import Session


class BlobRpc:
    def __init__(self, service: BlobService) -> None:
        self._service = service

    def get_upload(self, tx: Connection, caller: Caller, request: pb.GetUploadRequest) -> pb.GetUploadResponse:
        wanted = digest(request.digest)
        found = self._service.uploaded(tx, caller.member, wanted)
        if found is not None:
            return pb.GetUploadResponse(committed_size=found.size, complete=True)
        return pb.GetUploadResponse(committed_size=self._service.files.part_size(caller.member, wanted))

    async def upload_blob(
        self, session: Session, requests: AsyncIterator[pb.UploadBlobRequest | memoryview]
    ) -> pb.UploadBlobResponse:
        """Appends chunks as they come, so that what arrived before a break is kept."""
        member, header = session.caller.member, await _header(requests)
        wanted = digest(header.digest, field="header.digest")
        self._service.check_size(header.size)
        service = self._service
        found, held = await session.read(lambda tx: (service.uploaded(tx, member, wanted), service.held(tx, member)))
        if found is not None:
            return pb.UploadBlobResponse(committed_size=found.size, complete=True)
        with service.pending.reserved(member, wanted, header.size, held=held):
            size = await self._append(session, requests, member, wanted, header)
            if size < header.size:
                return pb.UploadBlobResponse(committed_size=size)
            await session.write(lambda tx: service.register(tx, member, wanted, size))
        session.runtime.metrics.blob_bytes.labels("in").inc(size)
        return pb.UploadBlobResponse(committed_size=size, complete=True)

    async def _append(
        self,
        session: Session,
        requests: AsyncIterator[pb.UploadBlobRequest | memoryview],
        member: MemberId,
        wanted: Digest,
        header: pb.UploadHeader,
    ) -> int:
        with ExitStack() as stack:
            files = self._service.files
            part = await session.off_loop(lambda: stack.enter_context(files.open_part(member, wanted)))
            size = part.size
            if header.offset != size:
                raise InvalidInput(
                    f"the hub holds {size} bytes of it",
                    reason="UPLOAD_OFFSET",
                    field="header.offset",
                    remedy="ask GetUpload and resume there",
                )
            async for request in requests:
                await session.recheck()
                chunk = request if isinstance(request, memoryview) else request.chunk
                if not 0 < len(chunk) <= CHUNK:
                    raise LimitExceeded(f"a chunk has 1 to {CHUNK} bytes", reason="CHUNK_SIZE", field="chunk")
                if size + len(chunk) > header.size:
                    raise InvalidInput("more bytes than announced", reason="UPLOAD_TOO_LONG", field="chunk")
                await session.off_loop(lambda chunk=chunk: part.append(chunk))  # type: ignore[misc]  # because mypy cannot infer a bound default
                size += len(chunk)
            if size == header.size:
                # Still locked: nothing may be appended to what is about to be a blob.
                await session.off_loop(lambda: files.complete(part, member, wanted))
            return size

    async def download_blob(
        self, session: Session, request: pb.DownloadBlobRequest
    ) -> AsyncIterator[pb.DownloadBlobResponse | bytes]:
        member, wanted = session.caller.member, digest(request.digest)
        blob = await session.read(lambda tx: self._service.readable(tx, member, wanted))
        if not 0 <= request.offset <= blob.size:
            raise InvalidInput(f"the blob has {blob.size} bytes", reason="DOWNLOAD_OFFSET", field="offset")
        offset = request.offset
        yield pb.DownloadBlobResponse(size=blob.size)
        with ExitStack() as stack:
            file = await session.off_loop(lambda: stack.enter_context(self._service.files.open(wanted)))
            room = bytearray(CHUNK)
            while offset < blob.size:
                await session.recheck()
                # A hop to the pool costs as much as the chunk does, and a blob that many want is in memory.
                chunk: bytes | memoryview | None = chunk_at_hand(file, offset, room)
                if chunk is None:
                    chunk = await session.off_loop(functools.partial(read_chunk, file, offset))
                yield chunks.serialise(pb.DownloadBlobResponse, chunk)
                offset += len(chunk)
                session.runtime.metrics.blob_bytes.labels("out").inc(len(chunk))


async def _header(requests: AsyncIterator[pb.UploadBlobRequest | memoryview]) -> pb.UploadHeader:
    async for request in requests:
        if not isinstance(request, memoryview) and request.WhichOneof("part") == "header":
            return request.header
        break
    raise InvalidInput("an upload starts with a header", reason="UPLOAD_HEADER", field="header")
