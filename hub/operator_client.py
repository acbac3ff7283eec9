"""`alliance-hub` as a client: mutual TLS with an operator's kit, so no command opens the hub's database."""

from __future__ import annotations

import datetime as dt
import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from cryptography import x509
from google.protobuf.message import Message

from alliance import anchors, channel, sealed_file, tls
from alliance.errors import AllianceError, Corrupt, FailedPrecondition
from alliance.v1 import pki_pb2
from hub.config import Home

R = TypeVar("R", bound=Message)
PAGE = 500
NEW_KEY, NEW_CERTIFICATE = "key.pem.new", "certificate.pem.new"
RENEW_AT = 2 / 3


class OperatorClient:
    def __init__(self, kit: Path, address: str) -> None:
        finish_renewal(kit)
        self._kit = kit
        self.roots = _read(kit / "ca.pem")
        self.address = address
        self.channel = channel.open_channel(
            address, roots=self.roots, key=_read(kit / "key.pem"), chain=_read(kit / "certificate.pem")
        )

    def call(self, request: Message, response: type[R], *, timeout: float = 30.0) -> R:
        """One call; a mutation gets a fresh request id. Raises: AllianceError."""
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            request.request_id = str(uuid.uuid4())  # type: ignore[attr-defined]  # because only mutations have it
        return channel.call(self.channel, request, response, timeout=timeout)

    def pages(self, request: Any, response: type[R], items: Callable[[R], Any]) -> Iterator[Any]:
        """Every item of a paged list."""
        request.page_size = PAGE
        while True:
            page = self.call(request, response)
            yield from items(page)
            request.page_token = page.next_page_token  # type: ignore[attr-defined]  # because every list has it
            if not request.page_token:
                return

    def look_after_kit(self) -> None:
        """Takes over new authorities and renews the certificate where it is time; a kit that cannot be written stays.

        Raises: Corrupt, where the hub names an authority that the kit's does not vouch for.
        """
        try:
            told = self.call(pki_pb2.GetTrustBundleRequest(), pki_pb2.GetTrustBundleResponse).authorities
            change = anchors.changes(anchors.read_pem(self.roots), told)
            if not change.is_none:
                sealed_file.write(self._kit / "ca.pem", anchors.to_pem(change.anchors))
            if _renewal_due(anchors.read_pem(_read(self._kit / "certificate.pem"))[0], told[0].issuer):
                self._renew()
        except Corrupt:
            raise
        except (AllianceError, OSError):
            # What the person asked for is done; the next command tries again, and `doctor` tells of an old certificate.
            return

    def _renew(self) -> None:
        """The new pair stands whole beside the old before it takes its place (`finish_renewal`)."""
        key = tls.new_channel_key()
        request = pki_pb2.RenewOperatorCertificateRequest(certificate_request=tls.certificate_request(key))
        answer = self.call(request, pki_pb2.RenewOperatorCertificateResponse)
        sealed_file.write(self._kit / NEW_KEY, tls.private_pem(key))
        sealed_file.write(self._kit / NEW_CERTIFICATE, tls.chain_pem(list(answer.certificate_chain)))
        (self._kit / NEW_KEY).rename(self._kit / "key.pem")
        finish_renewal(self._kit)

    def close(self) -> None:
        self.channel.close()


def finish_renewal(kit: Path) -> None:
    """A renewal that was cut off between its two renames is finished, one that was cut off before is forgotten."""
    if (kit / NEW_KEY).exists():
        (kit / NEW_KEY).unlink()
        (kit / NEW_CERTIFICATE).unlink(missing_ok=True)
    elif (kit / NEW_CERTIFICATE).exists():
        (kit / NEW_CERTIFICATE).rename(kit / "certificate.pem")


def _renewal_due(certificate: x509.Certificate, issuer: bytes) -> bool:
    """Two thirds of its life are over, or another authority issues now."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    by_another = not anchors.issued(certificate, x509.load_der_x509_certificate(issuer))
    return by_another or dt.datetime.now(dt.UTC) >= start + (end - start) * RENEW_AT


def open_client(home: Home, *, kit: Path | None = None, address: str = "") -> OperatorClient:
    """The client of `--kit` (or `ALLIANCE_OPERATOR_KIT`), else of the only kit in the hub's home.

    Raises: FailedPrecondition.
    """
    named = kit or (Path(env) if (env := os.environ.get("ALLIANCE_OPERATOR_KIT")) else None)
    folder = named or _only_kit(home)
    return OperatorClient(folder, address or _address(home, folder))


def _only_kit(home: Home) -> Path:
    kits = sorted(path for path in home.operator.glob("*") if path.is_dir()) if home.operator.exists() else []
    if len(kits) != 1:
        problem = "no operator kit" if not kits else f"{len(kits)} operator kits"
        raise FailedPrecondition(
            f"{problem} in {home.path}", reason="NO_OPERATOR_KIT", remedy="name one with --kit or ALLIANCE_OPERATOR_KIT"
        )
    return kits[0]


def _address(home: Home, kit: Path) -> str:
    for file in (kit / "hub.json", home.addresses_file):
        if file.exists():
            return str(json.loads(file.read_text())["hub"])
    raise FailedPrecondition(
        "the hub's address is not known",
        reason="NO_HUB_ADDRESS",
        remedy='start it with "alliance-hub serve" or name --hub',
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FailedPrecondition(
            f"cannot read {path.name} of the operator kit: {error.strerror}",
            reason="KIT_UNREADABLE",
            remedy="name another --kit",
        ) from error
