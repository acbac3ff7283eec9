"""Keeps what the listeners show fresh: the hub's own certificate is made anew long before it expires.

A dull runner calls `run` every second; a handshake that comes later shows the new one, an open connection goes on.
"""

from __future__ import annotations

import datetime as dt

import structlog
from cryptography import x509

from hub.pki.service import PkiService
from hub.runtime.clock import Clock
from hub.runtime.server import Credentials, Identity

log = structlog.get_logger()
SECONDS = 1.0
# As an agent's: at two thirds of its life.
RENEW_AT = 2 / 3


class Keeper:
    """`names` are what the hub is called in its certificate."""

    def __init__(self, pki: PkiService, *, names: list[str], clock: Clock) -> None:
        self._pki, self._names, self._clock = pki, names, clock
        self.credentials = Credentials(pki.server_identity(names))

    def run(self) -> None:
        """One look."""
        if self._clock() >= renew_time(self.credentials.identity):
            self.credentials.replace(self._pki.server_identity(self._names))
            log.info("server_certificate_renewed")


def renew_time(identity: Identity) -> dt.datetime:
    certificate = x509.load_pem_x509_certificate(identity.chain)
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return start + (end - start) * RENEW_AT
