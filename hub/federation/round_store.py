"""Tables of rounds and their participants.

A round is owned by a lease with an epoch: what a runner computed outside a transaction is saved only while
the epoch is still its own, so a runner that was too slow, or thought dead, changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    and_,
    bindparam,
    exists,
    insert,
    not_,
    or_,
    select,
    text,
    update,
)

from alliance.names import Digest, MemberId
from alliance.prepared import Prepared
from hub.federation.model import (
    DetectorId,
    Participant,
    ParticipantState,
    Plan,
    Round,
    RoundId,
    RoundState,
)
from hub.runtime.db import AutoId, Int64, metadata

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
# Looked for by every look at tasks, among all rounds that there ever were.
Index(
    "ix_round_open",
    round_table.c.id,
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

# Where the updates that came are still to be aggregated.
HOLDS_UPDATES = (RoundState.TRAINING, RoundState.AGGREGATING)
# A round's and a slot's state in which the slot's member is asked something.
ASKED_TO_TRAIN = (RoundState.TRAINING, ParticipantState.INVITED)
ASKED_TO_EVALUATE = (RoundState.EVALUATING, ParticipantState.REPORTED)
_ASKED = or_(
    *(
        and_(round_table.c.state == state.value, participant_table.c.state == slot.value)
        for state, slot in (ASKED_TO_TRAIN, ASKED_TO_EVALUATE)
    )
)
_BY_ID = select(round_table).where(round_table.c.id == bindparam("round"))
_SLOTS_OF = (
    select(participant_table)
    .where(participant_table.c.round == bindparam("round"))
    .order_by(participant_table.c.round, participant_table.c.member)
)
_ASKING = Prepared(
    select(round_table, participant_table.c.member.label("asked"))
    .join(participant_table, participant_table.c.round == round_table.c.id)
    .where(round_table.c.end_time.is_(None), _ASKED)
    .order_by(round_table.c.id),
    among={"members": participant_table.c.member},
)
# What every round, answer or look at a task runs.
_FIND = Prepared(_BY_ID)
_LOCK = Prepared(_BY_ID.with_for_update())
_OPEN = Prepared(
    select(round_table).where(round_table.c.detector == bindparam("of_detector"), round_table.c.end_time.is_(None))
)
_ADD = Prepared(insert(round_table).returning(round_table.c.id))
_SLOTS = Prepared(_SLOTS_OF)
_SLOT = Prepared(_SLOTS_OF.where(participant_table.c.member == bindparam("member")))
_IN_STATE = Prepared(_SLOTS_OF.where(participant_table.c.state == bindparam("state")).limit(1))
_METRICS = Prepared(select(metric_table).where(metric_table.c.round == bindparam("round")))
_CHANGE = Prepared(update(round_table).where(round_table.c.id == bindparam("of_round")))
_CLAIM = Prepared(
    update(round_table)
    .where(round_table.c.id == bindparam("of_round"), round_table.c.lease_until <= bindparam("now"))
    .values(lease_epoch=round_table.c.lease_epoch + 1, lease_until=bindparam("until"))
)
_EPOCH = Prepared(select(round_table.c.lease_epoch).where(round_table.c.id == bindparam("of_round")))
_END_LEASE = Prepared(
    update(round_table)
    .where(round_table.c.id == bindparam("of_round"), round_table.c.lease_epoch == bindparam("epoch"))
    .values(lease_until=0)
)
_INVITED = Prepared(insert(participant_table))
_ANSWERED = Prepared(
    update(participant_table).where(
        participant_table.c.round == bindparam("in_round"), participant_table.c.member == bindparam("of_member")
    )
)
_MEASURED = Prepared(insert(metric_table))


def add_round(tx: Connection, one: Round, *, due: str | None) -> RoundId:
    """Saves a new round under an id of its own. Raises RaceLost where its due time was started before."""
    made = _ADD.first(tx, due=due, **_round_values(one))
    assert made is not None
    return RoundId(made.id)


def find_round(tx: Connection, round_id: RoundId) -> Round | None:
    return _whole(tx, _FIND.first(tx, round=round_id))


def lock_round(tx: Connection, round_id: RoundId) -> Round | None:
    return _whole(tx, _LOCK.first(tx, round=round_id))


def lock_slot(tx: Connection, round_id: RoundId, member: MemberId) -> Round | None:
    """The round locked, with that member's slot alone: an answer need not read what hundreds answered."""
    row = _LOCK.first(tx, round=round_id)
    if row is None:
        return None
    slot = _SLOT.first(tx, round=round_id, member=member)
    return _round(row, () if slot is None else (_participant(slot, _metrics_of(tx, slot)),))


