import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CertificateState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CERTIFICATE_STATE_UNSPECIFIED: _ClassVar[CertificateState]
    CERTIFICATE_STATE_GOOD: _ClassVar[CertificateState]
    CERTIFICATE_STATE_WRONG_USAGE: _ClassVar[CertificateState]
    CERTIFICATE_STATE_UNKNOWN_AUTHORITY: _ClassVar[CertificateState]
    CERTIFICATE_STATE_NO_IDENTITY: _ClassVar[CertificateState]
    CERTIFICATE_STATE_NEVER_ISSUED: _ClassVar[CertificateState]
    CERTIFICATE_STATE_MEMBER_EXPELLED: _ClassVar[CertificateState]
    CERTIFICATE_STATE_MEMBER_LEFT: _ClassVar[CertificateState]
    CERTIFICATE_STATE_REVOKED: _ClassVar[CertificateState]
    CERTIFICATE_STATE_EXPIRED: _ClassVar[CertificateState]
    CERTIFICATE_STATE_NOT_YET_VALID: _ClassVar[CertificateState]
    CERTIFICATE_STATE_MEMBER_SUSPENDED: _ClassVar[CertificateState]
    CERTIFICATE_STATE_MEMBER_UNADMITTED: _ClassVar[CertificateState]

class MemberRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MEMBER_ROLE_UNSPECIFIED: _ClassVar[MemberRole]
    MEMBER_ROLE_BRAND: _ClassVar[MemberRole]
    MEMBER_ROLE_MARKETPLACE: _ClassVar[MemberRole]
    MEMBER_ROLE_ASSOCIATION: _ClassVar[MemberRole]
    MEMBER_ROLE_REGULATOR: _ClassVar[MemberRole]
    MEMBER_ROLE_LAW_ENFORCEMENT: _ClassVar[MemberRole]
    MEMBER_ROLE_EXPERT: _ClassVar[MemberRole]

class ConsoleRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONSOLE_ROLE_UNSPECIFIED: _ClassVar[ConsoleRole]
    CONSOLE_ROLE_VIEWER: _ClassVar[ConsoleRole]
    CONSOLE_ROLE_OPERATOR: _ClassVar[ConsoleRole]
    CONSOLE_ROLE_ADMIN: _ClassVar[ConsoleRole]
    CONSOLE_ROLE_AUDITOR: _ClassVar[ConsoleRole]
CERTIFICATE_STATE_UNSPECIFIED: CertificateState
CERTIFICATE_STATE_GOOD: CertificateState
CERTIFICATE_STATE_WRONG_USAGE: CertificateState
CERTIFICATE_STATE_UNKNOWN_AUTHORITY: CertificateState
CERTIFICATE_STATE_NO_IDENTITY: CertificateState
CERTIFICATE_STATE_NEVER_ISSUED: CertificateState
CERTIFICATE_STATE_MEMBER_EXPELLED: CertificateState
CERTIFICATE_STATE_MEMBER_LEFT: CertificateState
CERTIFICATE_STATE_REVOKED: CertificateState
CERTIFICATE_STATE_EXPIRED: CertificateState
CERTIFICATE_STATE_NOT_YET_VALID: CertificateState
CERTIFICATE_STATE_MEMBER_SUSPENDED: CertificateState
CERTIFICATE_STATE_MEMBER_UNADMITTED: CertificateState
MEMBER_ROLE_UNSPECIFIED: MemberRole
MEMBER_ROLE_BRAND: MemberRole
MEMBER_ROLE_MARKETPLACE: MemberRole
MEMBER_ROLE_ASSOCIATION: MemberRole
MEMBER_ROLE_REGULATOR: MemberRole
MEMBER_ROLE_LAW_ENFORCEMENT: MemberRole
MEMBER_ROLE_EXPERT: MemberRole
CONSOLE_ROLE_UNSPECIFIED: ConsoleRole
CONSOLE_ROLE_VIEWER: ConsoleRole
CONSOLE_ROLE_OPERATOR: ConsoleRole
CONSOLE_ROLE_ADMIN: ConsoleRole
CONSOLE_ROLE_AUDITOR: ConsoleRole

