"""Tables of detectors, consents, schedules, rounds and their participants.

A round is owned by a lease with an epoch: what a runner computed outside a transaction is saved only while
the epoch is still its own, so a runner that was too slow, or thought dead, changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    delete,
    insert,
    select,
    text,
    update,
)

from alliance.names import Digest, GroupId, MemberId
from alliance.v1 import federation_pb2 as pb
from hub.federation.model import (
    Detector,
    DetectorId,
    DetectorState,
    Participant,
    ParticipantState,
    Plan,
    Round,
    RoundId,
    RoundState,
    Schedule,
    ScheduleId,
)
from hub.federation.wire import parse_spec, spec_message
from hub.runtime.db import AutoId, Int64, metadata

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
    Column("number", Integer, nullable=False),
    Column("state_digest", LargeBinary(32)),
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
round_table = Table(
    "round",
    metadata,
    Column("id", AutoId, primary_key=True, autoincrement=True),
    Column("detector", ForeignKey("detector.name"), nullable=False),
    # The schedule and the time it was due: one start each. Empty for a triggered round.
    Column("due", String(120), unique=True),
    Column("state", String(20), nullable=False),
    Column("number", Integer, nullable=False),
    Column("quorum", Integer, nullable=False),
    Column("deadline", Int64, nullable=False),
    Column("left", Integer, nullable=False),
    Column("create_time", Int64, nullable=False),
    Column("phase_deadline", Int64, nullable=False),
    Column("model_digest", LargeBinary(32), nullable=False),
    Column("result_digest", LargeBinary(32)),
    Column("state_digest", LargeBinary(32)),
    Column("end_time", Int64),
    Column("reason", String(300), nullable=False),
    Column("lease_epoch", Integer, nullable=False, server_default="0"),
    Column("lease_until", Int64, nullable=False, server_default="0"),
)
# One open round per detector.
Index(
    "uq_round_open",
    round_table.c.detector,
    unique=True,
    sqlite_where=text("end_time IS NULL"),
    postgresql_where=text("end_time IS NULL"),
)
participant_table = Table(
    "round_participant",
    metadata,
    Column("round", ForeignKey("round.id"), primary_key=True),
    Column("member", ForeignKey("member.name"), primary_key=True),
    Column("state", String(20), nullable=False),
    Column("update_digest", LargeBinary(32)),
    Column("examples", Int64, nullable=False),
    Column("reason", String(300), nullable=False),
)
metric_table = Table(
    "round_metric",
    metadata,
    Column("round", ForeignKey("round.id"), primary_key=True),
    Column("member", ForeignKey("member.name"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("federated", Float, nullable=False),
    Column("local", Float),
)


def find_detector(tx: Connection, detector: DetectorId) -> Detector | None:
    row = tx.execute(select(detector_table).where(detector_table.c.name == detector)).first()
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


def save_detector(tx: Connection, detector: Detector) -> None:
    tx.execute(update(detector_table).where(detector_table.c.name == detector.id).values(**_detector_values(detector)))


def consents(tx: Connection, detector: DetectorId) -> list[MemberId]:
    query = select(consent_table.c.member).where(consent_table.c.detector == detector)
    return [MemberId(row.member) for row in tx.execute(query.order_by(consent_table.c.member))]


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


def add_round(tx: Connection, one: Round, *, due: str | None) -> RoundId:
    """Saves a new round under an id of its own. Raises RaceLost where its due time was started before."""
    made = tx.execute(insert(round_table).values(due=due, **_round_values(one))).inserted_primary_key
    assert made is not None
    return RoundId(int(made[0]))


def find_round(tx: Connection, round_id: RoundId) -> Round | None:
    row = tx.execute(select(round_table).where(round_table.c.id == round_id)).first()
    return None if row is None else _round(tx, row)


def lock_round(tx: Connection, round_id: RoundId) -> Round | None:
    row = tx.execute(select(round_table).where(round_table.c.id == round_id).with_for_update()).first()
    return None if row is None else _round(tx, row)


def open_round(tx: Connection, detector: DetectorId) -> Round | None:
    query = select(round_table).where(round_table.c.detector == detector, round_table.c.end_time.is_(None))
    row = tx.execute(query).first()
    return None if row is None else _round(tx, row)


def open_rounds(tx: Connection) -> list[RoundId]:
    rows = tx.execute(select(round_table.c.id).where(round_table.c.end_time.is_(None)).order_by(round_table.c.id))
    return [RoundId(row.id) for row in rows]


def rounds(tx: Connection, *, detectors: Sequence[DetectorId] | None, before: int | None, limit: int) -> list[Round]:
    """Newest first."""
    query = select(round_table).order_by(round_table.c.id.desc()).limit(limit)
    if detectors is not None:
        query = query.where(round_table.c.detector.in_(detectors))
    if before is not None:
        query = query.where(round_table.c.id < before)
    return [_round(tx, row) for row in tx.execute(query).all()]


def save_round(tx: Connection, before: Round, one: Round) -> None:
    """Saves what changed since `before`."""
    tx.execute(update(round_table).where(round_table.c.id == one.id).values(**_round_values(one)))
    known = {p.member: p for p in before.participants}
    for participant in one.participants:
        if known.get(participant.member) != participant:
            _save_participant(tx, one.id, participant, new=participant.member not in known)


def claim(tx: Connection, round_id: RoundId, *, now: int, until: int) -> int | None:
    """Takes the round's lease if nobody holds it; returns the lease's epoch."""
    free = update(round_table).where(round_table.c.id == round_id, round_table.c.lease_until <= now)
    if not tx.execute(free.values(lease_epoch=round_table.c.lease_epoch + 1, lease_until=until)).rowcount:
        return None
    return int(tx.execute(select(round_table.c.lease_epoch).where(round_table.c.id == round_id)).scalar_one())


def holds(tx: Connection, round_id: RoundId, epoch: int) -> bool:
    """Whether the lease is still of this epoch; ends it, since its holder is done."""
    mine = update(round_table).where(round_table.c.id == round_id, round_table.c.lease_epoch == epoch)
    return bool(tx.execute(mine.values(lease_until=0)).rowcount)


def release_leases(tx: Connection) -> None:
    """At the start of the one process of an embedded hub: whoever held a lease is dead."""
    tx.execute(update(round_table).where(round_table.c.lease_until > 0).values(lease_until=0))


def tasks_of(tx: Connection, member: MemberId) -> list[RoundId]:
    """Open rounds in which the member has a slot, oldest first."""
    rows = tx.execute(
        select(round_table.c.id)
        .join(participant_table, participant_table.c.round == round_table.c.id)
        .where(round_table.c.end_time.is_(None), participant_table.c.member == member)
        .order_by(round_table.c.id)
    )
    return [RoundId(row.id) for row in rows]


def _save_participant(tx: Connection, round_id: RoundId, participant: Participant, *, new: bool) -> None:
    values = {
        "state": participant.state.value,
        "update_digest": participant.update_digest,
        "examples": participant.examples,
        "reason": participant.reason[:300],
    }
    if new:
        tx.execute(insert(participant_table).values(round=round_id, member=participant.member, **values))
    else:
        mine = (participant_table.c.round == round_id) & (participant_table.c.member == participant.member)
        tx.execute(update(participant_table).where(mine).values(**values))
    if participant.state is ParticipantState.EVALUATED:
        local = dict(participant.local)
        for name, value in participant.metrics:
            row = {"name": name, "federated": value, "local": local.get(name)}
            tx.execute(insert(metric_table).values(round=round_id, member=participant.member, **row))


def _participants(tx: Connection, round_id: RoundId) -> tuple[Participant, ...]:
    rows = tx.execute(
        select(participant_table).where(participant_table.c.round == round_id).order_by(participant_table.c.member)
    ).all()
    evaluated = any(row.state == ParticipantState.EVALUATED for row in rows)
    metrics = tx.execute(select(metric_table).where(metric_table.c.round == round_id)).all() if evaluated else []
    found = []
    for row in rows:
        mine = [m for m in metrics if m.member == row.member]
        found.append(
            Participant(
                member=MemberId(row.member),
                state=ParticipantState(row.state),
                update_digest=None if row.update_digest is None else Digest(bytes(row.update_digest)),
                examples=row.examples,
                reason=row.reason,
                metrics=tuple((m.name, m.federated) for m in mine),
                local=tuple((m.name, m.local) for m in mine if m.local is not None),
            )
        )
    return tuple(found)


def _detector_values(detector: Detector) -> dict[str, Any]:
    return {
        "group_name": detector.group,
        "spec": spec_message(detector.spec).SerializeToString(deterministic=True),
        "state": detector.state.value,
        "proposer": detector.proposer,
        "create_time": detector.create_time,
        "model_digest": detector.model_digest,
        "number": detector.number,
        "state_digest": detector.state_digest,
    }


def _detector(row: Row[Any]) -> Detector:
    return Detector(
        id=DetectorId(row.name),
        group=GroupId(row.group_name),
        spec=parse_spec(pb.DetectorSpec.FromString(row.spec)),
        state=DetectorState(row.state),
        proposer=row.proposer,
        create_time=row.create_time,
        model_digest=Digest(bytes(row.model_digest)),
        number=row.number,
        state_digest=None if row.state_digest is None else Digest(bytes(row.state_digest)),
    )


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


def _round_values(one: Round) -> dict[str, Any]:
    return {
        "detector": one.detector,
        "state": one.state.value,
        "number": one.number,
        "quorum": one.plan.quorum,
        "deadline": one.plan.deadline,
        "left": one.left,
        "create_time": one.create_time,
        "phase_deadline": one.phase_deadline,
        "model_digest": one.model_digest,
        "result_digest": one.result_digest,
        "state_digest": one.state_digest,
        "end_time": one.end_time,
        "reason": one.reason[:300],
    }


def _round(tx: Connection, row: Row[Any]) -> Round:
    return Round(
        id=RoundId(row.id),
        detector=DetectorId(row.detector),
        state=RoundState(row.state),
        number=row.number,
        plan=Plan(quorum=row.quorum, deadline=row.deadline),
        left=row.left,
        create_time=row.create_time,
        phase_deadline=row.phase_deadline,
        model_digest=Digest(bytes(row.model_digest)),
        result_digest=None if row.result_digest is None else Digest(bytes(row.result_digest)),
        state_digest=None if row.state_digest is None else Digest(bytes(row.state_digest)),
        end_time=row.end_time,
        reason=row.reason,
        participants=_participants(tx, RoundId(row.id)),
    )
