"""Integrates queued leaves; run every tenth of a second by `hub.serving`, it keeps the log that close behind."""

from __future__ import annotations

from hub.audit.service import AuditService
from hub.runtime.db import Database
from hub.runtime.metrics import Metrics

SECONDS = 0.1


class Sequencer:
    def __init__(self, service: AuditService, db: Database, metrics: Metrics) -> None:
        self._service, self._db = service, db
        metrics.audit_size.set_function(self._size)

    def drain(self) -> None:
        # Reading first keeps an idle hub from taking the write lock ten times a second.
        while self._waiting():
            with self._db.write() as tx:
                self._service.integrate(tx)

    def _waiting(self) -> bool:
        with self._db.read() as tx:
            return self._service.has_pending(tx)

    def _size(self) -> float:
        with self._db.read() as tx:
            return self._service.size(tx)
