"""Agents beside `bench.revocation`: each with a watch and an upload that sends nothing, telling when each is cut.

`python -m bench.peers.revocation_agents` reads join codes from standard input, one a line, to an empty line; enrols
them, opens both streams of each, prints "ready", and for every stream that ends "MEMBER REASON SECONDS", by the
machine's monotonic clock, which all its processes share. It ends when all streams have.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from alliance import canonical, channel, join_code, tls
from alliance.join_code import JoinCode
from alliance.status import from_rpc_error
from alliance.v1 import blob_pb2, enrolment_pb2, membership_pb2

SIZE = 1 << 20


class Agent:
    """A member's one agent: raw keys, no home, so that hundreds of them are made in seconds."""

    def __init__(self, code: JoinCode) -> None:
        self.member = code.member
        key, signing, sealing = tls.new_channel_key(), tls.new_channel_key(), X25519PrivateKey.generate()
        request = tls.certificate_request(key)
        identity = enrolment_pb2.MemberIdentity(
            signing_key=signing.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
            sealing_key=sealing.public_key().public_bytes_raw(),
        )
        signed = canonical.enrolment_bytes(
            code.alliance, code.member, canonical.sha256(request), identity.signing_key, identity.sealing_key
        )
        roots = code.ca.public_bytes(serialization.Encoding.PEM)
        opened = channel.open_channel(code.address, roots=roots)
        answer = channel.call(
            opened,
            enrolment_pb2.EnrolRequest(
                request_id=str(uuid.uuid4()),
                invitation_secret=code.secret,
                certificate_request=request,
                identity=identity,
                identity_signature=signing.sign(signed, ec.ECDSA(hashes.SHA256())),
            ),
            enrolment_pb2.EnrolResponse,
        )
        opened.close()
        self._address = answer.hub_address
        self._credentials = grpc.ssl_channel_credentials(
            roots, tls.private_pem(key), tls.chain_pem(list(answer.certificate_chain))
        )

    async def run(self, opened: asyncio.Semaphore) -> None:
        """Both streams to their end; `opened` counts those that are open."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.secure_channel(self._address, self._credentials, options=options) as to_hub:
            await asyncio.gather(self._watch(to_hub, opened), self._upload(to_hub, opened))

    async def _watch(self, to_hub: grpc.aio.Channel, opened: asyncio.Semaphore) -> None:
        request = membership_pb2.WatchRequest()
        call: Any = to_hub.unary_stream(
            channel.routes()[request.DESCRIPTOR.full_name],
            request_serializer=membership_pb2.WatchRequest.SerializeToString,
            response_deserializer=membership_pb2.WatchResponse.FromString,
        )(request, metadata=channel.METADATA)
        try:
            assert await call.read()
            opened.release()
            while await call.read():
                pass
        except grpc.RpcError as error:
            self._tell(error)

    async def _upload(self, to_hub: grpc.aio.Channel, opened: asyncio.Semaphore) -> None:
        async def parts() -> AsyncIterator[blob_pb2.UploadBlobRequest]:
            digest = canonical.sha256(self.member.encode())
            yield blob_pb2.UploadBlobRequest(header=blob_pb2.UploadHeader(digest=digest, size=SIZE))
            yield blob_pb2.UploadBlobRequest(chunk=b"x")
            opened.release()
            await asyncio.Event().wait()

        call: Any = to_hub.stream_unary(
            channel.routes()[blob_pb2.UploadBlobRequest.DESCRIPTOR.full_name],
            request_serializer=blob_pb2.UploadBlobRequest.SerializeToString,
            response_deserializer=blob_pb2.UploadBlobResponse.FromString,
        )(parts(), metadata=channel.METADATA)
        try:
            await call
        except grpc.RpcError as error:
            self._tell(error)

    def _tell(self, error: grpc.RpcError) -> None:
        print(self.member, from_rpc_error(error).reason, time.monotonic(), flush=True)


async def main(codes: list[JoinCode]) -> None:
    agents, opened = [Agent(code) for code in codes], asyncio.Semaphore(0)
    running = [asyncio.create_task(agent.run(opened)) for agent in agents]
    for _ in range(2 * len(agents)):
        await opened.acquire()
    print("ready", flush=True)
    await asyncio.gather(*running)


if __name__ == "__main__":
    asyncio.run(main([join_code.parse(line.strip()) for line in iter(sys.stdin.readline, "\n")]))