def open_round(tx: Connection, detector: DetectorId) -> Round | None:
    return _whole(tx, _OPEN.first(tx, of_detector=detector))


def open_rounds(tx: Connection) -> list[RoundId]:
    rows = tx.execute(select(round_table.c.id).where(round_table.c.end_time.is_(None)).order_by(round_table.c.id))
    return [RoundId(row.id) for row in rows]


def ripe_rounds(tx: Connection) -> list[RoundId]:
    """Open rounds but those that wait for a member's answer."""
    waits = exists().where(participant_table.c.round == round_table.c.id, _ASKED)
    query = select(round_table.c.id).where(round_table.c.end_time.is_(None), not_(waits)).order_by(round_table.c.id)
    return [RoundId(row.id) for row in tx.execute(query)]


def needs(tx: Connection, digest: Digest) -> bool:
    """Whether an open round has its strategy's state in these bytes, or an update that it still has to aggregate."""
    sent = and_(round_table.c.state.in_(HOLDS_UPDATES), participant_table.c.update_digest == digest)
    query = (
        select(participant_table.c.round)
        .join(round_table, round_table.c.id == participant_table.c.round)
        .where(round_table.c.end_time.is_(None), or_(sent, round_table.c.state_digest == digest))
    )
    return tx.execute(query.limit(1)).first() is not None


def has_slot(tx: Connection, round_id: RoundId, state: ParticipantState) -> bool:
    return _IN_STATE.first(tx, round=round_id, state=state.value) is not None


def task_rounds(tx: Connection, members: Collection[MemberId]) -> dict[MemberId, Round]:
    """By member, the oldest open round in which it is asked something; without the slots."""
    found: dict[MemberId, Round] = {}
    for row in _ASKING.all(tx, members=list(members)):
        found.setdefault(MemberId(row.asked), _round(row, ()))
    return found


def rounds(tx: Connection, *, detectors: Sequence[DetectorId] | None, before: int | None, limit: int) -> list[Round]:
    """Newest first."""
    query = select(round_table).order_by(round_table.c.id.desc()).limit(limit)
    if detectors is not None:
        query = query.where(round_table.c.detector.in_(detectors))
    if before is not None:
        query = query.where(round_table.c.id < before)
    rows = tx.execute(query).all()
    slots = _slots(tx, [row.id for row in rows])
    return [_round(row, slots.get(row.id, ())) for row in rows]


def save_round(tx: Connection, before: Round, one: Round) -> None:
    """Saves what changed since `before`."""
    values, known_values = _round_values(one), _round_values(before)
    changed = {name: value for name, value in values.items() if value != known_values[name]}
    if changed:
        _CHANGE.change(tx, of_round=one.id, **changed)
    known = {p.member: p for p in before.participants}
    added = [
        {"round": one.id, "member": slot.member, **_slot_values(slot)}
        for slot in one.participants
        if slot.member not in known
    ]
    _INVITED.change_all(tx, added)
    for slot in one.participants:
        if slot.member in known and known[slot.member] != slot:
            _ANSWERED.change(tx, in_round=one.id, of_member=slot.member, **_slot_values(slot))
            _add_metrics(tx, one.id, slot)


