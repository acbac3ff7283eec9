"""Detectors, consents and schedules: proposed by anyone, approved by an operator, joined by each member itself."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from sqlalchemy import Connection

from alliance import tensors
from alliance.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound, NotPermitted
from alliance.names import Digest, GroupId, MemberId
from hub.audit.service import AuditService
from hub.blobs.service import BlobService
from hub.federation import flower, model_store, schedule, store
from hub.federation.model import (
    SECOND,
    Detector,
    DetectorId,
    DetectorState,
    Plan,
    Schedule,
    ScheduleId,
    Spec,
)
from hub.federation.release import Model, ReleaseMode
from hub.membership.service import MembershipService
from hub.policy.service import PolicyService
from hub.runtime.caller import Caller
from hub.runtime.clock import Clock, micros

MAX_ROUNDS = 10_000
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")


class DetectorService:
    def __init__(
        self,
        *,
        membership: MembershipService,
        blobs: BlobService,
        audit: AuditService,
        policies: PolicyService,
        clock: Clock,
    ) -> None:
        self._membership = membership
        self._blobs = blobs
        self._audit = audit
        self._policies = policies
        self._clock = clock

    def propose(
        self, tx: Connection, caller: Caller, name: DetectorId, group: GroupId, spec: Spec, initial: bytes
    ) -> Detector:
        """From the caller's uploaded arrays, or zeros. Raises: AlreadyExists, InvalidInput, NotPermitted."""
        if caller.is_console:
            self._membership.group(tx, group)
        else:
            self._membership.require_in_group(tx, group, caller.member)
        if store.find_detector(tx, name) is not None:
            raise AlreadyExists(f"{name} exists", reason="DETECTOR_EXISTS", field="name")
        flower.check_settings(spec.strategy, dict(spec.strategy_settings))
        detector = Detector(
            id=name,
            group=group,
            spec=spec,
            state=DetectorState.PROPOSED,
            proposer=caller.name,
            create_time=micros(self._clock()),
            model_digest=self._initial(tx, caller, group, spec, initial),
        )
        store.add_detector(tx, detector)
        initial_model = Model(
            version=0,
            digest=detector.model_digest,
            round=None,
            trained_from=0,
            create_time=detector.create_time,
        )
        model_store.add(tx, name, initial_model)
        self._record(tx, caller, "detector_proposed", name, detector.model_digest)
        return detector

    def approve(
        self, tx: Connection, caller: Caller, name: DetectorId, mode: ReleaseMode = ReleaseMode.AUTOMATIC
    ) -> Detector:
        """Raises: NotFound, FailedPrecondition."""
        detector = self.lock(tx, name).approve(mode)
        store.save_detector(tx, detector)
        self._record(tx, caller, f"detector_approved:{mode}", name)
        return detector

    def get(self, tx: Connection, name: DetectorId) -> Detector:
        """Raises: NotFound."""
        return _known(store.find_detector(tx, name), name)

    def lock(self, tx: Connection, name: DetectorId) -> Detector:
        """The detector, which then stays as it is until this transaction ends. Raises: NotFound."""
        return _known(store.lock_detector(tx, name), name)

    def visible(self, tx: Connection, caller: Caller, *, after: str | None, limit: int) -> list[Detector]:
        """All of them to the console, to a member those of its groups."""
        groups = None
        if not caller.is_console:
            groups = [group.id for group in self._membership.groups(tx, caller, after=None, limit=1000)]
        return store.detectors(tx, groups=groups, after=after, limit=limit)

    def join(self, tx: Connection, caller: Caller, name: DetectorId) -> Detector:
        """Consents, for the calling member. Raises: NotPermitted."""
        detector = self._of_group(tx, caller, name)
        store.add_consent(tx, name, caller.member, now=micros(self._clock()))
        self._record(tx, caller, "detector_joined", name)
        return detector

    def leave(self, tx: Connection, caller: Caller, name: DetectorId) -> Detector:
        """Takes the consent back, also after the group was left; a round in progress goes on without the member.

        Raises: NotPermitted.
        """
        if caller.member in store.consents(tx, name):
            detector = self.get(tx, name)
        else:
            detector = self._of_group(tx, caller, name)
        store.remove_consent(tx, name, caller.member)
        self._record(tx, caller, "detector_left", name)
        return detector

    def consents(self, tx: Connection, name: DetectorId) -> list[MemberId]:
        return store.consents(tx, name)

    def taking_part(self, tx: Connection, detector: Detector) -> list[MemberId]:
        """Members that consented, are active and still in the detector's group."""
        active = self._membership.active_in(tx, detector.group)
        return [member for member in store.consents(tx, detector.id) if member in active]

    def may_follow(self, tx: Connection, caller: Caller, name: DetectorId) -> bool:
        """Whether the caller sees the detector's rounds: the console, and members that joined."""
        if caller.is_console:
            return True
        detector = self.get(tx, name)
        in_group = self._membership.is_in_group(tx, detector.group, caller.member)
        return in_group and caller.member in store.consents(tx, name)

    def require_joined(self, tx: Connection, caller: Caller, name: DetectorId) -> Detector:
        """For the console: any. Raises: NotFound, NotPermitted."""
        if caller.is_console:
            return self.get(tx, name)
        detector = self._of_group(tx, caller, name)
        if caller.member not in store.consents(tx, name):
            raise NotPermitted(
                f"{caller.name} has not joined {name}", reason="NOT_JOINED", remedy="join the detector first"
            )
        return detector

    def _of_group(self, tx: Connection, caller: Caller, name: DetectorId) -> Detector:
        """Raises: NotPermitted, the same for a detector that is not there: outsiders learn nothing."""
        detector = store.find_detector(tx, name)
        if detector is None or not self._membership.is_in_group(tx, detector.group, caller.member):
            raise NotPermitted(
                f"{caller.name} is not in the group of {name}",
                reason="NOT_IN_GROUP",
                field="name",
                remedy="ask the operator to add the member to the detector's group",
            )
        return detector

    def create_schedule(self, tx: Connection, caller: Caller, wanted: Schedule) -> Schedule:
        """Raises: NotFound, AlreadyExists, InvalidInput, FailedPrecondition."""
        self.get(tx, wanted.detector).require_approved()
        if store.lock_schedule(tx, wanted.id) is not None:
            raise AlreadyExists(f"{wanted.id} exists", reason="SCHEDULE_EXISTS", field="schedule.name")
        if not SECOND <= wanted.interval <= 366 * 86_400 * SECOND:
            raise InvalidInput("an interval is 1 second to a year", field="schedule.interval_seconds")
        check_rounds(wanted.rounds, "schedule.rounds")
        self._policies.current(tx).require_quorum(wanted.plan.quorum, field="schedule.quorum")
        store.save_schedule(tx, wanted)
        self._record(tx, caller, "schedule_created", wanted.detector)
        return wanted

    def schedules(self, tx: Connection, *, after: str | None, limit: int) -> list[Schedule]:
        return store.schedules(tx, after=after, limit=limit)

    def pause(self, tx: Connection, caller: Caller, name: ScheduleId) -> Schedule:
        """Raises: NotFound."""
        found = self._schedule(tx, name)
        paused = replace(found, paused=True)
        store.save_schedule(tx, paused)
        self._record(tx, caller, "schedule_paused", found.detector)
        return paused

    def resume(self, tx: Connection, caller: Caller, name: ScheduleId) -> Schedule:
        """Raises: NotFound, FailedPrecondition for one that is not paused."""
        found = self._schedule(tx, name)
        if not found.paused:
            raise FailedPrecondition(f"{name} is not paused", reason="SCHEDULE_STATE")
        resumed = schedule.resumed(found, micros(self._clock()))
        store.save_schedule(tx, resumed)
        self._record(tx, caller, "schedule_resumed", found.detector)
        return resumed

    def _schedule(self, tx: Connection, name: ScheduleId) -> Schedule:
        found = store.lock_schedule(tx, name)
        if found is None:
            raise NotFound(f"no schedule {name}", reason="SCHEDULE_NOT_FOUND", field="name")
        return found

    def _initial(self, tx: Connection, caller: Caller, group: GroupId, spec: Spec, initial: bytes) -> Digest:
        if not initial:
            zeros = {a.name: np.zeros(a.shape, dtype=a.dtype) for a in spec.arrays}
            return self._blobs.put(tx, tensors.encode(zeros), group)
        digest = Digest(initial)
        self._blobs.require_uploaded(tx, caller.member, digest, tensors.encoded_size(spec.arrays))
        arrays = tensors.decode(self._blobs.files.read_all(digest), spec.arrays)
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise InvalidInput("the initial arrays have NaN or infinity", reason="NOT_FINITE", field="initial_digest")
        self._blobs.publish(tx, digest, group)
        return digest

    def _record(self, tx: Connection, caller: Caller, event: str, name: DetectorId, digest: bytes = b"") -> None:
        self._audit.record(tx, event=event, actor=caller.name, subject=name, digest=digest)


