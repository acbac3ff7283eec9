"""An approved detector and rounds of it, by calls of the services; members are no agents here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from sqlalchemy import Connection

from alliance import tensors
from alliance.canonical import sha256
from alliance.names import Digest
from alliance.tensors import ArraySpec
from alliance.v1 import federation_pb2 as pb
from hub.app import Services
from hub.blobs.model import StoredBlob
from hub.federation import round_store
from hub.federation.model import (
    SECOND,
    DetectorId,
    Participant,
    ParticipantState,
    Plan,
    Round,
    RoundId,
    RoundState,
    Schedule,
    ScheduleId,
    Spec,
    StrategyName,
)
from hub.federation.service import Result
from hub.federation.work import Outcome, Work
from hub.runtime.clock import micros
from tests.kit.clock import ShiftedClock
from tests.kit.direct import ADMIN, DirectMember, create_group, read, write

PLAN = Plan(quorum=2, deadline=60 * SECOND)
ARRAYS = (ArraySpec(name="w", dtype="float32", shape=(2,)),)
SPEC = Spec(code="test", arrays=ARRAYS, metrics=("accuracy",), strategy=StrategyName.FED_AVG)
NIGHTLY = ScheduleId("schedules/nightly")


class Training:
    """An approved detector that two members joined, on each kind of database."""

    def __init__(self, services: Services, clock: ShiftedClock) -> None:
        self.services, self.clock = services, clock
        self.members = [DirectMember.join(services, name) for name in ("acme", "zoo")]
        self.group = create_group(services, "shoes", *self.members)
        self.detector = self.another("d")

    def another(self, name: str) -> DetectorId:
        detector = DetectorId(f"detectors/{name}")
        made = self.services.detectors
        write(self.services, lambda tx: made.propose(tx, ADMIN, detector, self.group, SPEC, b""))
        write(self.services, lambda tx: made.approve(tx, ADMIN, detector))
        for member in self.members:
            member.act(lambda tx, caller: made.join(tx, caller, detector))
        return detector

    @property
    def now(self) -> int:
        return micros(self.clock())

    def schedule(self) -> None:
        wanted = Schedule(
            id=NIGHTLY, detector=self.detector, interval=3600 * SECOND, rounds=1, plan=PLAN, next_time=self.now
        )
        write(self.services, lambda tx: self.services.detectors.create_schedule(tx, ADMIN, wanted))

    def trigger(self) -> Round:
        rounds = self.services.rounds
        return write(self.services, lambda tx: rounds.trigger(tx, ADMIN, self.detector, PLAN, 1))

    def all_rounds(self) -> list[Round]:
        return read(self.services, lambda tx: round_store.rounds(tx, detectors=None, before=None, limit=100))

    def found(self, round_id: RoundId) -> Round:
        found = read(self.services, lambda tx: round_store.find_round(tx, round_id))
        assert found is not None
        return found

    def aggregating(self) -> RoundId:
        """A round in which both members have reported."""
        made = self.trigger()
        slots = tuple(
            Participant(
                member=member.name,
                state=ParticipantState.REPORTED,
                update_digest=Digest(sha256(member.name.encode())),
                examples=10,
            )
            for member in self.members
        )

        def save(tx: Connection) -> None:
            bare = round_store.lock_round(tx, made.id)
            assert bare is not None
            round_store.save_round(tx, bare, replace(bare, state=RoundState.AGGREGATING, participants=slots))

        write(self.services, save)
        return made.id

    def advance(self, round_id: RoundId) -> Work | None:
        return write(self.services, lambda tx: self.services.rounds.advance(tx, round_id))

    def conclude(self, work: Work, value: float, state: bytes = b"") -> bool:
        """With a model of this value in every place."""
        made = [
            StoredBlob(self.services.blobs.files.put(data), len(data)) if data else None
            for data in (encoded(value), state)
        ]
        outcome = Outcome(model=made[0], state=made[1])
        return write(self.services, lambda tx: self.services.rounds.conclude(tx, work, outcome))

    def cancel(self, round_id: RoundId) -> None:
        write(self.services, lambda tx: self.services.rounds.cancel(tx, ADMIN, round_id))


def encoded(value: float) -> bytes:
    return tensors.encode({"w": np.full(2, value, np.float32)})


def answered(training: Training, member: DirectMember, round_id: RoundId, update: Digest, size: int) -> bool:
    """Whether this answer of the member counts."""
    answer = Result(
        kind=pb.TASK_KIND_TRAIN,
        update_digest=update,
        update_size=size,
        examples=10,
        metrics=(),
        local=(),
        refusal=0,
    )
    return member.act(lambda tx, caller: training.services.rounds.submit(tx, caller, round_id, answer))[0]


def uploads(training: Training, member: DirectMember, data: bytes) -> Digest:
    """As a finished upload leaves them."""
    digest = training.services.blobs.files.put(data)
    write(training.services, lambda tx: training.services.blobs.register(tx, member.name, digest, len(data)))
    return digest


def reported(training: Training, round_id: RoundId, updates: Mapping[DirectMember, Digest]) -> None:
    """All of these have reported, and the round is to be aggregated."""
    slots = tuple(
        Participant(member=member.name, state=ParticipantState.REPORTED, update_digest=digest, examples=1)
        for member, digest in updates.items()
    )

    def save(tx: Connection) -> None:
        found = round_store.lock_round(tx, round_id)
        assert found is not None
        round_store.save_round(tx, found, replace(found, state=RoundState.AGGREGATING, participants=slots))

    write(training.services, save)


def held(training: Training, digest: Digest, member: DirectMember) -> tuple[bool, bool]:
    """Whether the bytes are at the hub, and whether they count as this member's upload."""
    blobs = training.services.blobs
    counts = read(training.services, lambda tx: blobs.uploaded(tx, member.name, digest)) is not None
    return blobs.files.path(digest).exists(), counts
