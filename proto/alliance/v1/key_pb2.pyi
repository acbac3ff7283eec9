import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class KeyWrap(_message.Message):
    __slots__ = ("group", "epoch", "recipient", "sender", "commitment", "sealed", "signature")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    group: str
    epoch: int
    recipient: str
    sender: str
    commitment: bytes
    sealed: bytes
    signature: bytes
    def __init__(self, group: _Optional[str] = ..., epoch: _Optional[int] = ..., recipient: _Optional[str] = ..., sender: _Optional[str] = ..., commitment: _Optional[bytes] = ..., sealed: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class GroupKeyEpoch(_message.Message):
    __slots__ = ("group", "epoch", "commitment", "creator", "create_time", "signature", "previous_sealed")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_SEALED_FIELD_NUMBER: _ClassVar[int]
    group: str
    epoch: int
    commitment: bytes
    creator: str
    create_time: _timestamp_pb2.Timestamp
    signature: bytes
    previous_sealed: bytes
    def __init__(self, group: _Optional[str] = ..., epoch: _Optional[int] = ..., commitment: _Optional[bytes] = ..., creator: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., signature: _Optional[bytes] = ..., previous_sealed: _Optional[bytes] = ...) -> None: ...

class GetGroupKeyRequest(_message.Message):
    __slots__ = ("group", "epoch")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    group: str
    epoch: int
    def __init__(self, group: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class GetGroupKeyResponse(_message.Message):
    __slots__ = ("epoch", "wrap", "members_without_wrap", "members", "rotation_due")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    WRAP_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_WITHOUT_WRAP_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    ROTATION_DUE_FIELD_NUMBER: _ClassVar[int]
    epoch: GroupKeyEpoch
    wrap: KeyWrap
    members_without_wrap: _containers.RepeatedScalarFieldContainer[str]
    members: _containers.RepeatedScalarFieldContainer[str]
    rotation_due: bool
    def __init__(self, epoch: _Optional[_Union[GroupKeyEpoch, _Mapping]] = ..., wrap: _Optional[_Union[KeyWrap, _Mapping]] = ..., members_without_wrap: _Optional[_Iterable[str]] = ..., members: _Optional[_Iterable[str]] = ..., rotation_due: _Optional[bool] = ...) -> None: ...

class CreateEpochRequest(_message.Message):
    __slots__ = ("request_id", "group", "epoch", "commitment", "signature", "wraps", "previous_sealed")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    WRAPS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_SEALED_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    group: str
    epoch: int
    commitment: bytes
    signature: bytes
    wraps: _containers.RepeatedCompositeFieldContainer[KeyWrap]
    previous_sealed: bytes
    def __init__(self, request_id: _Optional[str] = ..., group: _Optional[str] = ..., epoch: _Optional[int] = ..., commitment: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., wraps: _Optional[_Iterable[_Union[KeyWrap, _Mapping]]] = ..., previous_sealed: _Optional[bytes] = ...) -> None: ...

class CreateEpochResponse(_message.Message):
    __slots__ = ("epoch",)
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    epoch: GroupKeyEpoch
    def __init__(self, epoch: _Optional[_Union[GroupKeyEpoch, _Mapping]] = ...) -> None: ...

class AddWrapsRequest(_message.Message):
    __slots__ = ("request_id", "wraps")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WRAPS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    wraps: _containers.RepeatedCompositeFieldContainer[KeyWrap]
    def __init__(self, request_id: _Optional[str] = ..., wraps: _Optional[_Iterable[_Union[KeyWrap, _Mapping]]] = ...) -> None: ...

class AddWrapsResponse(_message.Message):
    __slots__ = ("stored",)
    STORED_FIELD_NUMBER: _ClassVar[int]
    stored: int
    def __init__(self, stored: _Optional[int] = ...) -> None: ...