class MemberIdentity(_message.Message):
    __slots__ = ("signing_key", "sealing_key")
    SIGNING_KEY_FIELD_NUMBER: _ClassVar[int]
    SEALING_KEY_FIELD_NUMBER: _ClassVar[int]
    signing_key: bytes
    sealing_key: bytes
    def __init__(self, signing_key: _Optional[bytes] = ..., sealing_key: _Optional[bytes] = ...) -> None: ...

class EnrolRequest(_message.Message):
    __slots__ = ("request_id", "invitation_secret", "certificate_request", "identity", "identity_signature")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    INVITATION_SECRET_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    invitation_secret: bytes
    certificate_request: bytes
    identity: MemberIdentity
    identity_signature: bytes
    def __init__(self, request_id: _Optional[str] = ..., invitation_secret: _Optional[bytes] = ..., certificate_request: _Optional[bytes] = ..., identity: _Optional[_Union[MemberIdentity, _Mapping]] = ..., identity_signature: _Optional[bytes] = ...) -> None: ...

class EnrolResponse(_message.Message):
    __slots__ = ("member", "agent", "role", "certificate_chain", "alliance", "hub_address", "log_key")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_CHAIN_FIELD_NUMBER: _ClassVar[int]
    ALLIANCE_FIELD_NUMBER: _ClassVar[int]
    HUB_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    LOG_KEY_FIELD_NUMBER: _ClassVar[int]
    member: str
    agent: str
    role: MemberRole
    certificate_chain: _containers.RepeatedScalarFieldContainer[bytes]
    alliance: str
    hub_address: str
    log_key: bytes
    def __init__(self, member: _Optional[str] = ..., agent: _Optional[str] = ..., role: _Optional[_Union[MemberRole, str]] = ..., certificate_chain: _Optional[_Iterable[bytes]] = ..., alliance: _Optional[str] = ..., hub_address: _Optional[str] = ..., log_key: _Optional[bytes] = ...) -> None: ...

class RenewCertificateRequest(_message.Message):
    __slots__ = ("request_id", "certificate_request")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    certificate_request: bytes
    def __init__(self, request_id: _Optional[str] = ..., certificate_request: _Optional[bytes] = ...) -> None: ...

class RenewCertificateResponse(_message.Message):
    __slots__ = ("certificate_chain",)
    CERTIFICATE_CHAIN_FIELD_NUMBER: _ClassVar[int]
    certificate_chain: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, certificate_chain: _Optional[_Iterable[bytes]] = ...) -> None: ...

class EnrolAgentRequest(_message.Message):
    __slots__ = ("request_id", "member", "agent", "certificate_request", "request_time", "identity_signature")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    REQUEST_TIME_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    member: str
    agent: str
    certificate_request: bytes
    request_time: _timestamp_pb2.Timestamp
    identity_signature: bytes
    def __init__(self, request_id: _Optional[str] = ..., member: _Optional[str] = ..., agent: _Optional[str] = ..., certificate_request: _Optional[bytes] = ..., request_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., identity_signature: _Optional[bytes] = ...) -> None: ...

class EnrolAgentResponse(_message.Message):
    __slots__ = ("agent", "role", "certificate_chain", "hub_address", "log_key")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_CHAIN_FIELD_NUMBER: _ClassVar[int]
    HUB_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    LOG_KEY_FIELD_NUMBER: _ClassVar[int]
    agent: str
    role: MemberRole
    certificate_chain: _containers.RepeatedScalarFieldContainer[bytes]
    hub_address: str
    log_key: bytes
    def __init__(self, agent: _Optional[str] = ..., role: _Optional[_Union[MemberRole, str]] = ..., certificate_chain: _Optional[_Iterable[bytes]] = ..., hub_address: _Optional[str] = ..., log_key: _Optional[bytes] = ...) -> None: ...

