"""The one way out: sends permitted messages to the hub, each in the ledger first.

Nothing here can reach the catalogue (an import contract holds it), and nothing is sent that
`egress.permit` did not pass.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from alliance import channel, release, tls
from alliance.errors import AllianceError, LimitExceeded, Unavailable
from alliance.v1 import blob_pb2, membership_pb2
from member_agent import channel_key, egress
from member_agent.clock import Clock, utc_now
from member_agent.config import Home, Settings
from member_agent.evidence import Transcript
from member_agent.keystore import Secrets
from member_agent.ledger import Ledger
from member_agent.token_key import Signer

R = TypeVar("R", bound=Message)
PAGE = 500
# How long a call waits in all where the hub asks it to.
PATIENCE_SECONDS = 30.0
_TLS_TROUBLE = (
    (
        "certificate is not yet valid",
        "by this machine's clock the hub's certificate is not valid yet",
        "CLOCK_SKEW",
        "synchronise the clock (NTP)",
    ),
    (
        "certificate has expired",
        "by this machine's clock the hub's certificate has expired",
        "CLOCK_SKEW",
        "synchronise the clock (NTP); if it is right, tell the operator",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the answer does not come from the alliance's CA",
        "HUB_UNTRUSTED",
        'exempt the hub from TLS inspection; see "alliance-agent doctor"',
    ),
)


class HubClient:
    """A mutual TLS connection as this agent; use as a context manager."""

    def __init__(
        self,
        opened: grpc.Channel,
        ledger: Ledger,
        *,
        clock: Clock = utc_now,
        transcript: Transcript | None = None,
        signer: Signer | None = None,
    ) -> None:
        self._channel = opened
        self._ledger = ledger
        self._clock = clock
        self._transcript = transcript or Transcript()
        self._signer = signer

    def call(self, request: Message, response: type[R], *, timeout: float = 30.0) -> R:
        """A unary call. Raises: NotPermitted before anything is sent; else what the hub answered."""
        permitted = self._passed(request)
        with self._explained():
            answer = _patient(lambda: channel.call(self._channel, permitted.message, response, timeout=timeout))
        self._transcript.heard(answer)
        return answer

    def pages(self, request: Any, response: type[R], items: Callable[[R], Any]) -> Iterator[Any]:
        """Every item of a paged list."""
        request.page_size = PAGE
        while True:
            page: Any = self.call(request, response)
            yield from items(page)
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    def upload(
        self, blob: egress.PermittedBlob, *, offset: int, progress: Callable[[int], None] = lambda bytes_: None
    ) -> blob_pb2.UploadBlobResponse:
        """Uploads a blob from `offset` on; in the ledger it is one line."""
        self._ledger.record_blob(blob, offset=offset, now=self._clock())
        parts, message, response = blob.parts(offset, progress), blob_pb2.UploadBlobRequest, blob_pb2.UploadBlobResponse
        with self._explained(), _unavailable_for_now():
            return channel.stream_in(self._channel, parts, message, response)

    def stream(self, request: Message, response: type[R], *, timeout: float | None = None) -> Iterator[R]:
        """A server-streaming call."""
        permitted = self._passed(request)
        with self._explained(), _unavailable_for_now():
            yield from channel.stream_out(self._channel, permitted.message, response, timeout=timeout)

    def download(
        self, request: blob_pb2.DownloadBlobRequest
    ) -> Generator[blob_pb2.DownloadBlobResponse | memoryview, None, None]:
        """A blob: a message with its size, then chunks; closing it ends the call."""
        self._passed(request)
        with self._explained(), _unavailable_for_now():
            yield from channel.download(self._channel, request)

    def handshake(self) -> membership_pb2.HandshakeResponse:
        """Says hello. Raises: FailedPrecondition where this agent is too old."""
        request = membership_pb2.HandshakeRequest(client_version=release.VERSION)
        return self.call(request, membership_pb2.HandshakeResponse)

    def ready(self, seconds: float) -> bool:
        """Whether a connection is up within the time. Raises: the error of a token that does not sign for it."""
        up = channel.ready(self._channel, seconds)
        if not up and (unsigned := self._unsigned()) is not None:
            raise unsigned
        return up

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> HubClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _unsigned(self) -> AllianceError | None:
        """Why the token did not sign the last handshake, if it did not."""
        return self._signer.failure if self._signer else None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Says of a connection that did not come about what its user can do: gRPC only quotes its TLS library."""
        try:
            yield
        except Unavailable as error:
            if (unsigned := self._unsigned()) is not None:
                raise unsigned from error
            if error.remedy:
                raise
            for quoted, message, reason, remedy in _TLS_TROUBLE:
                if quoted in error.message:
                    raise Unavailable(message, reason=reason, remedy=remedy) from error
            raise Unavailable(error.message, reason=error.reason, remedy='see "alliance-agent doctor"') from error

    def _passed(self, message: Message) -> egress.Permitted:
        permitted = egress.permit(message)
        self._ledger.record(permitted, now=self._clock())
        return permitted


def _patient(work: Callable[[], R]) -> R:
    """Waits as long as the hub asks for. Raises: Unavailable where it asks for too much: it is no fault of the call."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return work()
        except LimitExceeded as error:
            if not error.retry_seconds:
                raise
            # A little more than asked for, and not all at once.
            pause = error.retry_seconds * random.uniform(1.0, 1.5)  # noqa: S311  # because jitter is no secret
            if time.monotonic() + pause > ends:
                raise Unavailable(error.message, reason=error.reason, remedy=error.remedy) from error
            time.sleep(pause)


@contextmanager
def _unavailable_for_now() -> Iterator[None]:
    """Whoever opened the stream opens it again later, as after a lost connection."""
    try:
        yield
    except LimitExceeded as error:
        if not error.retry_seconds:
            raise
        raise Unavailable(error.message, reason=error.reason, remedy=error.remedy) from error


def connect(
    home: Home, settings: Settings, held: Secrets, ledger: Ledger, transcript: Transcript | None = None
) -> HubClient:
    """Dials the hub, directly or through the proxy; the connection is made by the first call."""
    key = channel_key.of(held, settings.keys_pkcs11_uri)
    signer = channel_key.signer(key)
    opened = channel.open_channel(
        settings.hub_address,
        roots=home.ca_file.read_bytes(),
        key=None if signer else tls.private_pem(key),
        sign=signer,
        chain=tls.chain_pem(held.chain),
        proxy=settings.hub_proxy,
    )
    return HubClient(opened, ledger, transcript=transcript, signer=signer)
