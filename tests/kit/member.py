"""A member without an agent: real keys, a real certificate, and full control of every byte it sends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self, TypeVar

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from alliance import canonical, channel, tls
from alliance.join_code import JoinCode
from alliance.names import BankId, GroupId, MemberId
from alliance.v1 import blob_pb2, enrolment_pb2, fingerprint_pb2, key_pb2, membership_pb2
from tests.kit.keys import HPKE, Identity, KeyHolder, Sealed, explain_request, now, request_id

R = TypeVar("R", bound=Message)
CHUNK = 1 << 20


def enrol_request(
    code: JoinCode, identity: Identity, channel_key: ec.EllipticCurvePrivateKey
) -> enrolment_pb2.EnrolRequest:
    """What an honest agent sends to join."""
    certificate_request = tls.certificate_request(channel_key)
    signed = canonical.enrolment_bytes(
        code.alliance,
        code.member,
        canonical.sha256(certificate_request),
        identity.signing_key,
        identity.sealing_key,
    )
    return enrolment_pb2.EnrolRequest(
        request_id=request_id(),
        invitation_secret=code.secret,
        certificate_request=certificate_request,
        identity=enrolment_pb2.MemberIdentity(signing_key=identity.signing_key, sealing_key=identity.sealing_key),
        identity_signature=identity.sign(signed),
    )


def enrol_call(code: JoinCode, request: enrolment_pb2.EnrolRequest) -> enrolment_pb2.EnrolResponse:
    """Sends an enrolment to the listener the code names, trusting the CA it carries. Raises: AllianceError."""
    opened = channel.open_channel(code.address, roots=code.ca.public_bytes(serialization.Encoding.PEM))
    try:
        return channel.call(opened, request, enrolment_pb2.EnrolResponse)
    finally:
        opened.close()


class RawMember(KeyHolder):
    """An enrolled member and its one agent."""

    def __init__(
        self, enrolled: enrolment_pb2.EnrolResponse, identity: Identity, key: ec.EllipticCurvePrivateKey, roots: bytes
    ) -> None:
        super().__init__(MemberId(enrolled.member), identity)
        self.agent, self.address, self.log_key = enrolled.agent, enrolled.hub_address, enrolled.log_key
        self.roots = roots
        self.key_pem, self.chain_pem = tls.private_pem(key), tls.chain_pem(list(enrolled.certificate_chain))
        self.secrets: dict[tuple[GroupId, int], bytes] = {}
        self.channel = self.open_channel()

    @classmethod
    def enrol(cls, code: JoinCode, *, identity: Identity | None = None) -> Self:
        """Joins through the real RPC. Raises: AllianceError."""
        own, key = identity or Identity.generate(), tls.new_channel_key()
        enrolled = enrol_call(code, enrol_request(code, own, key))
        return cls(enrolled, own, key, code.ca.public_bytes(serialization.Encoding.PEM))

    def agent_request(
        self,
        alliance: str,
        *,
        agent: str = "",
        time: Timestamp | None = None,
        id: str = "",
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> enrolment_pb2.EnrolAgentRequest:
        """What a further or returning agent of this member sends; without `key`, one is made and thrown away."""
        made = enrolment_pb2.EnrolAgentRequest(
            request_id=id or request_id(),
            member=self.name,
            agent=agent,
            certificate_request=tls.certificate_request(key or tls.new_channel_key()),
            request_time=time or now(),
        )
        micros = made.request_time.seconds * 1_000_000 + made.request_time.nanos // 1000
        signed = canonical.agent_request_bytes(
            alliance, self.name, agent, made.request_id, canonical.sha256(made.certificate_request), micros
        )
        made.identity_signature = self.sign(signed)
        return made

    def explain_request(
        self, alliance: str, *, time: Timestamp | None = None
    ) -> enrolment_pb2.ExplainCertificateRequest:
        """The question about this agent's own certificate."""
        key = serialization.load_pem_private_key(self.key_pem, password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return explain_request(alliance, key, self.chain, time=time)

    @property
    def chain(self) -> list[bytes]:
        """The channel certificate and what is above it, DER."""
        return [one.public_bytes(serialization.Encoding.DER) for one in x509.load_pem_x509_certificates(self.chain_pem)]

    def change_request(self, alliance: str, new: Identity) -> enrolment_pb2.ChangeIdentityRequest:
        """What changes this member's identity to `new`."""
        digests = [canonical.identity_digest(one.signing_key, one.sealing_key) for one in (self.identity, new)]
        signed = canonical.identity_change_bytes(alliance, self.name, *digests)
        return enrolment_pb2.ChangeIdentityRequest(
            request_id=request_id(),
            identity=enrolment_pb2.MemberIdentity(signing_key=new.signing_key, sealing_key=new.sealing_key),
            former_signature=self.sign(signed),
            signature=new.sign(signed),
        )

    def further_agent(self, alliance: str, enrolment: grpc.Channel) -> RawMember:
        """A second agent of this member, with a channel key of its own. Raises: AllianceError."""
        key = tls.new_channel_key()
        answer = channel.call(enrolment, self.agent_request(alliance, key=key), enrolment_pb2.EnrolAgentResponse)
        enrolled = enrolment_pb2.EnrolResponse(
            member=self.name,
            agent=answer.agent,
            hub_address=answer.hub_address,
            log_key=answer.log_key,
            certificate_chain=answer.certificate_chain,
        )
        return RawMember(enrolled, self.identity, key, self.roots)

    def open_channel(self, address: str = "") -> grpc.Channel:
        """One more connection as this member; close it yourself."""
        return channel.open_channel(address or self.address, roots=self.roots, key=self.key_pem, chain=self.chain_pem)

    def reconnect(self, address: str) -> None:
        """Dials a hub that came back elsewhere."""
        self.close()
        self.address = address
        self.channel = self.open_channel()

    def close(self) -> None:
        self.channel.close()

    def call(self, request: Message, response: type[R], *, timeout: float = 30.0) -> R:
        """One call; a mutation without a request id gets a new one. Raises: AllianceError."""
        message: Any = request
        if "request_id" in request.DESCRIPTOR.fields_by_name and not message.request_id:
            message.request_id = request_id()
        return channel.call(self.channel, request, response, timeout=timeout)

    def create_epoch(self, group: GroupId, recipients: Sequence[RawMember], *, epoch: int = 1) -> bytes:
        """Starts an epoch for itself and `recipients`; returns its secret. Raises: AllianceError."""
        request, secret = self.epoch_request(group, [self, *recipients], epoch=epoch)
        self.call(request, key_pb2.CreateEpochResponse)
        self.secrets[group, epoch] = secret
        return secret

    def open_epoch(self, group: GroupId) -> bytes:
        """Fetches and opens this member's wrap of the current epoch. Raises: AllianceError."""
        found = self.call(key_pb2.GetGroupKeyRequest(group=group), key_pb2.GetGroupKeyResponse)
        info = canonical.wrap_info(group, found.wrap.epoch, self.name)
        secret = HPKE.decrypt(found.wrap.sealed, self.identity.sealing, info=info)
        assert canonical.epoch_commitment(group, found.wrap.epoch, secret) == found.epoch.commitment
        self.secrets[group, found.wrap.epoch] = secret
        return secret

    def upload(self, data: bytes, *, offset: int = 0, chunk: int = CHUNK) -> blob_pb2.UploadBlobResponse:
        """Sends the bytes from `offset` on as a blob. Raises: AllianceError."""
        header = blob_pb2.UploadHeader(digest=canonical.sha256(data), size=len(data), offset=offset)
        return self.upload_parts(header, [data[at : at + chunk] for at in range(offset, len(data), chunk)])

    def upload_parts(self, header: blob_pb2.UploadHeader, chunks: Sequence[bytes]) -> blob_pb2.UploadBlobResponse:
        """An upload stream as told, honest or not. Raises: AllianceError."""
        return channel.stream_in(
            self.channel, upload_messages(header, chunks), blob_pb2.UploadBlobRequest, blob_pb2.UploadBlobResponse
        )

    def download(self, digest: bytes, *, offset: int = 0) -> bytes:
        """Raises: AllianceError."""
        request = blob_pb2.DownloadBlobRequest(digest=digest, offset=offset)
        return b"".join(part.chunk for part in channel.stream_out(self.channel, request, blob_pb2.DownloadBlobResponse))

    def publish_sealed(self, sealed: Sealed, *, id: str = "") -> int:
        """Uploads and publishes; the batch's place in the bank. Raises: AllianceError."""
        self.upload(sealed.data)
        request = fingerprint_pb2.PublishBatchRequest(request_id=id, batch=self.signed(sealed.header))
        return self.call(request, fingerprint_pb2.PublishBatchResponse).seq

    def publish(self, bank: BankId, plaintext: bytes = b"sealed", *, rows: int = 1, epoch: int = 1) -> Sealed:
        """Seals any bytes and publishes them. Raises: AllianceError."""
        sealed = self.seal(bank, plaintext, rows=rows, epoch=epoch)
        self.publish_sealed(sealed)
        return sealed

    def withdraw(self, sealed: Sealed, rows: Sequence[int] = ()) -> int:
        """Raises: AllianceError."""
        request = fingerprint_pb2.WithdrawRowsRequest(tombstone=self.tombstone(sealed, rows))
        return self.call(request, fingerprint_pb2.WithdrawRowsResponse).seq

    def entries(self, bank: BankId, *, page_size: int = 0) -> list[fingerprint_pb2.BankEntry]:
        """The whole bank, page by page. Raises: AllianceError."""
        found: list[fingerprint_pb2.BankEntry] = []
        request = fingerprint_pb2.ListEntriesRequest(bank=bank, page_size=page_size)
        while True:
            page = self.call(request, fingerprint_pb2.ListEntriesResponse)
            found += page.entries
            request.page_token = page.next_page_token
            if not request.page_token:
                return found

    def leave(self) -> None:
        """Raises: AllianceError."""
        self.call(membership_pb2.LeaveAllianceRequest(), membership_pb2.LeaveAllianceResponse)


def upload_messages(header: blob_pb2.UploadHeader, chunks: Sequence[bytes]) -> Iterator[blob_pb2.UploadBlobRequest]:
    yield blob_pb2.UploadBlobRequest(header=header)
    for chunk in chunks:
        yield blob_pb2.UploadBlobRequest(chunk=chunk)
