"""What a round leaves at the hub: no update it has no more use for, no state of a strategy that is old."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Connection

from alliance.canonical import sha256
from hub.app import Services
from hub.federation import round_store
from hub.federation.model import (
    Participant,
    ParticipantState,
    RoundId,
    RoundState,
)
from hub.federation.work import Outcome
from tests.kit.clock import ShiftedClock
from tests.kit.direct import DirectMember, write
from tests.kit.training import Training, answered, encoded, held, reported, uploads


@pytest.fixture
def training(services: Services, clock: ShiftedClock) -> Training:
    return Training(services, clock)


@pytest.mark.parametrize("end", ["aggregated", "failed", "cancelled"])
def test_updates_go_when_their_round_has_no_more_use_for_them(training: Training, end: str) -> None:
    acme, zoo = training.members
    round_id = training.trigger().id
    sent = {member: uploads(training, member, encoded(float(n))) for n, member in enumerate(training.members, 1)}
    reported(training, round_id, sent)
    work = training.advance(round_id)
    assert work is not None
    assert [held(training, sent[member], member) for member in (acme, zoo)] == [(True, True)] * 2
    match end:
        case "aggregated":
            assert training.conclude(work, 5.0)
        case "failed":
            failed = Outcome(failure="quorum missed")
            assert write(training.services, lambda tx: training.services.rounds.conclude(tx, work, failed))
        case "cancelled":
            training.cancel(round_id)
    assert [held(training, sent[member], member) for member in (acme, zoo)] == [(False, False)] * 2
    assert {slot.update_digest for slot in training.found(round_id).participants} == set(sent.values())


def test_bytes_that_somebody_else_needs_stay(training: Training) -> None:
    """Equal updates of two members, of another round, and of somebody who only uploaded them."""
    acme, zoo = training.members
    stranger = DirectMember.join(training.services, "stranger")
    data = encoded(1.0)
    for member in (acme, zoo, stranger):
        digest = uploads(training, member, data)
    first = training.trigger().id
    training.detector = training.another("e")
    second = training.trigger().id
    reported(training, first, {acme: digest, zoo: digest})
    reported(training, second, {acme: digest})
    training.cancel(first)
    assert [held(training, digest, member) for member in (acme, zoo, stranger)] == [(True, True)] * 3
    training.cancel(second)
    assert [held(training, digest, member) for member in (acme, stranger)] == [(True, False), (True, True)]


def test_a_model_that_was_sent_as_an_update_stays(training: Training) -> None:
    acme = training.members[0]
    round_id = training.trigger().id
    start = training.found(round_id).model_digest
    assert uploads(training, acme, training.services.blobs.files.read_all(start)) == start
    reported(training, round_id, {acme: start})
    training.cancel(round_id)
    assert held(training, start, acme) == (True, False)


def test_an_upload_whose_file_is_gone_is_asked_for_again(training: Training) -> None:
    """As after a crash between a commit that discards and the removal of the file, with an upload in between."""
    acme = training.members[0]
    digest = uploads(training, acme, encoded(1.0))
    training.services.blobs.files.remove(digest)
    assert held(training, digest, acme) == (False, False)
    assert uploads(training, acme, encoded(1.0)) == digest
    assert held(training, digest, acme) == (True, True)


def test_an_update_that_does_not_count_goes_at_once(training: Training) -> None:
    """One that came after its slot was taken, and one that is not of the detector's size."""
    acme = training.members[0]
    round_id = training.trigger().id
    reported(training, round_id, {acme: uploads(training, acme, encoded(1.0))})
    late, odd = uploads(training, acme, encoded(2.0)), uploads(training, acme, b"something else")
    assert not answered(training, acme, round_id, late, len(encoded(2.0)))
    assert held(training, late, acme) == (False, False)

    def invited(tx: Connection) -> None:
        found = round_store.lock_round(tx, round_id)
        assert found is not None
        slots = (Participant(member=acme.name),)
        round_store.save_round(tx, found, replace(found, state=RoundState.TRAINING, participants=slots))

    write(training.services, invited)
    assert not answered(training, acme, round_id, odd, len(b"something else"))
    assert held(training, odd, acme) == (False, False)


def test_a_strategys_state_goes_when_the_next_is_released(training: Training) -> None:
    files, states = training.services.blobs.files, [b"first", b"second", b"of a round that is cancelled"]

    def there() -> list[bool]:
        return [files.path(sha256(state)).exists() for state in states]

    def evaluated(state: bytes) -> RoundId:
        """A round that has a new model, and everybody's word on it."""
        round_id = training.trigger().id
        sent = {m: uploads(training, m, encoded(float(n))) for n, m in enumerate(training.members, 1)}
        reported(training, round_id, sent)
        work = training.advance(round_id)
        assert work is not None
        assert training.conclude(work, float(len(state)), state)

        def save(tx: Connection) -> None:
            found = round_store.lock_round(tx, round_id)
            assert found is not None
            slots = tuple(replace(slot, state=ParticipantState.EVALUATED) for slot in found.participants)
            round_store.save_round(tx, found, replace(found, participants=slots))

        write(training.services, save)
        return round_id

    assert training.advance(evaluated(states[0])) is None
    assert there() == [True, False, False]
    second = evaluated(states[1])
    assert there() == [True, True, False]
    assert training.advance(second) is None
    assert there() == [False, True, False]
    training.cancel(evaluated(states[2]))
    assert there() == [False, True, False]
