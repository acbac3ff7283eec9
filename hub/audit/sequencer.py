"""The dull runner that integrates queued leaves: one thread, at most a tenth of a second behind."""

from __future__ import annotations

import threading

import structlog

from alliance.errors import AllianceError
from hub.audit.service import AuditService
from hub.runtime.db import Database
from hub.runtime.metrics import Metrics

log = structlog.get_logger()
INTERVAL = 0.1


class Sequencer:
    def __init__(self, service: AuditService, db: Database, metrics: Metrics) -> None:
        self._service, self._db, self._metrics = service, db, metrics
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit-sequencer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Integrates what is queued, then ends."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(INTERVAL)
            try:
                self.drain()
            except AllianceError as error:
                log.error("audit_not_integrated", reason=error.reason, message=error.message)

    def drain(self) -> None:
        # Reading first keeps an idle hub from taking the write lock ten times a second.
        while self._waiting():
            with self._db.write() as tx:
                count = self._service.integrate(tx)
            self._metrics.audit_size.inc(count)

    def _waiting(self) -> bool:
        with self._db.read() as tx:
            return self._service.has_pending(tx)
