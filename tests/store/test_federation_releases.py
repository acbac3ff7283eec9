"""Which model is released: promoted, taken back, held; with a round that runs, with two at once, and to `fsck`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import text

from alliance import checkpoint as notes
from alliance.canonical import AuditEvent, sha256
from alliance.errors import AllianceError, FailedPrecondition, InvalidInput
from alliance.names import Digest
from hub.app import Services
from hub.audit import verification
from hub.federation.model import SECOND, Detector, DetectorId, Plan, Round, RoundState
from hub.federation.release import Model, Release, ReleaseMode
from hub.fsck.examine import examine
from hub.fsck.findings import Finding
from tests.kit.clock import ShiftedClock
from tests.kit.direct import ADMIN, race, read, write
from tests.kit.training import PLAN, Training, encoded

HELD = ReleaseMode.BY_PROMOTION


class Released(Training):
    """A detector whose rounds end with a model of one value each."""

    def rounds(self, *values: float, state: bytes = b"") -> None:
        for value in values:
            round_id = self.aggregating()
            work = self.advance(round_id)
            assert work is not None
            assert self.conclude(work, value, state)
            # Nobody judges it in time, which holds nothing up.
            self.clock.advance(seconds=PLAN.deadline / SECOND + 1)
            self.advance(round_id)
            assert self.found(round_id).state is RoundState.RELEASED

    def promote(self, version: int) -> Model:
        releases = self.services.releases
        return write(self.services, lambda tx: releases.promote(tx, ADMIN, self.detector, version))[1]

    def mode(self, mode: ReleaseMode) -> None:
        releases = self.services.releases
        write(self.services, lambda tx: releases.set_mode(tx, ADMIN, self.detector, mode))

    @property
    def stored(self) -> Detector:
        return read(self.services, lambda tx: self.services.detectors.get(tx, self.detector))

    @property
    def released(self) -> Model:
        return read(self.services, lambda tx: self.services.releases.model(tx, self.stored, None))

    def models(self) -> list[Model]:
        releases = self.services.releases
        return read(self.services, lambda tx: releases.models(tx, self.detector, before=None, limit=100))

    def events(self) -> list[tuple[str, str, bytes]]:
        leaves = read(self.services, lambda tx: list(verification.all_leaves(tx)))
        found = [AuditEvent.from_bytes(data) for data in leaves]
        return [(one.event, one.subject, one.digest) for one in found if one.event.startswith("model_")]

    def findings(self) -> list[Finding]:
        key = Ed25519PublicKey.from_public_bytes(self.services.audit.public_key)
        return examine(
            self.services.db,
            self.services.blobs.files.path(Digest(bytes(32))).parents[2],
            alliance="alliance.example",
            first=self.services.pki.initial[0],
            key=notes.NoteKey(name="alliance.example/log", public_key=key),
            progress=lambda _: None,
        ).findings


@pytest.fixture
def made(services: Services, clock: ShiftedClock) -> Released:
    return Released(services, clock)


def digest_of(value: float) -> Digest:
    return sha256(encoded(value))


def test_a_rounds_end_releases_and_an_earlier_model_comes_back_to_members_and_to_training(made: Released) -> None:
    made.rounds(1.0, 2.0, 3.0)
    assert (made.released.version, made.released.digest) == (3, digest_of(3.0))
    assert made.promote(1).digest == digest_of(1.0)
    assert (made.released.version, made.stored.model_digest) == (1, digest_of(1.0))
    following = made.trigger()
    assert (following.number, following.model_digest) == (4, digest_of(1.0))
    made.cancel(following.id)
    made.rounds(4.0)
    assert made.released.version == 4
    assert [(one.version, one.trained_from) for one in made.models()] == [(4, 1), (3, 2), (2, 1), (1, 0), (0, 0)]
    assert made.events() == [("model_promoted:1", made.detector, digest_of(1.0))]


def test_what_is_held_waits_for_its_promotion_and_training_goes_on_from_it(made: Released) -> None:
    made.mode(HELD)
    made.rounds(1.0, 2.0)
    assert (made.released.version, made.stored.model_digest) == (0, digest_of(2.0))
    made.promote(1)
    assert (made.released.version, made.stored.model_digest) == (1, digest_of(2.0))
    assert [event for event, _, _ in made.events()] == ["model_release:by_promotion", "model_promoted:1"]
    made.mode(ReleaseMode.AUTOMATIC)
    assert made.released.version == 1
    made.rounds(3.0)
    assert made.released.version == 3


def test_an_approval_says_how_models_are_released(made: Released) -> None:
    name = DetectorId("detectors/held")
    detectors = made.services.detectors
    write(made.services, lambda tx: detectors.propose(tx, ADMIN, name, made.group, made.stored.spec, b""))
    approved = write(made.services, lambda tx: detectors.approve(tx, ADMIN, name, HELD))
    assert approved.release == Release(mode=HELD)
    assert made.findings() == []


def test_the_open_round_of_a_model_that_is_taken_back_is_cancelled_and_no_other(made: Released) -> None:
    made.rounds(1.0, 2.0)
    made.mode(HELD)
    made.rounds(3.0)
    running = made.trigger()
    made.promote(3)
    assert made.found(running.id).state is RoundState.PLANNED
    made.promote(1)
    assert made.found(running.id).state is RoundState.CANCELLED


def test_moments_go_with_the_model_that_they_were_left_with(made: Released) -> None:
    made.rounds(1.0)
    made.rounds(2.0, state=b"moments of the second")
    kept = made.stored.state_digest
    assert kept is not None
    made.promote(1)
    assert made.stored.state_digest is None
    assert not made.services.blobs.files.path(kept).exists()
    made.promote(2)
    assert made.stored.state_digest is None


def test_a_round_triggered_while_a_model_is_taken_back_begins_from_what_came_back(made: Released) -> None:
    """Or it is cancelled: never does a round go on from what was taken back."""
    made.rounds(1.0, 2.0)
    releases = made.services.releases
    begun = race(made.services, lambda tx: releases.promote(tx, ADMIN, made.detector, 1), made.trigger)
    assert begun.model_digest == digest_of(1.0)


def test_a_promotion_while_a_round_begins_cancels_it_or_says_to_look_again(made: Released) -> None:
    made.rounds(1.0, 2.0)
    rounds = made.services.rounds

    def promoted() -> str:
        try:
            return str(made.promote(1).version)
        except AllianceError as error:
            return error.reason

    told = race(made.services, lambda tx: rounds.trigger(tx, ADMIN, made.detector, PLAN, 1), promoted)
    (newest, *_) = made.all_rounds()
    assert (told, newest.state) in {("1", RoundState.CANCELLED), ("RACE_LOST", RoundState.PLANNED)}


def test_two_who_promote_at_once_are_one_after_the_other(made: Released) -> None:
    made.rounds(1.0, 2.0, 3.0)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(made.promote, (1, 2)))
    assert made.findings() == []
    assert made.released.version == int(made.events()[-1][0].partition(":")[2])


def test_a_quorum_below_the_policys_is_refused_and_one_of_before_is_raised(made: Released) -> None:
    made.schedule()
    services = made.services

    def raised_to(floor: int) -> None:
        with services.db.write() as tx:
            seen = services.policies.revision(tx)
            wanted = type(seen.policy)(least_quorum=floor)
            services.policies.update(tx, ADMIN, wanted, etag=seen.etag)

    raised_to(7)
    low = Plan(quorum=6, deadline=PLAN.deadline)
    with pytest.raises(InvalidInput) as caught:
        write(services, lambda tx: services.rounds.trigger(tx, ADMIN, made.detector, low, 1))
    assert caught.value.reason == "QUORUM_BELOW_POLICY"
    assert write(services, services.rounds.start_due) == 1
    started: Round = made.all_rounds()[0]
    assert started.plan.quorum == 7


SQL = {
    "a promotion that nobody made": (
        "UPDATE detector SET released_version = 1",
        "detector",
        "detectors/d",
        "its release is automatic, newest 2, next from 2, released 1, leaf",
    ),
    "another way to release": (
        "UPDATE detector SET release_mode = 'by_promotion'",
        "detector",
        "detectors/d",
        "its release is by_promotion",
    ),
    "a start that nobody set": (
        "UPDATE detector SET model_digest = (SELECT digest FROM detector_model WHERE version = 1)",
        "detector",
        "detectors/d",
        "its model is",
    ),
    "a version's bytes": (
        "UPDATE detector_model SET digest = (SELECT digest FROM detector_model WHERE version = 0) WHERE version = 2",
        "detector_model",
        "detectors/d 2",
        "its model is",
    ),
    "a version that is gone": (
        "DELETE FROM detector_model WHERE version = 1",
        "detector_model",
        "detectors/d 1",
        "is missing, leaf",
    ),
}


@pytest.mark.parametrize("name", sorted(SQL))
def test_fsck_names_what_was_released_without_a_leaf(name: str, made: Released) -> None:
    statement, table, key, problem = SQL[name]
    made.rounds(1.0, 2.0)
    assert made.findings() == []
    with made.services.db.write() as tx:
        assert tx.execute(text(statement)).rowcount == 1
    (found,) = made.findings()
    assert (found.table, found.key) == (table, key)
    assert problem in found.problem


@pytest.mark.parametrize("forged", [("model_promoted:9", b""), ("model_promoted:1", bytes(32))])
def test_fsck_names_a_promotion_that_the_hub_would_not_have_made(forged: tuple[str, bytes], made: Released) -> None:
    made.rounds(1.0, 2.0)
    event, digest = forged
    write(
        made.services,
        lambda tx: made.services.audit.record(
            tx, event=event, actor="operators/x", subject=made.detector, digest=digest
        ),
    )
    found = made.findings()
    assert any("says what no promotion can make" in one.problem for one in found), found


@pytest.mark.parametrize(("version", "reason"), [(2, "MODEL_RELEASED"), (3, "MODEL_UNKNOWN")])
def test_what_cannot_be_promoted_changes_nothing(version: int, reason: str, made: Released) -> None:
    made.rounds(1.0, 2.0)
    before = made.stored
    with pytest.raises(AllianceError) as caught:
        made.promote(version)
    assert caught.value.reason == reason
    assert made.stored == before


def test_a_detector_that_is_approved_already_is_not_approved_into_another_release(made: Released) -> None:
    detectors = made.services.detectors
    with pytest.raises(FailedPrecondition):
        write(made.services, lambda tx: detectors.approve(tx, ADMIN, made.detector, HELD))
    assert made.stored.release.mode is ReleaseMode.AUTOMATIC
