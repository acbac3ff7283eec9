"""Tables of rounds and their participants.

A round is owned by a lease with an epoch: what a runner computed outside a transaction is saved only while
the epoch is still its own, so a runner that was too slow, or thought dead, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Row,
    Select,
    String,
    Table,
    and_,
    exists,
    insert,
    not_,
    or_,
    select,
    text,
    update,
)

from alliance.names import Digest, MemberId
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

# A round's and a slot's state in which the slot's member is asked something.
Asked = tuple[RoundState, ParticipantState]


def add_round(tx: Connection, one: Round, *, due: str | None) -> RoundId:
    """Saves a new round under an id of its own. Raises RaceLost where its due time was started before."""
    made = tx.execute(insert(round_table).values(due=due, **_round_values(one))).inserted_primary_key
    assert made is not None
    return RoundId(int(made[0]))


def find_round(tx: Connection, round_id: RoundId) -> Round | None:
    return _one(tx, select(round_table).where(round_table.c.id == round_id))


def lock_round(tx: Connection, round_id: RoundId, *, only: MemberId | None = None) -> Round | None:
    """With all of its slots, or with `only` one member's: an answer need not read what hundreds answered."""
    return _one(tx, select(round_table).where(round_table.c.id == round_id).with_for_update(), only=only)


def open_round(tx: Connection, detector: DetectorId) -> Round | None:
    return _one(tx, select(round_table).where(round_table.c.detector == detector, round_table.c.end_time.is_(None)))


def open_rounds(tx: Connection) -> list[RoundId]:
    rows = tx.execute(select(round_table.c.id).where(round_table.c.end_time.is_(None)).order_by(round_table.c.id))
    return [RoundId(row.id) for row in rows]


def ripe_rounds(tx: Connection, waiting: Iterable[Asked]) -> list[RoundId]:
    """Open rounds but those in which a slot `waiting` names is still in the state it waits in."""
    slot_is = or_(*(_asked(state, slot) for state, slot in waiting))
    waits = exists().where(participant_table.c.round == round_table.c.id, slot_is)
    query = select(round_table.c.id).where(round_table.c.end_time.is_(None), not_(waits)).order_by(round_table.c.id)
    return [RoundId(row.id) for row in tx.execute(query)]


def task_round(tx: Connection, member: MemberId, asked: Iterable[Asked]) -> Round | None:
    """The oldest open round in which the member is `asked` something; without the slots."""
    query = (
        select(round_table)
        .join(participant_table, participant_table.c.round == round_table.c.id)
        .where(round_table.c.end_time.is_(None), participant_table.c.member == member)
        .where(or_(*(_asked(state, slot) for state, slot in asked)))
        .order_by(round_table.c.id)
        .limit(1)
    )
    row = tx.execute(query).first()
    return None if row is None else _round(row, ())


def _asked(state: RoundState, slot: ParticipantState) -> ColumnElement[bool]:
    return and_(round_table.c.state == state.value, participant_table.c.state == slot.value)


def rounds(tx: Connection, *, detectors: Sequence[DetectorId] | None, before: int | None, limit: int) -> list[Round]:
    """Newest first."""
    query = select(round_table).order_by(round_table.c.id.desc()).limit(limit)
    if detectors is not None:
        query = query.where(round_table.c.detector.in_(detectors))
    if before is not None:
        query = query.where(round_table.c.id < before)
    rows = tx.execute(query).all()
    slots = _participants(tx, [row.id for row in rows])
    return [_round(row, slots.get(row.id, ())) for row in rows]


def save_round(tx: Connection, before: Round, one: Round) -> None:
    """Saves what changed since `before`."""
    values, known_values = _round_values(one), _round_values(before)
    changed = {name: value for name, value in values.items() if value != known_values[name]}
    if changed:
        tx.execute(update(round_table).where(round_table.c.id == one.id).values(**changed))
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


def _one(tx: Connection, query: Select[Any], *, only: MemberId | None = None) -> Round | None:
    row = tx.execute(query).first()
    return None if row is None else _round(row, _participants(tx, [row.id], only=only).get(row.id, ()))


def _participants(
    tx: Connection, rounds: Sequence[int], *, only: MemberId | None = None
) -> dict[int, tuple[Participant, ...]]:
    """The slots by round, members in order."""
    slots = select(participant_table).where(participant_table.c.round.in_(rounds))
    if only is not None:
        slots = slots.where(participant_table.c.member == only)
    rows = tx.execute(slots.order_by(participant_table.c.round, participant_table.c.member)).all()
    evaluated = {row.round for row in rows if row.state == ParticipantState.EVALUATED}
    metrics: dict[tuple[int, str], list[Row[Any]]] = {}
    if evaluated:
        for row in tx.execute(select(metric_table).where(metric_table.c.round.in_(evaluated))):
            metrics.setdefault((row.round, row.member), []).append(row)
    found: dict[int, list[Participant]] = {}
    for row in rows:
        found.setdefault(row.round, []).append(_participant(row, metrics.get((row.round, row.member), [])))
    return {number: tuple(listed) for number, listed in found.items()}


def _participant(row: Row[Any], metrics: Sequence[Row[Any]]) -> Participant:
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


def _round(row: Row[Any], participants: tuple[Participant, ...]) -> Round:
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
