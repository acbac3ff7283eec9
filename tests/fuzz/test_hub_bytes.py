"""Raw bytes on every RPC: random ones, and plausible requests with flipped bits, cut short or spliced.

Each is answered, or refused by name with nothing of the hub's insides in it; afterwards the hub still works, has
not grown, and has no worker stuck. Seeded by the RPC's name, so that a failure comes again.
"""

from __future__ import annotations

import random
import resource
import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from alliance.v1 import membership_pb2
from hub.runtime.access import TABLE
from hub.runtime.caller import MEMBERS
from tests.kit.alliance import alliance
from tests.kit.rpc import all_methods, raw_call
from tests.kit.scene import Scene, check

METHODS = all_methods()
COUNT = 60
# What Python and its libraries call their insides.
INSIDES = ("Traceback", "Error(", "Exception", "sqlite", "psycopg", "sqlalchemy", '.py"', " at 0x", "grpc._", "<class")
GROWTH_MIB = 64


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    # What comes here is more than one address enrols in a day.
    with alliance(members=2, membership_admission_cosigners=3, limits_enrolment_calls_per_second=0.0) as a:
        made = Scene(a)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        yield made
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
        hello = membership_pb2.HandshakeRequest(client_version="0.1.0")
        assert made.a.members[1].call(hello, membership_pb2.HandshakeResponse).caller == made.a.members[1].name
        assert grown < GROWTH_MIB, f"the process grew by {grown} MiB"


def opened(scene: Scene, name: str) -> grpc.Channel:
    """Of somebody who may call it, so that the bytes get as far as they can."""
    if name.startswith("alliance."):
        return scene.channel(name)
    return scene.member.channel if TABLE[name].who & MEMBERS else scene.a.hub.admin.channel


def serialised(request: Any, chosen: random.Random) -> bytes:
    """Under a request id of its own, so that it is not answered with what was answered before."""
    if "request_id" in request.DESCRIPTOR.fields_by_name:
        request.request_id = str(uuid.UUID(int=chosen.getrandbits(128), version=4))
    return bytes(request.SerializeToString())


def flipped(data: bytes, chosen: random.Random) -> bytes:
    """A few bits, or a part, or two parts."""
    changed = bytearray(data)
    match chosen.randrange(4):
        case 0:
            return bytes(changed[: chosen.randrange(len(changed) + 1)])
        case 1:
            at = chosen.randrange(len(changed) + 1)
            return bytes(changed[at:] + changed[:at])
        case _:
            for _ in range(chosen.randint(1, 3)):
                changed[chosen.randrange(len(changed))] ^= 1 << chosen.randrange(8)
            return bytes(changed)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_no_bytes_hurt_the_hub(name: str, scene: Scene) -> None:
    method, chosen = METHODS[name], random.Random(name)  # a failure must come again
    plausible: Any = scene.plausible().get(method.input_type.name)
    for n in range(COUNT):
        valid = b"" if plausible is None else serialised(plausible, chosen)
        raw = flipped(valid, chosen) if valid and n % 2 else chosen.randbytes(chosen.randrange(300))
        outcome = raw_call(opened(scene, name), method, raw)
        check(outcome, raw)
        told = f"{outcome.message} {outcome.infos}"
        assert not [word for word in INSIDES if word in told], told
