"""PkiService: parse, call, render."""

from __future__ import annotations

from cryptography import x509
from sqlalchemy import Connection

from alliance.v1 import pki_pb2 as pb
from hub.pki.model import Authority
from hub.pki.rotation import RotationService
from hub.runtime.caller import Caller
from hub.runtime.clock import micros, timestamp


class PkiRpc:
    def __init__(self, service: RotationService) -> None:
        self._service = service

    def get_trust_bundle(
        self, tx: Connection, caller: Caller, request: pb.GetTrustBundleRequest
    ) -> pb.GetTrustBundleResponse:
        live = self._service.live_certificates(tx) if caller.is_console else {}
        known = self._service.bundle(tx)
        return pb.GetTrustBundleResponse(authorities=[_authority(one, live.get(one.name, 0)) for one in known])

    def rotate_ca(self, tx: Connection, caller: Caller, request: pb.RotateCaRequest) -> pb.RotateCaResponse:
        made = self._service.rotate(tx, caller.name, request.overlap_seconds)
        return pb.RotateCaResponse(authority=_authority(made))

    def request_ca(self, tx: Connection, caller: Caller, request: pb.RequestCaRequest) -> pb.RequestCaResponse:
        return pb.RequestCaResponse(certificate_request=self._service.request(tx, caller.name))

    def install_ca(self, tx: Connection, caller: Caller, request: pb.InstallCaRequest) -> pb.InstallCaResponse:
        made = self._service.install(tx, caller.name, list(request.certificates), request.overlap_seconds)
        return pb.InstallCaResponse(authority=_authority(made))

    def retire_ca(self, tx: Connection, caller: Caller, request: pb.RetireCaRequest) -> pb.RetireCaResponse:
        retired, revoked = self._service.retire(tx, caller.name, request.name)
        return pb.RetireCaResponse(authority=_authority(retired), revoked=revoked)

    def renew_operator_certificate(
        self, tx: Connection, caller: Caller, request: pb.RenewOperatorCertificateRequest
    ) -> pb.RenewOperatorCertificateResponse:
        chain = self._service.renew_operator(tx, caller.name, request.certificate_request)
        expires = x509.load_der_x509_certificate(chain[0]).not_valid_after_utc
        return pb.RenewOperatorCertificateResponse(certificate_chain=chain, expire_time=timestamp(micros(expires)))


def _authority(one: Authority, live: int = 0) -> pb.Authority:
    return pb.Authority(
        name=one.name,
        anchor=one.anchor,
        issuer=one.issuer,
        cross_certificate=one.cross,
        phase=f"AUTHORITY_PHASE_{one.phase.upper()}",
        announce_time=timestamp(one.announce_time),
        phase_time=timestamp(one.phase_time),
        overlap_seconds=one.overlap // 1_000_000,
        live_certificates=live,
    )
