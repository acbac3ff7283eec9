"""Which model of a detector is released: listed, promoted, and whether rounds release by themselves."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from alliance.errors import NotFound
from hub.audit.service import AuditService
from hub.blobs.service import BlobService
from hub.federation import model_store, round_store, store
from hub.federation.detectors import DetectorService
from hub.federation.model import Detector, DetectorId, Round
from hub.federation.release import Model, ReleaseMode
from hub.federation.service import RoundService
from hub.runtime.caller import Caller
from hub.runtime.db import RaceLost


class ReleaseService:
    def __init__(
        self, *, detectors: DetectorService, rounds: RoundService, blobs: BlobService, audit: AuditService
    ) -> None:
        self._detectors = detectors
        self._rounds = rounds
        self._blobs = blobs
        self._audit = audit

    def models(self, tx: Connection, name: DetectorId, *, before: int | None, limit: int) -> list[Model]:
        """Newest first."""
        return model_store.listed(tx, name, before=before, limit=limit)

    def model(self, tx: Connection, detector: Detector, version: int | None) -> Model:
        """The released one, where no version is asked for. Raises: NotFound."""
        wanted = detector.release.released if version is None else version
        if not 0 <= wanted <= detector.release.newest:
            raise NotFound(
                f"{detector.id} has no version {wanted}, the newest is {detector.release.newest}",
                reason="MODEL_UNKNOWN",
                field="version",
            )
        return model_store.get(tx, detector.id, wanted)

    def promote(self, tx: Connection, caller: Caller, name: DetectorId, version: int) -> tuple[Detector, Model]:
        """Releases a version. Where training goes on from it too, a round that began elsewhere is cancelled.

        Raises: NotFound, FailedPrecondition.
        """
        # In the order of a round that ends: the round, then its detector.
        running = self._held_round(tx, name)
        detector = self._detectors.lock(tx, name)
        now_running = round_store.open_round(tx, name)
        if (now_running and now_running.id) != (running and running.id):
            raise RaceLost("a round has just begun or ended", reason="RACE_LOST", remedy="look again, then retry")
        release = detector.release.promoted(version)
        model = model_store.get(tx, name, version)
        promoted = replace(detector, release=release)
        if release.start != detector.release.start:
            if running is not None:
                self._rounds.cancel(tx, caller, running.id)
            # A strategy's moments belong to the model that they were left with.
            promoted = replace(promoted, model_digest=model.digest, state_digest=None)
        store.save_detector(tx, promoted)
        if promoted.state_digest is None and detector.state_digest is not None:
            self._blobs.drop(tx, detector.state_digest)
        self._audit.record(tx, event=f"model_promoted:{version}", actor=caller.name, subject=name, digest=model.digest)
        return promoted, model

    def set_mode(self, tx: Connection, caller: Caller, name: DetectorId, mode: ReleaseMode) -> Detector:
        """From now on; what is held stays held, what is released stays released. Raises: NotFound."""
        detector = self._detectors.lock(tx, name)
        changed = replace(detector, release=replace(detector.release, mode=mode))
        if changed != detector:
            store.save_detector(tx, changed)
            self._audit.record(tx, event=f"model_release:{mode}", actor=caller.name, subject=name)
        return changed

    def _held_round(self, tx: Connection, name: DetectorId) -> Round | None:
        """The open round, which then waits for this transaction."""
        found = round_store.open_round(tx, name)
        return None if found is None else round_store.lock_round(tx, found.id)
