"""FederationService: parse, call, render."""

from __future__ import annotations

from sqlalchemy import Connection

from alliance import tensors
from alliance.errors import InvalidInput
from alliance.names import group_id
from alliance.v1 import federation_pb2 as pb
from hub.blobs.service import BlobService
from hub.federation import wire
from hub.federation.detectors import DetectorService, detector_id, plan, schedule_id
from hub.federation.flower import task_settings
from hub.federation.model import SECOND, Detector, RoundId, Schedule
from hub.federation.release import Model
from hub.federation.releases import ReleaseService
from hub.federation.service import Result, RoundService, Task
from hub.runtime.caller import MEMBERS, Caller
from hub.runtime.clock import Clock, micros, timestamp, timestamp_micros
from hub.runtime.paging import page, page_request


class FederationRpc:
    def __init__(
        self,
        detectors: DetectorService,
        rounds: RoundService,
        releases: ReleaseService,
        blobs: BlobService,
        clock: Clock,
    ) -> None:
        self._detectors = detectors
        self._rounds = rounds
        self._releases = releases
        self._blobs = blobs
        self._clock = clock

    def propose_detector(
        self, tx: Connection, caller: Caller, request: pb.ProposeDetectorRequest
    ) -> pb.ProposeDetectorResponse:
        if request.initial_digest and caller.is_console:
            raise InvalidInput("initial arrays come from a member", field="initial_digest", remedy="start from zeros")
        made = self._detectors.propose(
            tx,
            caller,
            detector_id(request.name),
            group_id(request.group),
            wire.parse_spec(request.spec),
            request.initial_digest,
        )
        return pb.ProposeDetectorResponse(detector=self._detector(tx, caller, made))

    def approve_detector(
        self, tx: Connection, caller: Caller, request: pb.ApproveDetectorRequest
    ) -> pb.ApproveDetectorResponse:
        mode = wire.parse_release(request.release)
        approved = self._detectors.approve(tx, caller, detector_id(request.name), mode)
        return pb.ApproveDetectorResponse(detector=self._detector(tx, caller, approved))

    def list_detectors(
        self, tx: Connection, caller: Caller, request: pb.ListDetectorsRequest
    ) -> pb.ListDetectorsResponse:
        asked = page_request(request.page_size, request.page_token)
        found = self._detectors.visible(tx, caller, after=asked.after, limit=asked.size + 1)
        shown = page(found, asked, lambda one: one.id)
        return pb.ListDetectorsResponse(
            detectors=[self._detector(tx, caller, one) for one in shown.items], next_page_token=shown.next_token
        )

    def join_detector(self, tx: Connection, caller: Caller, request: pb.JoinDetectorRequest) -> pb.JoinDetectorResponse:
        joined = self._detectors.join(tx, caller, detector_id(request.name))
        return pb.JoinDetectorResponse(detector=self._detector(tx, caller, joined))

    def leave_detector(
        self, tx: Connection, caller: Caller, request: pb.LeaveDetectorRequest
    ) -> pb.LeaveDetectorResponse:
        left = self._detectors.leave(tx, caller, detector_id(request.name))
        return pb.LeaveDetectorResponse(detector=self._detector(tx, caller, left))

    def create_schedule(
        self, tx: Connection, caller: Caller, request: pb.CreateScheduleRequest
    ) -> pb.CreateScheduleResponse:
        wanted, now = request.schedule, micros(self._clock())
        first = timestamp_micros(wanted.next_time) if wanted.HasField("next_time") else now
        made = Schedule(
            id=schedule_id(wanted.name, field="schedule.name"),
            detector=detector_id(wanted.detector, field="schedule.detector"),
            interval=wanted.interval_seconds * SECOND,
            rounds=wanted.rounds,
            plan=plan(wanted.quorum, wanted.deadline_seconds),
            next_time=max(first, now),
        )
        created = self._detectors.create_schedule(tx, caller, made)
        return pb.CreateScheduleResponse(schedule=wire.schedule_message(created))

    def list_schedules(
        self, tx: Connection, caller: Caller, request: pb.ListSchedulesRequest
    ) -> pb.ListSchedulesResponse:
        asked = page_request(request.page_size, request.page_token)
        found = self._detectors.schedules(tx, after=asked.after, limit=asked.size + 1)
        shown = page(found, asked, lambda one: one.id)
        return pb.ListSchedulesResponse(
            schedules=map(wire.schedule_message, shown.items), next_page_token=shown.next_token
        )

    def pause_schedule(
        self, tx: Connection, caller: Caller, request: pb.PauseScheduleRequest
    ) -> pb.PauseScheduleResponse:
        paused = self._detectors.pause(tx, caller, schedule_id(request.name))
        return pb.PauseScheduleResponse(schedule=wire.schedule_message(paused))

    def resume_schedule(
        self, tx: Connection, caller: Caller, request: pb.ResumeScheduleRequest
    ) -> pb.ResumeScheduleResponse:
        resumed = self._detectors.resume(tx, caller, schedule_id(request.name))
        return pb.ResumeScheduleResponse(schedule=wire.schedule_message(resumed))

    def trigger_round(self, tx: Connection, caller: Caller, request: pb.TriggerRoundRequest) -> pb.TriggerRoundResponse:
        wanted = plan(request.quorum, request.deadline_seconds)
        started = self._rounds.trigger(
            tx, caller, detector_id(request.detector, field="detector"), wanted, request.rounds or 1
        )
        return pb.TriggerRoundResponse(round=wire.round_message(started, caller))

    def cancel_round(self, tx: Connection, caller: Caller, request: pb.CancelRoundRequest) -> pb.CancelRoundResponse:
        cancelled = self._rounds.cancel(tx, caller, _round_id(request.name, "name"))
        return pb.CancelRoundResponse(round=wire.round_message(cancelled, caller))

    def list_rounds(self, tx: Connection, caller: Caller, request: pb.ListRoundsRequest) -> pb.ListRoundsResponse:
        asked = page_request(request.page_size, request.page_token)
        before = asked.after_number(0) or None
        detector = detector_id(request.detector, field="detector") if request.detector else None
        found = self._rounds.rounds(tx, caller, detector, before=before, limit=asked.size + 1)
        shown = page(found, asked, lambda one: str(one.id))
        return pb.ListRoundsResponse(
            rounds=[wire.round_message(one, caller) for one in shown.items], next_page_token=shown.next_token
        )

    def get_round(self, tx: Connection, caller: Caller, request: pb.GetRoundRequest) -> pb.GetRoundResponse:
        found = self._rounds.get(tx, caller, _round_id(request.name, "name"))
        return pb.GetRoundResponse(round=wire.round_message(found, caller))

    def get_task(self, tx: Connection, caller: Caller, request: pb.GetTaskRequest) -> pb.GetTaskResponse:
        found = self._rounds.tasks(tx, [caller.member]).get(caller.member)
        return pb.GetTaskResponse(task=None if found is None else task_message(found))

    def submit_result(self, tx: Connection, caller: Caller, request: pb.SubmitResultRequest) -> pb.SubmitResultResponse:
        result = Result(
            kind=request.kind,
            update_digest=request.update_digest,
            update_size=request.update_size,
            examples=request.examples,
            metrics=[(one.name, one.value) for one in request.metrics],
            local=[(one.name, one.value) for one in request.local_metrics],
            refusal=request.refusal,
        )
        accepted, reason = self._rounds.submit(tx, caller, _round_id(request.round, "round"), result)
        return pb.SubmitResultResponse(accepted=accepted, reason=reason)

    def get_model(self, tx: Connection, caller: Caller, request: pb.GetModelRequest) -> pb.GetModelResponse:
        found = self._detectors.require_joined(tx, caller, detector_id(request.detector, field="detector"))
        version = request.version if request.HasField("version") else None
        model = self._model(tx, found, self._releases.model(tx, found, version))
        return pb.GetModelResponse(
            detector=found.id, version=model.version, digest=model.digest, size=model.size, round=model.round
        )

    def list_models(self, tx: Connection, caller: Caller, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
        asked = page_request(request.page_size, request.page_token)
        detector = self._detectors.get(tx, detector_id(request.detector, field="detector"))
        before = None if asked.after is None else asked.after_number(0)
        found = self._releases.models(tx, detector.id, before=before, limit=asked.size + 1)
        shown = page(found, asked, lambda one: str(one.version))
        return pb.ListModelsResponse(
            models=[self._model(tx, detector, one) for one in shown.items], next_page_token=shown.next_token
        )

    def promote_model(self, tx: Connection, caller: Caller, request: pb.PromoteModelRequest) -> pb.PromoteModelResponse:
        name = detector_id(request.detector, field="detector")
        if not request.HasField("version"):
            raise InvalidInput("no version is named", field="version", remedy="name one; 0 withdraws the model")
        detector, model = self._releases.promote(tx, caller, name, request.version)
        return pb.PromoteModelResponse(model=self._model(tx, detector, model))

    def set_model_release(
        self, tx: Connection, caller: Caller, request: pb.SetModelReleaseRequest
    ) -> pb.SetModelReleaseResponse:
        name, mode = detector_id(request.detector, field="detector"), wire.parse_release(request.release, said=True)
        changed = self._releases.set_mode(tx, caller, name, mode)
        return pb.SetModelReleaseResponse(detector=self._detector(tx, caller, changed))

    def _model(self, tx: Connection, detector: Detector, model: Model) -> pb.Model:
        return wire.model_message(model, detector, size=self._blobs.size(tx, model.digest))

    def _detector(self, tx: Connection, caller: Caller, one: Detector) -> pb.Detector:
        consents = self._detectors.consents(tx, one.id)
        joined = caller.who in MEMBERS and caller.member in consents
        released = self._releases.model(tx, one, None)
        return wire.detector_message(one, released, consents=len(consents), joined=joined, caller=caller)


def task_message(task: Task) -> pb.Task:
    """A task with everything its code is told: the detector's settings and the strategy's."""
    spec = task.detector.spec
    settings = task_settings(spec.strategy, spec.strategy_settings, spec.train_settings, task.number)
    return pb.Task(
        round=f"rounds/{task.round}",
        detector=task.detector.id,
        kind=pb.TaskKind.Name(task.kind),
        number=task.number,
        model_digest=task.model_digest,
        model_size=tensors.encoded_size(spec.arrays),
        deadline_time=timestamp(task.deadline),
        settings=[pb.Setting(name=name, value=value) for name, value in settings],
    )


def _round_id(text: str, field: str) -> RoundId:
    prefix, _, number = text.partition("/")
    if prefix != "rounds" or not number.isdecimal() or len(number) > 18:
        raise InvalidInput(f"{text[:80]!r} is not rounds/NUMBER", reason="NAME_MALFORMED", field=field)
    return RoundId(int(number))
