import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Tlp(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TLP_UNSPECIFIED: _ClassVar[Tlp]
    TLP_CLEAR: _ClassVar[Tlp]
    TLP_GREEN: _ClassVar[Tlp]
    TLP_AMBER: _ClassVar[Tlp]
    TLP_AMBER_STRICT: _ClassVar[Tlp]
    TLP_RED: _ClassVar[Tlp]

class HitBucket(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HIT_BUCKET_UNSPECIFIED: _ClassVar[HitBucket]
    HIT_BUCKET_1_TO_9: _ClassVar[HitBucket]
    HIT_BUCKET_10_TO_99: _ClassVar[HitBucket]
    HIT_BUCKET_100_TO_999: _ClassVar[HitBucket]
    HIT_BUCKET_1000_OR_MORE: _ClassVar[HitBucket]
TLP_UNSPECIFIED: Tlp
TLP_CLEAR: Tlp
TLP_GREEN: Tlp
TLP_AMBER: Tlp
TLP_AMBER_STRICT: Tlp
TLP_RED: Tlp
HIT_BUCKET_UNSPECIFIED: HitBucket
HIT_BUCKET_1_TO_9: HitBucket
HIT_BUCKET_10_TO_99: HitBucket
HIT_BUCKET_100_TO_999: HitBucket
HIT_BUCKET_1000_OR_MORE: HitBucket

class Bank(_message.Message):
    __slots__ = ("name", "group", "scheme", "head_seq", "head_digest", "create_time", "tlp")
    NAME_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    HEAD_SEQ_FIELD_NUMBER: _ClassVar[int]
    HEAD_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    TLP_FIELD_NUMBER: _ClassVar[int]
    name: str
    group: str
    scheme: str
    head_seq: int
    head_digest: bytes
    create_time: _timestamp_pb2.Timestamp
    tlp: Tlp
    def __init__(self, name: _Optional[str] = ..., group: _Optional[str] = ..., scheme: _Optional[str] = ..., head_seq: _Optional[int] = ..., head_digest: _Optional[bytes] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tlp: _Optional[_Union[Tlp, str]] = ...) -> None: ...

class BatchHeader(_message.Message):
    __slots__ = ("bank", "publisher", "scheme", "epoch", "row_count", "digest", "size", "create_time", "signature")
    BANK_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    bank: str
    publisher: str
    scheme: str
    epoch: int
    row_count: int
    digest: bytes
    size: int
    create_time: _timestamp_pb2.Timestamp
    signature: bytes
    def __init__(self, bank: _Optional[str] = ..., publisher: _Optional[str] = ..., scheme: _Optional[str] = ..., epoch: _Optional[int] = ..., row_count: _Optional[int] = ..., digest: _Optional[bytes] = ..., size: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Tombstone(_message.Message):
    __slots__ = ("bank", "publisher", "batch_digest", "rows", "create_time", "signature")
    BANK_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    BATCH_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    bank: str
    publisher: str
    batch_digest: bytes
    rows: _containers.RepeatedScalarFieldContainer[int]
    create_time: _timestamp_pb2.Timestamp
    signature: bytes
    def __init__(self, bank: _Optional[str] = ..., publisher: _Optional[str] = ..., batch_digest: _Optional[bytes] = ..., rows: _Optional[_Iterable[int]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., signature: _Optional[bytes] = ...) -> None: ...

class BankEntry(_message.Message):
    __slots__ = ("seq", "batch", "tombstone", "chain_digest")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    TOMBSTONE_FIELD_NUMBER: _ClassVar[int]
    CHAIN_DIGEST_FIELD_NUMBER: _ClassVar[int]
    seq: int
    batch: BatchHeader
    tombstone: Tombstone
    chain_digest: bytes
    def __init__(self, seq: _Optional[int] = ..., batch: _Optional[_Union[BatchHeader, _Mapping]] = ..., tombstone: _Optional[_Union[Tombstone, _Mapping]] = ..., chain_digest: _Optional[bytes] = ...) -> None: ...

class Segment(_message.Message):
    __slots__ = ("bank", "first_seq", "last_seq", "digest", "size")
    BANK_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    bank: str
    first_seq: int
    last_seq: int
    digest: bytes
    size: int
    def __init__(self, bank: _Optional[str] = ..., first_seq: _Optional[int] = ..., last_seq: _Optional[int] = ..., digest: _Optional[bytes] = ..., size: _Optional[int] = ...) -> None: ...

class CreateBankRequest(_message.Message):
    __slots__ = ("request_id", "name", "group", "scheme", "tlp")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    TLP_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    name: str
    group: str
    scheme: str
    tlp: Tlp
    def __init__(self, request_id: _Optional[str] = ..., name: _Optional[str] = ..., group: _Optional[str] = ..., scheme: _Optional[str] = ..., tlp: _Optional[_Union[Tlp, str]] = ...) -> None: ...

class CreateBankResponse(_message.Message):
    __slots__ = ("bank",)
    BANK_FIELD_NUMBER: _ClassVar[int]
    bank: Bank
    def __init__(self, bank: _Optional[_Union[Bank, _Mapping]] = ...) -> None: ...

class ListBanksRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListBanksResponse(_message.Message):
    __slots__ = ("banks", "next_page_token")
    BANKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    banks: _containers.RepeatedCompositeFieldContainer[Bank]
    next_page_token: str
    def __init__(self, banks: _Optional[_Iterable[_Union[Bank, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class PublishBatchRequest(_message.Message):
    __slots__ = ("request_id", "batch")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    batch: BatchHeader
    def __init__(self, request_id: _Optional[str] = ..., batch: _Optional[_Union[BatchHeader, _Mapping]] = ...) -> None: ...

class PublishBatchResponse(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class WithdrawRowsRequest(_message.Message):
    __slots__ = ("request_id", "tombstone")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TOMBSTONE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    tombstone: Tombstone
    def __init__(self, request_id: _Optional[str] = ..., tombstone: _Optional[_Union[Tombstone, _Mapping]] = ...) -> None: ...

class WithdrawRowsResponse(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class ListEntriesRequest(_message.Message):
    __slots__ = ("bank", "after_seq", "page_size", "page_token")
    BANK_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQ_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    bank: str
    after_seq: int
    page_size: int
    page_token: str
    def __init__(self, bank: _Optional[str] = ..., after_seq: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListEntriesResponse(_message.Message):
    __slots__ = ("entries", "next_page_token", "head_seq", "head_digest")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HEAD_SEQ_FIELD_NUMBER: _ClassVar[int]
    HEAD_DIGEST_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[BankEntry]
    next_page_token: str
    head_seq: int
    head_digest: bytes
    def __init__(self, entries: _Optional[_Iterable[_Union[BankEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., head_seq: _Optional[int] = ..., head_digest: _Optional[bytes] = ...) -> None: ...

class ListSegmentsRequest(_message.Message):
    __slots__ = ("bank", "after_seq", "page_size", "page_token")
    BANK_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQ_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    bank: str
    after_seq: int
    page_size: int
    page_token: str
    def __init__(self, bank: _Optional[str] = ..., after_seq: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSegmentsResponse(_message.Message):
    __slots__ = ("segments", "next_page_token")
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    segments: _containers.RepeatedCompositeFieldContainer[Segment]
    next_page_token: str
    def __init__(self, segments: _Optional[_Iterable[_Union[Segment, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class FingerprintHits(_message.Message):
    __slots__ = ("batch_digest", "row", "bucket")
    BATCH_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    batch_digest: bytes
    row: int
    bucket: HitBucket
    def __init__(self, batch_digest: _Optional[bytes] = ..., row: _Optional[int] = ..., bucket: _Optional[_Union[HitBucket, str]] = ...) -> None: ...

class ReportHitsRequest(_message.Message):
    __slots__ = ("request_id", "bank", "hits")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    BANK_FIELD_NUMBER: _ClassVar[int]
    HITS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    bank: str
    hits: _containers.RepeatedCompositeFieldContainer[FingerprintHits]
    def __init__(self, request_id: _Optional[str] = ..., bank: _Optional[str] = ..., hits: _Optional[_Iterable[_Union[FingerprintHits, _Mapping]]] = ...) -> None: ...

class ReportHitsResponse(_message.Message):
    __slots__ = ("stored",)
    STORED_FIELD_NUMBER: _ClassVar[int]
    stored: int
    def __init__(self, stored: _Optional[int] = ...) -> None: ...

class ListHitsRequest(_message.Message):
    __slots__ = ("bank", "page_size", "page_token")
    BANK_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    bank: str
    page_size: int
    page_token: str
    def __init__(self, bank: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class HitSummary(_message.Message):
    __slots__ = ("batch_digest", "row", "bucket", "reporting_members")
    BATCH_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    REPORTING_MEMBERS_FIELD_NUMBER: _ClassVar[int]
    batch_digest: bytes
    row: int
    bucket: HitBucket
    reporting_members: int
    def __init__(self, batch_digest: _Optional[bytes] = ..., row: _Optional[int] = ..., bucket: _Optional[_Union[HitBucket, str]] = ..., reporting_members: _Optional[int] = ...) -> None: ...

class ListHitsResponse(_message.Message):
    __slots__ = ("hits", "next_page_token")
    HITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[HitSummary]
    next_page_token: str
    def __init__(self, hits: _Optional[_Iterable[_Union[HitSummary, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
