"""The physical limit of a download: a grpc.aio server that streams 1 MiB chunks over mutual TLS, nothing else.

`python -m bench.peers.mtls_stream FOLDER MEGABYTES` reads key.pem, chain.pem and ca.pem in FOLDER, prints its
port and serves until it is killed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

METHOD = "/bench.Stream/Download"
CHUNK = bytes(range(256)) * 4096


async def serve(folder: Path, megabytes: int) -> None:
    async def download(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
        for _ in range(megabytes):
            yield CHUNK

    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler(
        "bench.Stream", {"Download": grpc.unary_stream_rpc_method_handler(download)}
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
