"""Tables of detectors, consents and schedules; `round_store` has those of rounds."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    bindparam,
    delete,
    exists,
    insert,
    select,
    update,
)

from alliance.names import Digest, GroupId, MemberId
from alliance.prepared import Prepared
from alliance.v1 import federation_pb2 as pb
from hub.federation.model import (
    Detector,
    DetectorId,
    DetectorState,
    Plan,
    Schedule,
    ScheduleId,
    Spec,
)
from hub.federation.release import Release, ReleaseMode
from hub.federation.wire import parse_spec, spec_message
from hub.runtime.db import Int64, metadata

detector_table = Table(
    "detector",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("group_name", ForeignKey("sharing_group.name"), nullable=False),
    # The serialised DetectorSpec.
    Column("spec", LargeBinary, nullable=False),
    Column("state", String(20), nullable=False),
    Column("proposer", String(80), nullable=False),
    Column("create_time", Int64, nullable=False),
    Column("model_digest", LargeBinary(32), nullable=False),
    # Versions: the newest that a round made, which the next round begins from, which is released.
    Column("number", Integer, nullable=False),
    Column("state_digest", LargeBinary(32)),
    Column("release_mode", String(20), nullable=False, server_default="automatic"),
    Column("start_version", Integer, nullable=False, server_default="0"),
    Column("released_version", Integer, nullable=False, server_default="0"),
)
consent_table = Table(
    "detector_consent",
    metadata,
    Column("detector", ForeignKey("detector.name"), primary_key=True),
    Column("member", ForeignKey("member.name"), primary_key=True),
    Column("time", Int64, nullable=False),
)
schedule_table = Table(
    "round_schedule",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("detector", ForeignKey("detector.name"), nullable=False),
    Column("interval", Int64, nullable=False),
    Column("rounds", Integer, nullable=False),
    Column("quorum", Integer, nullable=False),
    Column("deadline", Int64, nullable=False),
    Column("next_time", Int64, nullable=False),
    Column("paused", Boolean, nullable=False),
)
_BY_NAME = select(detector_table).where(detector_table.c.name == bindparam("detector"))
# Every look at a task, and every round, runs these.
_FIND = Prepared(_BY_NAME)
_LOCK = Prepared(_BY_NAME.with_for_update())
_SAVE = Prepared(update(detector_table).where(detector_table.c.name == bindparam("of_detector")))
_CONSENTS = Prepared(
    select(consent_table.c.member)
    .where(consent_table.c.detector == bindparam("detector"))
    .order_by(consent_table.c.member)
)


def find_detector(tx: Connection, detector: DetectorId) -> Detector | None:
    row = _FIND.first(tx, detector=detector)
    return None if row is None else _detector(row)


def lock_detector(tx: Connection, detector: DetectorId) -> Detector | None:
    """The detector, which then stays as it is until this transaction ends."""
    row = _LOCK.first(tx, detector=detector)
    return None if row is None else _detector(row)


def detectors(tx: Connection, *, groups: Sequence[GroupId] | None, after: str | None, limit: int) -> list[Detector]:
    query = select(detector_table).order_by(detector_table.c.name).limit(limit)
    if groups is not None:
        query = query.where(detector_table.c.group_name.in_(groups))
    if after is not None:
        query = query.where(detector_table.c.name > after)
    return [_detector(row) for row in tx.execute(query)]


def add_detector(tx: Connection, detector: Detector) -> None:
    tx.execute(insert(detector_table).values(name=detector.id, **_detector_values(detector)))


def is_state(tx: Connection, digest: Digest) -> bool:
    """Whether some detector's strategy has its state in these bytes."""
    return bool(tx.execute(select(exists().where(detector_table.c.state_digest == digest))).scalar_one())


def save_detector(tx: Connection, detector: Detector) -> None:
    _SAVE.change(tx, of_detector=detector.id, **_detector_values(detector))


def consents(tx: Connection, detector: DetectorId) -> list[MemberId]:
    return [MemberId(row.member) for row in _CONSENTS.all(tx, detector=detector)]


def add_consent(tx: Connection, detector: DetectorId, member: MemberId, *, now: int) -> None:
    if member not in consents(tx, detector):
        tx.execute(insert(consent_table).values(detector=detector, member=member, time=now))


def remove_consent(tx: Connection, detector: DetectorId, member: MemberId) -> None:
    tx.execute(delete(consent_table).where(consent_table.c.detector == detector, consent_table.c.member == member))


def lock_schedule(tx: Connection, schedule: ScheduleId) -> Schedule | None:
    row = tx.execute(select(schedule_table).where(schedule_table.c.name == schedule).with_for_update()).first()
    return None if row is None else _schedule(row)


def schedules(tx: Connection, *, after: str | None, limit: int) -> list[Schedule]:
    query = select(schedule_table).order_by(schedule_table.c.name).limit(limit)
    if after is not None:
        query = query.where(schedule_table.c.name > after)
    return [_schedule(row) for row in tx.execute(query)]


def lock_due_schedules(tx: Connection, now: int) -> list[Schedule]:
    """Schedules that are due, claimed: another replica's claim is passed over."""
    query = (
        select(schedule_table)
        .where(schedule_table.c.paused.is_(False), schedule_table.c.next_time <= now)
        .with_for_update(skip_locked=True)
    )
    return [_schedule(row) for row in tx.execute(query)]


def save_schedule(tx: Connection, schedule: Schedule) -> None:
    values = {
        "detector": schedule.detector,
        "interval": schedule.interval,
        "rounds": schedule.rounds,
        "quorum": schedule.plan.quorum,
        "deadline": schedule.plan.deadline,
        "next_time": schedule.next_time,
        "paused": schedule.paused,
    }
    if lock_schedule(tx, schedule.id) is None:
        tx.execute(insert(schedule_table).values(name=schedule.id, **values))
    else:
        tx.execute(update(schedule_table).where(schedule_table.c.name == schedule.id).values(**values))


def _detector_values(detector: Detector) -> dict[str, Any]:
    return {
        "group_name": detector.group,
        "spec": spec_message(detector.spec).SerializeToString(deterministic=True),
        "state": detector.state.value,
        "proposer": detector.proposer,
        "create_time": detector.create_time,
        "model_digest": detector.model_digest,
        "number": detector.release.newest,
        "state_digest": detector.state_digest,
        "release_mode": detector.release.mode.value,
        "start_version": detector.release.start,
        "released_version": detector.release.released,
    }


def _detector(row: Any) -> Detector:
    return Detector(
        id=DetectorId(row.name),
        group=GroupId(row.group_name),
        spec=_spec(bytes(row.spec)),
        state=DetectorState(row.state),
        proposer=row.proposer,
        create_time=row.create_time,
        model_digest=Digest(bytes(row.model_digest)),
        state_digest=None if row.state_digest is None else Digest(bytes(row.state_digest)),
        release=Release(
            mode=ReleaseMode(row.release_mode),
            newest=row.number,
            start=row.start_version,
            released=row.released_version,
        ),
    )


@functools.lru_cache(maxsize=256)
def _spec(data: bytes) -> Spec:
    """Every look at a detector parses it, and it never changes."""
    return parse_spec(pb.DetectorSpec.FromString(data))


def _schedule(row: Row[Any]) -> Schedule:
    return Schedule(
        id=ScheduleId(row.name),
        detector=DetectorId(row.detector),
        interval=row.interval,
        rounds=row.rounds,
        plan=Plan(quorum=row.quorum, deadline=row.deadline),
        next_time=row.next_time,
        paused=bool(row.paused),
    )
