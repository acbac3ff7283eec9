"""Rounds: started, advanced by the runner, fed by members; each method is one transaction's work.

What a strategy computes happens outside (`aggregation`), under a lease; here its outcome is saved, if the
lease still holds. A member's result counts once, in the state it was asked in, and never late.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog
from sqlalchemy import Connection

from alliance import tensors
from alliance.errors import AllianceError, FailedPrecondition, InvalidInput, NotFound
from alliance.names import DIGEST_SIZE, Digest, MemberId, digest
from alliance.v1 import federation_pb2 as pb
from hub.audit.service import AuditService
from hub.blobs.service import BlobService
from hub.federation import model_store, round_store, schedule, store, validate
from hub.federation import round as machine
from hub.federation.detectors import DetectorService, check_rounds
from hub.federation.model import (
    Detector,
    DetectorId,
    Participant,
    ParticipantState,
    Plan,
    Round,
    RoundId,
    RoundState,
    Spec,
)
from hub.federation.round import Action
from hub.federation.work import LEASE, Outcome, Work
from hub.membership.service import MembershipService
from hub.policy.service import PolicyService
from hub.runtime.caller import Caller
from hub.runtime.clock import Clock, micros
from hub.runtime.db import Undone, after_commit, savepoint

log = structlog.get_logger()
# In which state of round and slot an answer of each kind counts.
_ASKED: dict[int, tuple[RoundState, ParticipantState]] = {
    pb.TASK_KIND_TRAIN: round_store.ASKED_TO_TRAIN,
    pb.TASK_KIND_EVALUATE: round_store.ASKED_TO_EVALUATE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a member is asked to do in a round now; `kind` is a wire value of TaskKind, `deadline` its phase's."""

    round: RoundId
    number: int
    detector: Detector
    kind: int
    model_digest: Digest
    deadline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a member answers; `refusal` is a wire value of TaskRefusal, 0 for an answer."""

    kind: int
    update_digest: bytes
    update_size: int
    examples: int
    metrics: Sequence[tuple[str, float]]
    local: Sequence[tuple[str, float]]
    refusal: int


class RoundService:
    def __init__(
        self,
        *,
        detectors: DetectorService,
        membership: MembershipService,
        blobs: BlobService,
        audit: AuditService,
        policies: PolicyService,
        clock: Clock,
    ) -> None:
        self._detectors = detectors
        self._membership = membership
        self._blobs = blobs
        self._audit = audit
        self._policies = policies
        self._clock = clock
        self._asked: Callable[[Collection[MemberId]], None] = lambda members: None
        self._ripe: Callable[[Work | None], None] = lambda work: None

    def listen(self, *, asked: Callable[[Collection[MemberId]], None], ripe: Callable[[Work | None], None]) -> None:
        """Tells, in any thread and once it is committed, which members are asked something; and that there is something
        for the runner to do: work with its lease, or a round to advance."""
        self._asked, self._ripe = asked, ripe

    def trigger(self, tx: Connection, caller: Caller, name: DetectorId, plan: Plan, rounds: int) -> Round:
        """Raises: NotFound, FailedPrecondition (not approved, or a round is open)."""
        detector = self._detectors.lock(tx, name)
        detector.require_approved()
        check_rounds(rounds, "rounds")
        self._policies.current(tx).require_quorum(plan.quorum, field="quorum")
        if (running := round_store.open_round(tx, name)) is not None:
            raise FailedPrecondition(
                f"rounds/{running.id} of {name} is {running.state}",
                reason="ROUND_OPEN",
                remedy="wait until it ends, or cancel it",
            )
        after_commit(tx, partial(self._ripe, None))
        return self._start(tx, detector, plan, rounds, actor=caller.name, due=None)

    def start_due(self, tx: Connection) -> int:
        """Starts what the schedules say; a schedule whose detector still has a round open skips this time."""
        now, started = micros(self._clock()), 0
        for one in store.lock_due_schedules(tx, now):
            found = schedule.due(one, now)
            if found is None:
                continue
            store.save_schedule(tx, found.schedule)
            detector = self._detectors.lock(tx, one.detector)
            if round_store.open_round(tx, detector.id) is None:
                due = f"{one.id}@{found.due_time}"
                self._start(tx, detector, one.plan, one.rounds, actor=one.id, due=due)
                started += 1
        return started

    def cancel(self, tx: Connection, caller: Caller, round_id: RoundId) -> Round:
        """Raises: NotFound, FailedPrecondition for one that has ended."""
        found = self._locked(tx, round_id)
        if found.ended:
            raise FailedPrecondition(f"rounds/{round_id} is {found.state} already", reason="ROUND_ENDED")
        cancelled = machine.cancel(found, micros(self._clock()), f"cancelled by {caller.name}")
        self._save(tx, found, cancelled, actor=caller.name)
        return cancelled

    def get(self, tx: Connection, caller: Caller, round_id: RoundId) -> Round:
        """Raises: NotFound, the same for one of a detector that the member did not join."""
        found = round_store.find_round(tx, round_id)
        if found is None or not self._detectors.may_follow(tx, caller, found.detector):
            raise NotFound(
                f"no rounds/{round_id} of a detector that {caller.name} joined", reason="ROUND_NOT_FOUND", field="name"
            )
        return found

    def rounds(
        self, tx: Connection, caller: Caller, detector: DetectorId | None, *, before: int | None, limit: int
    ) -> list[Round]:
        """All of them to the console, to a member those of detectors it joined; newest first."""
        if detector is not None:
            self._detectors.require_joined(tx, caller, detector)
            return round_store.rounds(tx, detectors=[detector], before=before, limit=limit)
        visible = None
        if not caller.is_console:
            listed = self._detectors.visible(tx, caller, after=None, limit=1000)
            visible = [one.id for one in listed if caller.member in store.consents(tx, one.id)]
        return round_store.rounds(tx, detectors=visible, before=before, limit=limit)

    def tasks(self, tx: Connection, members: Collection[MemberId]) -> dict[MemberId, Task]:
        """The open task of those that have one: train while invited, evaluate once the aggregate is there."""
        found = round_store.task_rounds(tx, members)
        made = {one.id: self._task(tx, one) for one in {one.id: one for one in found.values()}.values()}
        return {member: made[one.id] for member, one in found.items()}

    def _task(self, tx: Connection, asking: Round) -> Task:
        training = asking.state is RoundState.TRAINING
        return Task(
            round=asking.id,
            number=asking.number,
            detector=self._detectors.get(tx, asking.detector),
            kind=pb.TASK_KIND_TRAIN if training else pb.TASK_KIND_EVALUATE,
            model_digest=asking.model_digest if training else asking.result_digest or asking.model_digest,
            deadline=asking.phase_deadline,
        )

    def submit(self, tx: Connection, caller: Caller, round_id: RoundId, result: Result) -> tuple[bool, str]:
        """Whether it counts, and why not. What is late or repeated changes nothing; the last answer that the round
        waits for takes it on."""
        member = caller.member
        found = round_store.lock_slot(tx, round_id, member)
        slot = None if found is None else found.of(member)
        if found is None or slot is None:
            raise NotFound(f"{member} has no slot in rounds/{round_id}", reason="NO_SLOT", field="round")
        if _ASKED.get(result.kind) != (found.state, slot.state):
            self._discard(tx, member, result.update_digest)
            return False, f"the round is {found.state}, the slot {slot.state}"
        spec = self._detectors.get(tx, found.detector).spec
        answered = self._answered(tx, member, slot, result, spec)
        self._save(tx, found, found.with_participant(answered), actor=member)
        if answered.update_digest is None:
            self._discard(tx, member, result.update_digest)
        if not round_store.has_slot(tx, round_id, slot.state):
            self._take_on(tx, round_id)
        return answered.state is not ParticipantState.REFUSED, answered.reason

    def advance(self, tx: Connection, round_id: RoundId) -> Work | None:
        """Steps the machine until it waits, the next round of a series included; every transition has its leaf.

        Returns: what is to be aggregated, with the lease to do so, if it came to that and nobody else has it.

        Raises: NotFound.
        """
        now, current = micros(self._clock()), self._locked(tx, round_id)
        if current.ended:
            return None
        detector = self._detectors.get(tx, current.detector)
        members = self._detectors.taking_part(tx, detector)
        present = self._membership.present(tx, members, now=now)
        while True:
            absent = {p.member for p in current.participants} - set(members)
            step = machine.step(machine.gone(current, absent), now, present, members)
            if step.round != current:
                self._save(tx, current, step.round, actor="hub")
            current = step.round
            if step.action is Action.AGAIN:
                continue
            if current.state is RoundState.RELEASED and (following := self._release(tx, current)):
                detector, current = following
                continue
            if step.action is not Action.AGGREGATE:
                return None
            epoch = round_store.claim(tx, current.id, now=now, until=now + LEASE)
            return None if epoch is None else Work(round=current, detector=detector, epoch=epoch)

    def conclude(self, tx: Connection, work: Work, outcome: Outcome) -> bool:
        """Saves an aggregation's outcome if its lease still holds; returns whether it did."""
        if not round_store.holds(tx, work.round.id, work.epoch):
            return False
        found, now = self._locked(tx, work.round.id), micros(self._clock())
        if found.state is not RoundState.AGGREGATING:
            return False
        changed = found
        for member, reason in outcome.refused:
            slot = changed.of(member)
            if slot is not None:
                changed = changed.with_participant(replace(slot, state=ParticipantState.REFUSED, reason=reason))
        if outcome.model is None:
            changed = machine.fail(changed, now, outcome.failure)
        else:
            for made in filter(None, (outcome.model, outcome.state)):
                self._blobs.adopt(tx, made)
            self._blobs.publish(tx, outcome.model.digest, work.detector.group)
            changed = machine.aggregated(changed, now, outcome.model.digest, outcome.state and outcome.state.digest)
        self._save(tx, found, changed, actor="hub")
        return True

    def renew(self, tx: Connection, works: Collection[Work]) -> None:
        """Prolongs the leases of work that goes on; what was concluded, or taken over, stays so."""
        until = micros(self._clock()) + LEASE
        for work in works:
            round_store.renew(tx, work.round.id, work.epoch, until=until)

    def open_rounds(self, tx: Connection) -> list[RoundId]:
        return round_store.open_rounds(tx)

    def ripe_rounds(self, tx: Connection) -> list[RoundId]:
        """Open rounds but those that wait for a member's answer."""
        return round_store.ripe_rounds(tx)

    def recover(self, tx: Connection) -> None:
        """At the start of the one process of an embedded hub: leases of the process before are void."""
        round_store.release_leases(tx)

    def _start(
        self, tx: Connection, detector: Detector, plan: Plan, rounds: int, *, actor: str, due: str | None
    ) -> Round:
        now, floor = micros(self._clock()), self._policies.current(tx).least_quorum
        planned = Round(
            id=RoundId(0),
            detector=detector.id,
            state=RoundState.PLANNED,
            number=detector.release.newest + 1,
            # That of a schedule may be from before the floor was raised.
            plan=replace(plan, quorum=max(plan.quorum, floor)),
            left=rounds - 1,
            create_time=now,
            phase_deadline=now + plan.deadline,
            model_digest=detector.model_digest,
        )
        made = replace(planned, id=round_store.add_round(tx, planned, due=due))
        self._audit.record(tx, event=f"round_planned:{detector.id}", actor=actor, subject=f"rounds/{made.id}")
        return made

    def _release(self, tx: Connection, released: Round) -> tuple[Detector, Round] | None:
        """The aggregate becomes the detector's newest model, and is released or held; the next round of a series, if
        there is one, follows at once."""
        detector = self._detectors.lock(tx, released.detector)
        grown = replace(
            detector,
            model_digest=released.result_digest or detector.model_digest,
            state_digest=released.state_digest,
            release=detector.release.trained(),
        )
        store.save_detector(tx, grown)
        model_store.add_trained(tx, released, grown.model_digest, start=detector.release.start)
        if grown.model_digest != detector.model_digest:
            after_commit(tx, partial(self._blobs.files.rest, detector.model_digest))
        if detector.state_digest is not None:
            self._blobs.drop(tx, detector.state_digest)
        if not released.left:
            return None
        return grown, self._start(tx, grown, released.plan, released.left, actor="hub", due=None)

    def _answered(self, tx: Connection, member: MemberId, slot: Participant, result: Result, spec: Spec) -> Participant:
        """The slot after this answer; one that cannot count is refused with its reason."""
        try:
            if result.refusal:
                return replace(slot, state=ParticipantState.REFUSED, reason=_declined(result.refusal))
            metrics = validate.metrics(result.metrics, spec)
            if result.kind == pb.TASK_KIND_EVALUATE:
                local = validate.metrics(result.local, spec)
                return replace(slot, state=ParticipantState.EVALUATED, metrics=metrics, local=local)
            examples = validate.examples(result.examples, spec)
            digest = self._update(tx, member, result, spec)
            return replace(slot, state=ParticipantState.REPORTED, update_digest=digest, examples=examples)
        except AllianceError as error:
            return replace(slot, state=ParticipantState.REFUSED, reason=f"{error.message} [{error.reason}]")

    def _update(self, tx: Connection, member: MemberId, result: Result, spec: Spec) -> Digest | None:
        """The update's bytes are at the hub and of the specified size; their values are checked when aggregated."""
        if not spec.arrays:
            return None
        expected = tensors.encoded_size(spec.arrays)
        if result.update_size != expected:
            raise InvalidInput(
                f"the update has {result.update_size} bytes, {expected} are specified",
                reason="TENSORS_UNEXPECTED",
                field="update_size",
            )
        found = digest(result.update_digest, field="update_digest")
        self._blobs.require_uploaded(tx, member, found, expected)
        return found

    def _take_on(self, tx: Connection, round_id: RoundId) -> None:
        """What follows from the last answer. The answer stands whatever goes wrong here: the runner tries it again."""
        try:
            with savepoint(tx):
                work = self.advance(tx, round_id)
                if work is not None:
                    after_commit(tx, partial(self._ripe, work))
        except Undone as undone:
            log.error("round_not_advanced", round=round_id, exc_info=undone.__cause__)

    def _locked(self, tx: Connection, round_id: RoundId) -> Round:
        return _known(round_store.lock_round(tx, round_id), round_id)

    def _save(self, tx: Connection, before: Round, after: Round, *, actor: str) -> None:
        """Saves, with a leaf for every transition and every answer."""
        round_store.save_round(tx, before, after)
        subject = f"rounds/{after.id}"
        for slot in after.participants:
            known = before.of(slot.member)
            if known is not None and known.state is not slot.state:
                self._audit.record(
                    tx,
                    event=f"slot_{slot.state}:{slot.member}",
                    actor=actor,
                    subject=subject,
                    digest=slot.update_digest or b"",
                )
        if before.state is not after.state:
            digest_ = after.result_digest or b""
            self._audit.record(tx, event=f"round_{after.state}", actor=actor, subject=subject, digest=digest_)
            if any(after.state is state for state, _ in _ASKED.values()):
                after_commit(tx, partial(self._asked, [slot.member for slot in after.participants]))
        # After the members were asked: files take a while to remove.
        if before.state in round_store.HOLDS_UPDATES and after.state not in round_store.HOLDS_UPDATES:
            for slot in after.participants:
                self._discard(tx, slot.member, slot.update_digest or b"")
        if after.ended and after.state is not RoundState.RELEASED and after.state_digest is not None:
            self._blobs.drop(tx, after.state_digest)

    def _discard(self, tx: Connection, member: MemberId, update: bytes) -> None:
        """Drops an update that is aggregated, or never will be; its digest stays in the round and in the log."""
        if len(update) == DIGEST_SIZE:
            sent = Digest(update)
            self._blobs.discard(tx, member, sent, in_use=partial(self.uses, tx, sent))

    def uses(self, tx: Connection, digest: Digest) -> bool:
        """Whether a round or a strategy needs these bytes, whoever uploaded them."""
        return round_store.needs(tx, digest) or store.is_state(tx, digest)


def _known(found: Round | None, round_id: RoundId) -> Round:
    if found is None:
        raise NotFound(f"no round {round_id}", reason="ROUND_NOT_FOUND", field="round")
    return found


def _declined(refusal: int) -> str:
    name = pb.TaskRefusal.Name(refusal)
    return f"the member declined: {name.removeprefix('TASK_REFUSAL_').lower()}"
