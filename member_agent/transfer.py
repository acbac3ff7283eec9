"""Large bytes to and from the hub: resumed where they broke off, checked by digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from alliance.errors import Corrupt
from alliance.names import Digest
from alliance.v1 import blob_pb2 as pb
from member_agent.hub_client import HubClient

CHUNK = 1 << 20


def upload(
    hub: HubClient,
    data: bytes,
    digest: Digest,
    *,
    content: str = "",
    progress: Callable[[int], None] = lambda bytes_: None,
) -> None:
    """Makes the hub hold `data`; asks first how much it has. Raises: AllianceError."""
    state = hub.call(pb.GetUploadRequest(digest=digest), pb.GetUploadResponse)
    if state.complete:
        return

    def parts() -> Iterator[pb.UploadBlobRequest]:
        offset = state.committed_size
        yield pb.UploadBlobRequest(header=pb.UploadHeader(digest=digest, size=len(data), offset=offset))
        for at in range(offset, len(data), CHUNK):
            chunk = data[at : at + CHUNK]
            yield pb.UploadBlobRequest(chunk=chunk)
            progress(len(chunk))

    hub.upload(parts(), pb.UploadBlobRequest, pb.UploadBlobResponse, content=content)


def download(hub: HubClient, digest: Digest, parts: Path) -> bytes:
    """The blob, from where an earlier download broke off; what is kept is under `parts` until complete.

    Raises: Corrupt for bytes of another digest (the part is dropped), AllianceError.
    """
    parts.mkdir(parents=True, exist_ok=True)
    part = parts / digest.hex()
    with part.open("ab") as file:
        request = pb.DownloadBlobRequest(digest=digest, offset=file.tell())
        for answer in hub.stream(request, pb.DownloadBlobResponse):
            file.write(answer.chunk)
    data = part.read_bytes()
    part.unlink()
    if hashlib.sha256(data).digest() != digest:
        raise Corrupt(
            "the hub sent bytes of another digest",
            reason="DIGEST_MISMATCH",
            remedy="sync again; if it stays, tell the operator",
        )
    return data
