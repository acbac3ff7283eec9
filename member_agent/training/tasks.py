"""A member's slot in a round: the task, its model, the training process, the answer.

The member decides: it answers only for detectors it joined, with the code it installed, on the file it named.
Whatever goes wrong on its side is a refusal with a closed reason, so a round does not wait for it. An answer that
came too late, or twice, changes nothing at the hub.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path

import structlog

from alliance import canonical, tensors
from alliance.errors import AllianceError, Unavailable
from alliance.names import Digest, digest
from alliance.v1 import federation_pb2 as pb
from member_agent import egress, transfer
from member_agent.clock import Clock, utc_now
from member_agent.database import LocalDatabase
from member_agent.hub_client import HubClient
from member_agent.training import consents
from member_agent.training.blends import Blends
from member_agent.training.consents import Consent, Uplift
from member_agent.training.feature_keys import FeatureKeys
from member_agent.training.trainer import Task as TrainingTask
from member_agent.training.trainer import Trainer

log = structlog.get_logger()
_REFUSALS: Mapping[str, pb.TaskRefusal] = {
    "NO_DATA": pb.TASK_REFUSAL_NO_DATA,
    "CODE_NOT_INSTALLED": pb.TASK_REFUSAL_CODE_NOT_INSTALLED,
    "OUT_OF_MEMORY": pb.TASK_REFUSAL_OUT_OF_MEMORY,
}
_NO_ARRAYS = tensors.encode({})
_NO_ARRAYS_DIGEST = canonical.sha256(_NO_ARRAYS)


class TaskRunner:
    """Does one task at a time; `parts` keeps downloads that broke off, `blends` what comes of judging a model."""

    def __init__(
        self,
        db: LocalDatabase,
        trainer: Trainer,
        *,
        blends: Blends,
        keys: FeatureKeys,
        parts: Path,
        clock: Clock = utc_now,
    ) -> None:
        self._db, self._trainer, self._clock = db, trainer, clock
        self._blends, self._keys = blends, keys
        self._models = transfer.Latest(parts)

    def run(self, hub: HubClient, task: pb.Task) -> bool:
        """Whether the answer counted. Raises: Unavailable, where the hub cannot be reached; the task comes again."""
        with self._db.read() as tx:
            consent = consents.find_consent(tx, task.detector)
        request = pb.SubmitResultRequest(request_id=str(uuid.uuid4()), round=task.round, kind=task.kind)
        log.info("task_started", round=task.round, kind=task.kind, detector=task.detector)
        if consent is None:
            request.refusal = pb.TASK_REFUSAL_NO_DATA
        else:
            try:
                self._answer(hub, task, consent, request)
            except Unavailable as error:
                if not error.reason.startswith("TRAIN"):
                    raise
                self._decline(task, request, error)
            except AllianceError as error:
                self._decline(task, request, error)
        answer = hub.call(request, pb.SubmitResultResponse)
        log.info("task_answered", round=task.round, kind=task.kind, accepted=answer.accepted, reason=answer.reason)
        return answer.accepted

    def _answer(self, hub: HubClient, task: pb.Task, consent: Consent, request: pb.SubmitResultRequest) -> None:
        settings = {one.name: one.value for one in task.settings}
        key = self._keys.of(consent, settings)
        model = self._model(hub, digest(task.model_digest))
        training = TrainingTask(
            detector=consent.code,
            path=consent.path,
            columns=consent.columns,
            settings=settings,
            number=task.number,
            seed=consent.seed,
            key=key,
        )
        if task.kind == pb.TASK_KIND_EVALUATE:
            self._evaluate(task, training, model, request)
            return
        made = self._trainer.train(training, model)
        request.examples = made.examples
        request.metrics.extend(pb.TaskMetric(name=name, value=value) for name, value in made.metrics.items())
        if made.update:
            blob = egress.permit_blob(made.update, content=egress.MODEL_UPDATE)
            transfer.upload(hub, blob)
            request.update_digest, request.update_size = blob.digest, len(blob.data)

    def _model(self, hub: HubClient, wanted: Digest) -> bytes | memoryview:
        """Downloaded, but for the one model that every agent has."""
        return _NO_ARRAYS if wanted == _NO_ARRAYS_DIGEST else self._models.get(hub, wanted)

    def _evaluate(
        self, task: pb.Task, training: TrainingTask, model: bytes | memoryview, request: pb.SubmitResultRequest
    ) -> None:
        """Tells the hub the shared model's figures and the own one's; keeps them, the blend and its figures here."""
        found = self._trainer.evaluate(training, model)
        request.metrics.extend(pb.TaskMetric(name=name, value=value) for name, value in found.metrics.items())
        local = found.local_metrics
        request.local_metrics.extend(pb.TaskMetric(name=name, value=value) for name, value in local.items())
        gained = [
            Uplift(
                detector=task.detector,
                round=task.round,
                number=task.number,
                metric=name,
                federated=value,
                local=local[name],
                blended=found.blended_metrics.get(name),
                examples=found.examples,
            )
            for name, value in found.metrics.items()
            if name in local
        ]
        # Not synced: a power cut may cost the member its latest figures, which the next round brings again.
        with self._db.write(synced=False) as tx:
            consents.save_results(tx, gained, now=self._clock())
        if found.blend:
            self._blends.keep(task.detector, digest(task.model_digest), found.blend, now=self._clock())

    def _decline(self, task: pb.Task, request: pb.SubmitResultRequest, error: AllianceError) -> None:
        log.warning("task_declined", round=task.round, reason=error.reason, message=error.message)
        request.refusal = _REFUSALS.get(error.reason, pb.TASK_REFUSAL_FAILED)
        for field in ("update_digest", "update_size", "examples", "metrics", "local_metrics"):
            request.ClearField(field)