def claim(tx: Connection, round_id: RoundId, *, now: int, until: int) -> int | None:
    """Takes the round's lease if nobody holds it; returns the lease's epoch."""
    if not _CLAIM.change(tx, of_round=round_id, now=now, until=until):
        return None
    claimed = _EPOCH.first(tx, of_round=round_id)
    assert claimed is not None
    return int(claimed.lease_epoch)


def holds(tx: Connection, round_id: RoundId, epoch: int) -> bool:
    """Whether the lease is still of this epoch; ends it, since its holder is done."""
    return _END_LEASE.change(tx, of_round=round_id, epoch=epoch) > 0


def renew(tx: Connection, round_id: RoundId, epoch: int, *, until: int) -> None:
    """Prolongs the lease, where it is still of this epoch and has not ended."""
    mine = update(round_table).where(round_table.c.id == round_id, round_table.c.lease_epoch == epoch)
    tx.execute(mine.where(round_table.c.lease_until > 0).values(lease_until=until))


def release_leases(tx: Connection) -> None:
    """At the start of the one process of an embedded hub: whoever held a lease is dead."""
    tx.execute(update(round_table).where(round_table.c.lease_until > 0).values(lease_until=0))


def _slot_values(slot: Participant) -> dict[str, Any]:
    return {
        "state": slot.state.value,
        "update_digest": slot.update_digest,
        "examples": slot.examples,
        "reason": slot.reason[:300],
    }


def _add_metrics(tx: Connection, round_id: RoundId, slot: Participant) -> None:
    local = dict(slot.local)
    rows = [
        {"round": round_id, "member": slot.member, "name": name, "federated": value, "local": local.get(name)}
        for name, value in slot.metrics
    ]
    if slot.state is ParticipantState.EVALUATED:
        _MEASURED.change_all(tx, rows)


def _whole(tx: Connection, row: Any | None) -> Round | None:
    if row is None:
        return None
    slots = _SLOTS.all(tx, round=row.id)
    evaluated = any(slot.state == ParticipantState.EVALUATED for slot in slots)
    metrics = _by_slot(_METRICS.all(tx, round=row.id)) if evaluated else {}
    return _round(row, tuple(_participant(slot, metrics.get((row.id, slot.member), [])) for slot in slots))


def _metrics_of(tx: Connection, slot: Any) -> list[Any]:
    if slot.state != ParticipantState.EVALUATED:
        return []
    return _by_slot(_METRICS.all(tx, round=slot.round)).get((slot.round, slot.member), [])


def _slots(tx: Connection, rounds: Sequence[int]) -> dict[int, tuple[Participant, ...]]:
    """Those of several rounds, members in order."""
    order = (participant_table.c.round, participant_table.c.member)
    rows = tx.execute(select(participant_table).where(participant_table.c.round.in_(rounds)).order_by(*order)).all()
    metrics = _by_slot(tx.execute(select(metric_table).where(metric_table.c.round.in_(rounds))))
    found: dict[int, list[Participant]] = {}
    for row in rows:
        found.setdefault(row.round, []).append(_participant(row, metrics.get((row.round, row.member), [])))
    return {number: tuple(listed) for number, listed in found.items()}


def _by_slot(rows: Iterable[Any]) -> dict[tuple[int, str], list[Any]]:
    found: dict[tuple[int, str], list[Any]] = {}
    for row in rows:
        found.setdefault((row.round, row.member), []).append(row)
    return found


def _participant(row: Any, metrics: Sequence[Any]) -> Participant:
    return Participant(
        member=MemberId(row.member),
        state=ParticipantState(row.state),
        update_digest=None if row.update_digest is None else Digest(bytes(row.update_digest)),
        examples=row.examples,
        reason=row.reason,
        metrics=tuple((m.name, m.federated) for m in metrics),
        local=tuple((m.name, m.local) for m in metrics if m.local is not None),
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


def _round(row: Any, participants: tuple[Participant, ...]) -> Round:
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
        participants=participants,
    )
