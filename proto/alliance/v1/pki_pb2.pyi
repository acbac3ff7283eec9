import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AuthorityPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUTHORITY_PHASE_UNSPECIFIED: _ClassVar[AuthorityPhase]
    AUTHORITY_PHASE_ANNOUNCED: _ClassVar[AuthorityPhase]
    AUTHORITY_PHASE_ACTIVE: _ClassVar[AuthorityPhase]
    AUTHORITY_PHASE_OUTGOING: _ClassVar[AuthorityPhase]
    AUTHORITY_PHASE_RETIRED: _ClassVar[AuthorityPhase]
AUTHORITY_PHASE_UNSPECIFIED: AuthorityPhase
AUTHORITY_PHASE_ANNOUNCED: AuthorityPhase
AUTHORITY_PHASE_ACTIVE: AuthorityPhase
AUTHORITY_PHASE_OUTGOING: AuthorityPhase
AUTHORITY_PHASE_RETIRED: AuthorityPhase

class Authority(_message.Message):
    __slots__ = ("name", "anchor", "issuer", "cross_certificate", "phase", "announce_time", "phase_time", "overlap_seconds", "live_certificates")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ANCHOR_FIELD_NUMBER: _ClassVar[int]
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    CROSS_CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    ANNOUNCE_TIME_FIELD_NUMBER: _ClassVar[int]
    PHASE_TIME_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LIVE_CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    name: str
    anchor: bytes
    issuer: bytes
    cross_certificate: bytes
    phase: AuthorityPhase
    announce_time: _timestamp_pb2.Timestamp
    phase_time: _timestamp_pb2.Timestamp
    overlap_seconds: int
    live_certificates: int
    def __init__(self, name: _Optional[str] = ..., anchor: _Optional[bytes] = ..., issuer: _Optional[bytes] = ..., cross_certificate: _Optional[bytes] = ..., phase: _Optional[_Union[AuthorityPhase, str]] = ..., announce_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., phase_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., overlap_seconds: _Optional[int] = ..., live_certificates: _Optional[int] = ...) -> None: ...

class GetTrustBundleRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetTrustBundleResponse(_message.Message):
    __slots__ = ("authorities",)
    AUTHORITIES_FIELD_NUMBER: _ClassVar[int]
    authorities: _containers.RepeatedCompositeFieldContainer[Authority]
    def __init__(self, authorities: _Optional[_Iterable[_Union[Authority, _Mapping]]] = ...) -> None: ...

class RotateCaRequest(_message.Message):
    __slots__ = ("request_id", "overlap_seconds")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_SECONDS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    overlap_seconds: int
    def __init__(self, request_id: _Optional[str] = ..., overlap_seconds: _Optional[int] = ...) -> None: ...

class RotateCaResponse(_message.Message):
    __slots__ = ("authority",)
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    authority: Authority
    def __init__(self, authority: _Optional[_Union[Authority, _Mapping]] = ...) -> None: ...

class RequestCaRequest(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    def __init__(self, request_id: _Optional[str] = ...) -> None: ...

class RequestCaResponse(_message.Message):
    __slots__ = ("certificate_request",)
    CERTIFICATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    certificate_request: bytes
    def __init__(self, certificate_request: _Optional[bytes] = ...) -> None: ...

class InstallCaRequest(_message.Message):
    __slots__ = ("request_id", "certificates", "overlap_seconds")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_SECONDS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    certificates: _containers.RepeatedScalarFieldContainer[bytes]
    overlap_seconds: int
    def __init__(self, request_id: _Optional[str] = ..., certificates: _Optional[_Iterable[bytes]] = ..., overlap_seconds: _Optional[int] = ...) -> None: ...

class InstallCaResponse(_message.Message):
    __slots__ = ("authority",)
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    authority: Authority
    def __init__(self, authority: _Optional[_Union[Authority, _Mapping]] = ...) -> None: ...

class RetireCaRequest(_message.Message):
    __slots__ = ("request_id", "name")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    name: str
    def __init__(self, request_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class RetireCaResponse(_message.Message):
    __slots__ = ("authority", "revoked")
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    authority: Authority
    revoked: int
    def __init__(self, authority: _Optional[_Union[Authority, _Mapping]] = ..., revoked: _Optional[int] = ...) -> None: ...

class RenewOperatorCertificateRequest(_message.Message):
    __slots__ = ("request_id", "certificate_request")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    certificate_request: bytes
    def __init__(self, request_id: _Optional[str] = ..., certificate_request: _Optional[bytes] = ...) -> None: ...

class RenewOperatorCertificateResponse(_message.Message):
    __slots__ = ("certificate_chain", "expire_time")
    CERTIFICATE_CHAIN_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    certificate_chain: _containers.RepeatedScalarFieldContainer[bytes]
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, certificate_chain: _Optional[_Iterable[bytes]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
