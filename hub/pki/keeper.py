"""Keeps what the listeners show, and whom they trust, as the authorities and the clock want it.

A dull runner calls `run` every second, in every hub process; a handshake that comes later shows the new certificate,
an open connection goes on.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import structlog
from cryptography import x509

from hub.pki import model
from hub.pki.model import Authority
from hub.pki.rotation import RotationService
from hub.pki.service import PkiService
from hub.runtime.clock import Clock
from hub.runtime.db import Database
from hub.runtime.server import Credentials, Identity

log = structlog.get_logger()
SECONDS = 1.0
# As an agent's: at two thirds of its life.
RENEW_AT = 2 / 3


class Keeper:
    """`names` are what the hub is called in its certificate."""

    def __init__(
        self, pki: PkiService, rotation: RotationService, db: Database, *, names: Sequence[str], clock: Clock
    ) -> None:
        self._pki, self._rotation, self._db, self._names, self._clock = pki, rotation, db, names, clock
        with db.read() as tx:
            known = pki.authorities(tx)
        self._state = _state(known)
        self.credentials = Credentials(pki.server_identity(names, known))

    def run(self) -> None:
        """Moves the authorities that are due; shows another certificate where they or its age ask for it."""
        with self._db.read() as tx:
            known, due = self._pki.authorities(tx), self._rotation.is_due(tx)
        if due:
            with self._db.write() as tx:
                self._rotation.advance(tx)
                known = self._pki.authorities(tx)
        state = _state(known)
        if state == self._state and self._clock() < renew_time(self.credentials.identity):
            return
        self.credentials.replace(self._pki.server_identity(self._names, known))
        self._state = state
        log.info("server_certificate_renewed", authority=model.active(known).name)


def renew_time(identity: Identity) -> dt.datetime:
    certificate = x509.load_pem_x509_certificate(identity.chain)
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return start + (end - start) * RENEW_AT


def _state(known: Sequence[Authority]) -> tuple[str, tuple[x509.Certificate, ...]]:
    """Who issues, and whom to trust."""
    return model.active(known).name, tuple(model.anchors_of(known))
