import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Strategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STRATEGY_UNSPECIFIED: _ClassVar[Strategy]
    STRATEGY_FED_AVG: _ClassVar[Strategy]
    STRATEGY_FED_PROX: _ClassVar[Strategy]
    STRATEGY_FED_ADAM: _ClassVar[Strategy]
    STRATEGY_FED_YOGI: _ClassVar[Strategy]
    STRATEGY_FED_ADAGRAD: _ClassVar[Strategy]

class DetectorState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DETECTOR_STATE_UNSPECIFIED: _ClassVar[DetectorState]
    DETECTOR_STATE_PROPOSED: _ClassVar[DetectorState]
    DETECTOR_STATE_APPROVED: _ClassVar[DetectorState]

class ModelRelease(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_RELEASE_UNSPECIFIED: _ClassVar[ModelRelease]
    MODEL_RELEASE_AUTOMATIC: _ClassVar[ModelRelease]
    MODEL_RELEASE_BY_PROMOTION: _ClassVar[ModelRelease]

class RoundState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROUND_STATE_UNSPECIFIED: _ClassVar[RoundState]
    ROUND_STATE_PLANNED: _ClassVar[RoundState]
    ROUND_STATE_RECRUITING: _ClassVar[RoundState]
    ROUND_STATE_TRAINING: _ClassVar[RoundState]
    ROUND_STATE_AGGREGATING: _ClassVar[RoundState]
    ROUND_STATE_EVALUATING: _ClassVar[RoundState]
    ROUND_STATE_RELEASED: _ClassVar[RoundState]
    ROUND_STATE_FAILED: _ClassVar[RoundState]
    ROUND_STATE_CANCELLED: _ClassVar[RoundState]

class ParticipantState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PARTICIPANT_STATE_UNSPECIFIED: _ClassVar[ParticipantState]
    PARTICIPANT_STATE_INVITED: _ClassVar[ParticipantState]
    PARTICIPANT_STATE_REPORTED: _ClassVar[ParticipantState]
    PARTICIPANT_STATE_REFUSED: _ClassVar[ParticipantState]
    PARTICIPANT_STATE_DROPPED: _ClassVar[ParticipantState]
    PARTICIPANT_STATE_EVALUATED: _ClassVar[ParticipantState]

class TaskKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_KIND_UNSPECIFIED: _ClassVar[TaskKind]
    TASK_KIND_TRAIN: _ClassVar[TaskKind]
    TASK_KIND_EVALUATE: _ClassVar[TaskKind]

class TaskRefusal(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_REFUSAL_UNSPECIFIED: _ClassVar[TaskRefusal]
    TASK_REFUSAL_NO_DATA: _ClassVar[TaskRefusal]
    TASK_REFUSAL_CODE_NOT_INSTALLED: _ClassVar[TaskRefusal]
    TASK_REFUSAL_FAILED: _ClassVar[TaskRefusal]
    TASK_REFUSAL_OUT_OF_MEMORY: _ClassVar[TaskRefusal]
STRATEGY_UNSPECIFIED: Strategy
STRATEGY_FED_AVG: Strategy
STRATEGY_FED_PROX: Strategy
STRATEGY_FED_ADAM: Strategy
STRATEGY_FED_YOGI: Strategy
STRATEGY_FED_ADAGRAD: Strategy
DETECTOR_STATE_UNSPECIFIED: DetectorState
DETECTOR_STATE_PROPOSED: DetectorState
DETECTOR_STATE_APPROVED: DetectorState
MODEL_RELEASE_UNSPECIFIED: ModelRelease
MODEL_RELEASE_AUTOMATIC: ModelRelease
MODEL_RELEASE_BY_PROMOTION: ModelRelease
ROUND_STATE_UNSPECIFIED: RoundState
ROUND_STATE_PLANNED: RoundState
ROUND_STATE_RECRUITING: RoundState
ROUND_STATE_TRAINING: RoundState
ROUND_STATE_AGGREGATING: RoundState
ROUND_STATE_EVALUATING: RoundState
ROUND_STATE_RELEASED: RoundState
ROUND_STATE_FAILED: RoundState
ROUND_STATE_CANCELLED: RoundState
PARTICIPANT_STATE_UNSPECIFIED: ParticipantState
PARTICIPANT_STATE_INVITED: ParticipantState
PARTICIPANT_STATE_REPORTED: ParticipantState
PARTICIPANT_STATE_REFUSED: ParticipantState
PARTICIPANT_STATE_DROPPED: ParticipantState
PARTICIPANT_STATE_EVALUATED: ParticipantState
TASK_KIND_UNSPECIFIED: TaskKind
TASK_KIND_TRAIN: TaskKind
TASK_KIND_EVALUATE: TaskKind
TASK_REFUSAL_UNSPECIFIED: TaskRefusal
TASK_REFUSAL_NO_DATA: TaskRefusal
TASK_REFUSAL_CODE_NOT_INSTALLED: TaskRefusal
TASK_REFUSAL_FAILED: TaskRefusal
TASK_REFUSAL_OUT_OF_MEMORY: TaskRefusal

class ArraySpec(_message.Message):
    __slots__ = ("name", "dtype", "shape")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class Setting(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class DetectorSpec(_message.Message):
    __slots__ = ("code", "arrays", "metrics", "aggregation", "aggregation_settings", "train_settings", "max_examples", "max_update_norm")
    CODE_FIELD_NUMBER: _ClassVar[int]
    ARRAYS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    AGGREGATION_FIELD_NUMBER: _ClassVar[int]
    AGGREGATION_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    TRAIN_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    MAX_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    MAX_UPDATE_NORM_FIELD_NUMBER: _ClassVar[int]
    code: str
    arrays: _containers.RepeatedCompositeFieldContainer[ArraySpec]
    metrics: _containers.RepeatedScalarFieldContainer[str]
    aggregation: Strategy
    aggregation_settings: _containers.RepeatedCompositeFieldContainer[Setting]
    train_settings: _containers.RepeatedCompositeFieldContainer[Setting]
    max_examples: int
    max_update_norm: float
    def __init__(self, code: _Optional[str] = ..., arrays: _Optional[_Iterable[_Union[ArraySpec, _Mapping]]] = ..., metrics: _Optional[_Iterable[str]] = ..., aggregation: _Optional[_Union[Strategy, str]] = ..., aggregation_settings: _Optional[_Iterable[_Union[Setting, _Mapping]]] = ..., train_settings: _Optional[_Iterable[_Union[Setting, _Mapping]]] = ..., max_examples: _Optional[int] = ..., max_update_norm: _Optional[float] = ...) -> None: ...

class Detector(_message.Message):
    __slots__ = ("name", "group", "spec", "state", "proposer", "create_time", "consents", "joined", "model_digest", "model_version", "release", "newest_version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROPOSER_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CONSENTS_FIELD_NUMBER: _ClassVar[int]
    JOINED_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    NEWEST_VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    group: str
    spec: DetectorSpec
    state: DetectorState
    proposer: str
    create_time: _timestamp_pb2.Timestamp
    consents: int
    joined: bool
    model_digest: bytes
    model_version: int
    release: ModelRelease
    newest_version: int
    def __init__(self, name: _Optional[str] = ..., group: _Optional[str] = ..., spec: _Optional[_Union[DetectorSpec, _Mapping]] = ..., state: _Optional[_Union[DetectorState, str]] = ..., proposer: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., consents: _Optional[int] = ..., joined: _Optional[bool] = ..., model_digest: _Optional[bytes] = ..., model_version: _Optional[int] = ..., release: _Optional[_Union[ModelRelease, str]] = ..., newest_version: _Optional[int] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("version", "digest", "size", "round", "trained_from", "create_time", "released", "next_start")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    TRAINED_FROM_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    NEXT_START_FIELD_NUMBER: _ClassVar[int]
    version: int
    digest: bytes
    size: int
    round: str
    trained_from: int
    create_time: _timestamp_pb2.Timestamp
    released: bool
    next_start: bool
    def __init__(self, version: _Optional[int] = ..., digest: _Optional[bytes] = ..., size: _Optional[int] = ..., round: _Optional[str] = ..., trained_from: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., released: _Optional[bool] = ..., next_start: _Optional[bool] = ...) -> None: ...

class Schedule(_message.Message):
    __slots__ = ("name", "detector", "interval_seconds", "rounds", "quorum", "deadline_seconds", "paused", "next_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    NEXT_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    detector: str
    interval_seconds: int
    rounds: int
    quorum: int
    deadline_seconds: int
    paused: bool
    next_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., detector: _Optional[str] = ..., interval_seconds: _Optional[int] = ..., rounds: _Optional[int] = ..., quorum: _Optional[int] = ..., deadline_seconds: _Optional[int] = ..., paused: _Optional[bool] = ..., next_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Round(_message.Message):
    __slots__ = ("name", "detector", "state", "number", "quorum", "create_time", "deadline_time", "end_time", "reason", "model_digest", "result_digest", "participants", "metrics", "slots")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    RESULT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANTS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    detector: str
    state: RoundState
    number: int
    quorum: int
    create_time: _timestamp_pb2.Timestamp
    deadline_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    reason: str
    model_digest: bytes
    result_digest: bytes
    participants: _containers.RepeatedCompositeFieldContainer[Participant]
    metrics: _containers.RepeatedCompositeFieldContainer[MetricSummary]
    slots: _containers.RepeatedCompositeFieldContainer[SlotCount]
    def __init__(self, name: _Optional[str] = ..., detector: _Optional[str] = ..., state: _Optional[_Union[RoundState, str]] = ..., number: _Optional[int] = ..., quorum: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., deadline_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ..., model_digest: _Optional[bytes] = ..., result_digest: _Optional[bytes] = ..., participants: _Optional[_Iterable[_Union[Participant, _Mapping]]] = ..., metrics: _Optional[_Iterable[_Union[MetricSummary, _Mapping]]] = ..., slots: _Optional[_Iterable[_Union[SlotCount, _Mapping]]] = ...) -> None: ...

class Participant(_message.Message):
    __slots__ = ("member", "state", "reason")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    member: str
    state: ParticipantState
    reason: str
    def __init__(self, member: _Optional[str] = ..., state: _Optional[_Union[ParticipantState, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class SlotCount(_message.Message):
    __slots__ = ("state", "members")
    STATE_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    state: ParticipantState
    members: int
    def __init__(self, state: _Optional[_Union[ParticipantState, str]] = ..., members: _Optional[int] = ...) -> None: ...

class MetricSummary(_message.Message):
    __slots__ = ("name", "members", "federated_mean", "federated_least", "local_mean", "members_not_worse")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    FEDERATED_MEAN_FIELD_NUMBER: _ClassVar[int]
    FEDERATED_LEAST_FIELD_NUMBER: _ClassVar[int]
    LOCAL_MEAN_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_NOT_WORSE_FIELD_NUMBER: _ClassVar[int]
    name: str
    members: int
    federated_mean: float
    federated_least: float
    local_mean: float
    members_not_worse: int
    def __init__(self, name: _Optional[str] = ..., members: _Optional[int] = ..., federated_mean: _Optional[float] = ..., federated_least: _Optional[float] = ..., local_mean: _Optional[float] = ..., members_not_worse: _Optional[int] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("round", "detector", "kind", "number", "model_digest", "model_size", "deadline_time", "settings")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    MODEL_SIZE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_TIME_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    round: str
    detector: str
    kind: TaskKind
    number: int
    model_digest: bytes
    model_size: int
    deadline_time: _timestamp_pb2.Timestamp
    settings: _containers.RepeatedCompositeFieldContainer[Setting]
    def __init__(self, round: _Optional[str] = ..., detector: _Optional[str] = ..., kind: _Optional[_Union[TaskKind, str]] = ..., number: _Optional[int] = ..., model_digest: _Optional[bytes] = ..., model_size: _Optional[int] = ..., deadline_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., settings: _Optional[_Iterable[_Union[Setting, _Mapping]]] = ...) -> None: ...

class TaskMetric(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class ProposeDetectorRequest(_message.Message):
    __slots__ = ("request_id", "name", "group", "spec", "initial_digest")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    INITIAL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    name: str
    group: str
    spec: DetectorSpec
    initial_digest: bytes
    def __init__(self, request_id: _Optional[str] = ..., name: _Optional[str] = ..., group: _Optional[str] = ..., spec: _Optional[_Union[DetectorSpec, _Mapping]] = ..., initial_digest: _Optional[bytes] = ...) -> None: ...

class ProposeDetectorResponse(_message.Message):
    __slots__ = ("detector",)
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    detector: Detector
    def __init__(self, detector: _Optional[_Union[Detector, _Mapping]] = ...) -> None: ...

class ApproveDetectorRequest(_message.Message):
    __slots__ = ("request_id", "name", "release")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    name: str
    release: ModelRelease
    def __init__(self, request_id: _Optional[str] = ..., name: _Optional[str] = ..., release: _Optional[_Union[ModelRelease, str]] = ...) -> None: ...

class ApproveDetectorResponse(_message.Message):
    __slots__ = ("detector",)
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    detector: Detector
    def __init__(self, detector: _Optional[_Union[Detector, _Mapping]] = ...) -> None: ...

class ListDetectorsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDetectorsResponse(_message.Message):
    __slots__ = ("detectors", "next_page_token")
    DETECTORS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    detectors: _containers.RepeatedCompositeFieldContainer[Detector]
    next_page_token: str
    def __init__(self, detectors: _Optional[_Iterable[_Union[Detector, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class JoinDetectorRequest(_message.Message):
    __slots__ = ("request_id", "name")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    name: str
    def __init__(self, request_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class JoinDetectorResponse(_message.Message):
    __slots__ = ("detector",)
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    detector: Detector
    def __init__(self, detector: _Optional[_Union[Detector, _Mapping]] = ...) -> None: ...

class LeaveDetectorRequest(_message.Message):
    __slots__ = ("request_id", "name")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    name: str
    def __init__(self, request_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class LeaveDetectorResponse(_message.Message):
    __slots__ = ("detector",)
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    detector: Detector
    def __init__(self, detector: _Optional[_Union[Detector, _Mapping]] = ...) -> None: ...

class CreateScheduleRequest(_message.Message):
    __slots__ = ("request_id", "schedule")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    schedule: Schedule
    def __init__(self, request_id: _Optional[str] = ..., schedule: _Optional[_Union[Schedule, _Mapping]] = ...) -> None: ...

class CreateScheduleResponse(_message.Message):
    __slots__ = ("schedule",)
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    schedule: Schedule
    def __init__(self, schedule: _Optional[_Union[Schedule, _Mapping]] = ...) -> None: ...

class ListSchedulesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSchedulesResponse(_message.Message):
    __slots__ = ("schedules", "next_page_token")
    SCHEDULES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    schedules: _containers.RepeatedCompositeFieldContainer[Schedule]
    next_page_token: str
    def __init__(self, schedules: _Optional[_Iterable[_Union[Schedule, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class PauseScheduleRequest(_message.Message):
    __slots__ = ("request_id", "name")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    name: str
    def __init__(self, request_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class PauseScheduleResponse(_message.Message):
    __slots__ = ("schedule",)
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    schedule: Schedule
    def __init__(self, schedule: _Optional[_Union[Schedule, _Mapping]] = ...) -> None: ...

class ResumeScheduleRequest(_message.Message):
    __slots__ = ("request_id", "name")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    name: str
    def __init__(self, request_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class ResumeScheduleResponse(_message.Message):
    __slots__ = ("schedule",)
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    schedule: Schedule
    def __init__(self, schedule: _Optional[_Union[Schedule, _Mapping]] = ...) -> None: ...

class TriggerRoundRequest(_message.Message):
    __slots__ = ("request_id", "detector", "rounds", "quorum", "deadline_seconds")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    detector: str
    rounds: int
    quorum: int
    deadline_seconds: int
    def __init__(self, request_id: _Optional[str] = ..., detector: _Optional[str] = ..., rounds: _Optional[int] = ..., quorum: _Optional[int] = ..., deadline_seconds: _Optional[int] = ...) -> None: ...

class TriggerRoundResponse(_message.Message):
    __slots__ = ("round",)
    ROUND_FIELD_NUMBER: _ClassVar[int]
    round: Round
    def __init__(self, round: _Optional[_Union[Round, _Mapping]] = ...) -> None: ...

class CancelRoundRequest(_message.Message):
    __slots__ = ("request_id", "name")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    name: str
    def __init__(self, request_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class CancelRoundResponse(_message.Message):
    __slots__ = ("round",)
    ROUND_FIELD_NUMBER: _ClassVar[int]
    round: Round
    def __init__(self, round: _Optional[_Union[Round, _Mapping]] = ...) -> None: ...

class ListRoundsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "detector")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    detector: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., detector: _Optional[str] = ...) -> None: ...

class ListRoundsResponse(_message.Message):
    __slots__ = ("rounds", "next_page_token")
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    rounds: _containers.RepeatedCompositeFieldContainer[Round]
    next_page_token: str
    def __init__(self, rounds: _Optional[_Iterable[_Union[Round, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetRoundRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetRoundResponse(_message.Message):
    __slots__ = ("round",)
    ROUND_FIELD_NUMBER: _ClassVar[int]
    round: Round
    def __init__(self, round: _Optional[_Union[Round, _Mapping]] = ...) -> None: ...

class GetTaskRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetTaskResponse(_message.Message):
    __slots__ = ("task",)
    TASK_FIELD_NUMBER: _ClassVar[int]
    task: Task
    def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ...) -> None: ...

class SubmitResultRequest(_message.Message):
    __slots__ = ("request_id", "round", "kind", "update_digest", "update_size", "examples", "metrics", "local_metrics", "refusal")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    UPDATE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    UPDATE_SIZE_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    LOCAL_METRICS_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    round: str
    kind: TaskKind
    update_digest: bytes
    update_size: int
    examples: int
    metrics: _containers.RepeatedCompositeFieldContainer[TaskMetric]
    local_metrics: _containers.RepeatedCompositeFieldContainer[TaskMetric]
    refusal: TaskRefusal
    def __init__(self, request_id: _Optional[str] = ..., round: _Optional[str] = ..., kind: _Optional[_Union[TaskKind, str]] = ..., update_digest: _Optional[bytes] = ..., update_size: _Optional[int] = ..., examples: _Optional[int] = ..., metrics: _Optional[_Iterable[_Union[TaskMetric, _Mapping]]] = ..., local_metrics: _Optional[_Iterable[_Union[TaskMetric, _Mapping]]] = ..., refusal: _Optional[_Union[TaskRefusal, str]] = ...) -> None: ...

class SubmitResultResponse(_message.Message):
    __slots__ = ("accepted", "reason")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    accepted: bool
    reason: str
    def __init__(self, accepted: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("detector", "version")
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    detector: str
    version: int
    def __init__(self, detector: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("detector", "version", "digest", "size", "round")
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    detector: str
    version: int
    digest: bytes
    size: int
    round: str
    def __init__(self, detector: _Optional[str] = ..., version: _Optional[int] = ..., digest: _Optional[bytes] = ..., size: _Optional[int] = ..., round: _Optional[str] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "detector")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    detector: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., detector: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "next_page_token")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    next_page_token: str
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class PromoteModelRequest(_message.Message):
    __slots__ = ("request_id", "detector", "version")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    detector: str
    version: int
    def __init__(self, request_id: _Optional[str] = ..., detector: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class PromoteModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class SetModelReleaseRequest(_message.Message):
    __slots__ = ("request_id", "detector", "release")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    detector: str
    release: ModelRelease
    def __init__(self, request_id: _Optional[str] = ..., detector: _Optional[str] = ..., release: _Optional[_Union[ModelRelease, str]] = ...) -> None: ...

class SetModelReleaseResponse(_message.Message):
    __slots__ = ("detector",)
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    detector: Detector
    def __init__(self, detector: _Optional[_Union[Detector, _Mapping]] = ...) -> None: ...
