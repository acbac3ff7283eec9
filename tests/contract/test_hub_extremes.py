"""No value of any field of any request makes the hub fail inside: each is answered, or refused by name.

Every scalar of a plausible request is set, one at a time, to values at and beyond what it is for, on SQLite and
PostgreSQL: what one database's driver swallows, the other's may not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from alliance.v1 import (
    fingerprint_pb2,
)
from tests.kit.alliance import alliance
from tests.kit.keys import request_id
from tests.kit.rpc import all_methods, raw_call
from tests.kit.scene import Scene, check

METHODS = {
    name: method
    for name, method in all_methods().items()
    if name.startswith("alliance.") and not method.client_streaming and not method.server_streaming
}
INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), -1, 0, 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), -1, 0, 2**31, 2**63 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-1, 0, 99),
    FieldDescriptor.CPPTYPE_DOUBLE: (-1.0, 0.0, 1e308, float("inf"), float("nan")),
    FieldDescriptor.CPPTYPE_BOOL: (False, True),
}
TEXTS = (
    "",
    "\0",
    "x" * 100_000,
    "members/\0",
    "members/UPPER",
    "members/a/b",
    "groups/none",
    "ünïcödé/✓",
    "' OR 1=1 --",
)
BYTES = (b"", b"\0", bytes(31), bytes(32), b"\xff" * 100_000)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    url = request.getfixturevalue("postgres_databases").create() if request.param == "postgresql" else ""
    # The two and the one that will be expelled are founders; the next one waits.
    with alliance(members=2, url=url, membership_admission_cosigners=3) as a:
        yield Scene(a)


def variants(message: Any, change: Callable[[], None]) -> None:
    """Calls `change` with each scalar in `message` at each extreme, and puts it back; repeated ones by their first."""
    for field in message.DESCRIPTOR.fields:
        if field.name == "request_id":
            continue
        before = type(message)()
        before.CopyFrom(message)
        value = getattr(message, field.name)
        if field.is_repeated:
            if field.message_type is not None and value:
                variants(value[0], change)
            elif field.message_type is None:
                for extreme in extremes(field):
                    value[:] = [extreme]
                    change()
        elif field.message_type is not None:
            variants(value, change)
            message.ClearField(field.name)
            change()
        else:
            for extreme in extremes(field):
                setattr(message, field.name, extreme)
                change()
        message.CopyFrom(before)


def extremes(field: FieldDescriptor) -> tuple[Any, ...]:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return BYTES
    return TEXTS if field.type == FieldDescriptor.TYPE_STRING else INTEGERS[field.cpp_type]


@pytest.mark.parametrize("name", sorted(METHODS))
def test_no_value_makes_the_hub_fail(name: str, scene: Scene) -> None:
    method = METHODS[name]
    plausible = scene.plausible()
    request: Any = plausible.get(method.input_type.name)
    if request is None:
        assert set(method.input_type.fields_by_name) <= {"request_id"}
        return

    def send() -> None:
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            request.request_id = request_id()
        check(raw_call(scene.channel(name), method, request.SerializeToString()), request)

    variants(request, send)


def test_extremes_reach_into_nested_and_repeated_fields() -> None:
    """The sweep sees what it is for: the time inside a batch, the rows of a tombstone."""
    batch = fingerprint_pb2.PublishBatchRequest()
    batch.batch.create_time.CopyFrom(Timestamp(seconds=1))
    seen: list[int] = []
    variants(batch, lambda: seen.append(batch.batch.create_time.seconds))
    assert {-(2**63), 2**63 - 1, 1} <= set(seen)
    assert batch.batch.create_time.seconds == 1
    rows: list[tuple[int, ...]] = []
    tombstone = fingerprint_pb2.Tombstone()
    variants(tombstone, lambda: rows.append(tuple(tombstone.rows)))
    assert (-(2**31),) in rows
