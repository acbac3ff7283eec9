"""A member beside `mtls_stream`: takes or sends one model at a word on standard input, and says when it is done.

`python -m bench.peers.mtls_member HOME PORT BYTES` connects with the member's own certificate, prints "ready", and for
every line "down" or "up" moves BYTES bytes, prints the seconds it took, and goes on until its input ends. What comes
down is discarded but for its SHA-256; the SHA-256 of what goes up is taken first, for that is its name. "digest" has
the server take that of as many bytes.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

import grpc
from cryptography.hazmat.primitives import serialization

from alliance import channel, tls
from bench.peers.mtls_stream import DIGEST, DOWNLOAD, UPLOAD, chunks, digest_of
from member_agent.app import Agent, open_agent
from member_agent.config import Home


def connect(agent: Agent, port: int) -> grpc.Channel:
    """As the agent itself connects to the hub, to the server of `kit.write_peer_keys`, beside the agent's home."""
    key = serialization.load_der_private_key(agent.secrets.channel_key, password=None)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    roots = (agent.home.path.parent / "chain.pem").read_bytes()
    return channel.open_channel(f"127.0.0.1:{port}", roots=roots, key=pem, chain=tls.chain_pem(agent.secrets.chain))


def download(opened: grpc.Channel) -> bytes:
    digest = hashlib.sha256()
    for chunk in opened.unary_stream(DOWNLOAD, bytes, bytes)(b""):
        digest.update(chunk)
    return digest.digest()


def upload(opened: grpc.Channel, size: int) -> None:
    wanted = digest_of(size)
    assert opened.stream_unary(UPLOAD, bytes, bytes)(chunks(size)) == wanted


def main(home: Home, port: int, size: int) -> None:
    with open_agent(home) as agent:
        opened = connect(agent, port)
        assert channel.ready(opened, 20.0)
        print("ready", flush=True)
        for line in sys.stdin:
            start = time.perf_counter()
            match line.strip():
                case "down":
                    download(opened)
                case "up":
                    upload(opened, size)
                case "digest":
                    opened.unary_unary(DIGEST, bytes, bytes)(b"")
            print(time.perf_counter() - start, flush=True)
        opened.close()


if __name__ == "__main__":
    main(Home(path=Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3]))