def _known(found: Detector | None, name: DetectorId) -> Detector:
    if found is None:
        raise NotFound(f"no detector {name}", reason="DETECTOR_NOT_FOUND", field="name")
    return found


def detector_id(text: str, *, field: str = "name") -> DetectorId:
    """Parses `detectors/NAME`. Raises: InvalidInput."""
    return DetectorId(_named(text, "detectors", field))


def schedule_id(text: str, *, field: str = "name") -> ScheduleId:
    """Parses `schedules/NAME`. Raises: InvalidInput."""
    return ScheduleId(_named(text, "schedules", field))


def plan(quorum: int, deadline_seconds: int) -> Plan:
    """Raises: InvalidInput."""
    return Plan(quorum=quorum, deadline=deadline_seconds * SECOND)


def check_rounds(rounds: int, field: str) -> None:
    """Raises: InvalidInput."""
    if not 1 <= rounds <= MAX_ROUNDS:
        raise InvalidInput(f"1 to {MAX_ROUNDS} rounds follow each other", field=field)


def _named(text: str, collection: str, field: str) -> str:
    prefix, _, slug = text.partition("/")
    if prefix != collection or not _NAME.match(slug):
        raise InvalidInput(f"{text[:80]!r} is not {collection}/NAME", reason="NAME_MALFORMED", field=field)
    return text