class Agent(_message.Message):
    __slots__ = ("name", "create_time", "expire_time", "revoke_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    REVOKE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    create_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    revoke_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revoke_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListAgentsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAgentsResponse(_message.Message):
    __slots__ = ("agents", "next_page_token")
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    agents: _containers.RepeatedCompositeFieldContainer[Agent]
    next_page_token: str
    def __init__(self, agents: _Optional[_Iterable[_Union[Agent, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RevokeAgentRequest(_message.Message):
    __slots__ = ("request_id", "name")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    name: str
    def __init__(self, request_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class RevokeAgentResponse(_message.Message):
    __slots__ = ("agent",)
    AGENT_FIELD_NUMBER: _ClassVar[int]
    agent: Agent
    def __init__(self, agent: _Optional[_Union[Agent, _Mapping]] = ...) -> None: ...

class IdentityChange(_message.Message):
    __slots__ = ("former", "identity", "former_signature", "signature", "create_time")
    FORMER_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    FORMER_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    former: MemberIdentity
    identity: MemberIdentity
    former_signature: bytes
    signature: bytes
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, former: _Optional[_Union[MemberIdentity, _Mapping]] = ..., identity: _Optional[_Union[MemberIdentity, _Mapping]] = ..., former_signature: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ChangeIdentityRequest(_message.Message):
    __slots__ = ("request_id", "identity", "former_signature", "signature")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    FORMER_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    identity: MemberIdentity
    former_signature: bytes
    signature: bytes
    def __init__(self, request_id: _Optional[str] = ..., identity: _Optional[_Union[MemberIdentity, _Mapping]] = ..., former_signature: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class ChangeIdentityResponse(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: IdentityChange
    def __init__(self, change: _Optional[_Union[IdentityChange, _Mapping]] = ...) -> None: ...

class ListIdentityChangesRequest(_message.Message):
    __slots__ = ("member", "page_size", "page_token")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    member: str
    page_size: int
    page_token: str
    def __init__(self, member: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListIdentityChangesResponse(_message.Message):
    __slots__ = ("changes", "next_page_token")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[IdentityChange]
    next_page_token: str
    def __init__(self, changes: _Optional[_Iterable[_Union[IdentityChange, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class IssueOperatorCertificateRequest(_message.Message):
    __slots__ = ("request_id", "operator", "role", "certificate_request")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    operator: str
    role: ConsoleRole
    certificate_request: bytes
    def __init__(self, request_id: _Optional[str] = ..., operator: _Optional[str] = ..., role: _Optional[_Union[ConsoleRole, str]] = ..., certificate_request: _Optional[bytes] = ...) -> None: ...

class IssueOperatorCertificateResponse(_message.Message):
    __slots__ = ("certificate_chain", "expire_time")
    CERTIFICATE_CHAIN_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    certificate_chain: _containers.RepeatedScalarFieldContainer[bytes]
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, certificate_chain: _Optional[_Iterable[bytes]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ExplainCertificateRequest(_message.Message):
    __slots__ = ("certificate_chain", "request_time", "signature")
    CERTIFICATE_CHAIN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_TIME_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    certificate_chain: _containers.RepeatedScalarFieldContainer[bytes]
    request_time: _timestamp_pb2.Timestamp
    signature: bytes
    def __init__(self, certificate_chain: _Optional[_Iterable[bytes]] = ..., request_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., signature: _Optional[bytes] = ...) -> None: ...

class ExplainCertificateResponse(_message.Message):
    __slots__ = ("state", "explanation", "remedy", "hub_time")
    STATE_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    HUB_TIME_FIELD_NUMBER: _ClassVar[int]
    state: CertificateState
    explanation: str
    remedy: str
    hub_time: _timestamp_pb2.Timestamp
    def __init__(self, state: _Optional[_Union[CertificateState, str]] = ..., explanation: _Optional[str] = ..., remedy: _Optional[str] = ..., hub_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
