"""The physical limit of a transfer: a grpc.aio server that streams 1 MiB chunks over mutual TLS, nothing else.

`python -m bench.peers.mtls_stream FOLDER BYTES` reads key.pem, chain.pem and ca.pem in FOLDER, prints its port and
serves until it is killed. A download sends BYTES bytes; an upload is discarded but for its SHA-256, the answer; Digest
answers with that of BYTES bytes, which a hub takes of every model it makes.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc

DOWNLOAD, UPLOAD, DIGEST = (f"/bench.Stream/{name}" for name in ("Download", "Upload", "Digest"))
CHUNK = bytes(range(256)) * 4096


def chunks(size: int) -> Iterator[bytes]:
    """So many bytes in chunks of 1 MiB and what is left."""
    for _ in range(size // len(CHUNK)):
        yield CHUNK
    if size % len(CHUNK):
        yield CHUNK[: size % len(CHUNK)]


def digest_of(size: int) -> bytes:
    """SHA-256 of so many bytes."""
    digest = hashlib.sha256()
    for chunk in chunks(size):
        digest.update(chunk)
    return digest.digest()


async def serve(folder: Path, size: int) -> None:
    async def download(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
        for chunk in chunks(size):
            yield chunk

    async def upload(requests: AsyncIterator[bytes], _context: Any) -> bytes:
        digest = hashlib.sha256()
        async for chunk in requests:
            digest.update(chunk)
        return digest.digest()

    async def own_digest(_request: bytes, _context: Any) -> bytes:
        return digest_of(size)

    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler(
        "bench.Stream",
        {
            "Download": grpc.unary_stream_rpc_method_handler(download),
            "Upload": grpc.stream_unary_rpc_method_handler(upload),
            "Digest": grpc.unary_unary_rpc_method_handler(own_digest),
        },
    )
    server.add_generic_rpc_handlers((handler,))
    key, chain, ca = ((folder / name).read_bytes() for name in ("key.pem", "chain.pem", "ca.pem"))
    credentials = grpc.ssl_server_credentials([(key, chain)], root_certificates=ca, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
