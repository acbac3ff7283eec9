"""Admission at the hub: founders, signatures, who waits; and its count is the one that the log gives to everybody."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from alliance import admission, canonical
from alliance.canonical import AuditEvent
from alliance.errors import AllianceError, AlreadyExists, FailedPrecondition, InvalidInput, NotFound
from alliance.names import Digest, MemberId
from hub.app import Services, open_services
from hub.audit.sequencer import Sequencer
from hub.config import Home
from hub.membership.model import Member
from hub.runtime.caller import Caller
from hub.runtime.metrics import Metrics
from hub.setup import initialise
from tests.kit.clock import ShiftedClock
from tests.kit.direct import ADMIN, DirectMember, race, read, write
from tests.kit.hub import ADMIN as OPERATOR
from tests.kit.hub import local_settings
from tests.kit.keys import Identity


@contextmanager
def hub_of(folder: Path, cosigners: int, clock: ShiftedClock, url: str) -> Iterator[Services]:
    """A hub where so many members admit others."""
    home, settings = Home(path=folder / "hub"), local_settings(url=url, membership_admission_cosigners=cosigners)
    initialise(home, settings, OPERATOR)
    with open_services(home, settings, clock=clock) as services:
        yield services


@pytest.fixture
def founded(tmp_path: Path, clock: ShiftedClock, database_url: str) -> Iterator[Services]:
    with hub_of(tmp_path, 2, clock, database_url) as services:
        yield services


def digest_of(member: DirectMember) -> bytes:
    return canonical.identity_digest(member.identity.signing_key, member.identity.sealing_key)


def sign(services: Services, signer: DirectMember, member: DirectMember, *, role: str = "brand") -> bytes:
    body = canonical.admission_bytes(services.enrolment._alliance, member.name, role, digest_of(member))
    return signer.identity.sign(body)


def admit(services: Services, signer: DirectMember, member: DirectMember) -> Member:
    """As the RPC does it. Raises: AllianceError."""
    identity, signature = Digest(digest_of(member)), sign(services, signer, member)
    return signer.act(lambda tx, caller: services.admissions.admit(tx, caller, member.name, identity, signature))


def expel(services: Services, member: DirectMember) -> None:
    write(services, lambda tx: services.membership.expel(tx, ADMIN, member.name, "unpaid"))


def admitted(services: Services) -> set[str]:
    found = read(services, lambda tx: services.membership.members(tx, after=None, limit=100))
    return {member.id for member in found if member.admitted}


def caller(services: Services, member: DirectMember) -> Caller:
    return read(services, lambda tx: services.membership.authenticate(tx, member.peer))


def test_founders_come_in_by_invitation_and_the_next_waits(founded: Services) -> None:
    acme, zoo, late = (DirectMember.join(founded, name) for name in ("acme", "zoo", "late"))
    assert [caller(founded, member).admitted for member in (acme, zoo, late)] == [True, True, False]
    assert admit(founded, acme, late).waits
    assert not caller(founded, late).admitted
    assert admit(founded, zoo, late).takes_part
    assert caller(founded, late).admitted


def test_what_is_shown_of_one_that_waits(founded: Services) -> None:
    acme, zoo, late = (DirectMember.join(founded, name) for name in ("acme", "zoo", "late"))
    admit(founded, zoo, late)
    members = read(founded, lambda tx: founded.membership.members(tx, after=None, limit=9))
    shown = read(founded, lambda tx: founded.admissions.of(tx, members))
    assert {name: ([one.signer for one in told.signed], told.needed) for name, told in shown.items()} == {
        acme.name: ([], 0),
        late.name: ([zoo.name], 2),
        zoo.name: ([], 0),
    }


def test_what_is_no_admission(founded: Services) -> None:
    acme, zoo, late = (DirectMember.join(founded, name) for name in ("acme", "zoo", "late"))
    nobody, other = MemberId("members/nobody"), Identity.generate()
    service, right = founded.admissions, Digest(digest_of(late))
    wrong = canonical.identity_digest(other.signing_key, other.sealing_key)
    own = sign(founded, acme, late)
    for error, reason, name, identity, signature in (
        (NotFound, "MEMBER_NOT_FOUND", nobody, right, own),
        (FailedPrecondition, "ALREADY_ADMITTED", zoo.name, digest_of(zoo), own),
        (InvalidInput, "IDENTITY_DIFFERS", late.name, wrong, own),
        (InvalidInput, "SIGNATURE_INVALID", late.name, right, sign(founded, zoo, late)),
        (InvalidInput, "SIGNATURE_INVALID", late.name, right, sign(founded, acme, late, role="regulator")),
        (InvalidInput, "SIGNATURE_INVALID", late.name, right, b""),
    ):
        with pytest.raises(error) as caught, founded.db.write() as tx:
            service.admit(tx, acme.caller, name, Digest(identity), signature)
        assert caught.value.reason == reason
    admit(founded, acme, late)
    with pytest.raises(AlreadyExists):
        admit(founded, acme, late)


def test_who_has_left_is_admitted_by_nobody_and_admits_nobody(founded: Services) -> None:
    acme, zoo, late, gone = (DirectMember.join(founded, name) for name in ("acme", "zoo", "late", "gone"))
    gone.leave()
    with pytest.raises(NotFound):
        admit(founded, acme, gone)
    admit(founded, zoo, late)
    # What zoo signed lapses with it, and acme, the only one left, suffices.
    expel(founded, zoo)
    assert admitted(founded) == {acme.name, zoo.name}
    admit(founded, acme, late)
    assert late.name in admitted(founded)


def test_who_admits_is_fixed_by_init(founded: Services) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        write(founded, lambda tx: founded.admissions.found(tx, 0))
    assert caught.value.reason == "ADMISSION_POLICY_FIXED"


def test_init_refuses_a_number_that_is_none(tmp_path: Path) -> None:
    other = Home(path=tmp_path / "other")
    for wrong in (-1, 21):
        with pytest.raises(InvalidInput) as caught:
            initialise(other, local_settings(membership_admission_cosigners=wrong), OPERATOR)
        assert caught.value.field == "membership.admission_cosigners"
    assert not other.path.exists()


def test_two_that_sign_at_once_both_count(founded: Services) -> None:
    acme, zoo, late = (DirectMember.join(founded, name) for name in ("acme", "zoo", "late"))
    first = Digest(digest_of(late)), sign(founded, acme, late)
    race(
        founded,
        lambda tx: founded.admissions.admit(tx, acme.caller, late.name, *first),
        lambda: admit(founded, zoo, late),
    )
    assert late.name in admitted(founded)


def test_a_signature_and_the_signers_expulsion_at_once_leave_hub_and_log_agreed(founded: Services) -> None:
    acme, zoo, late = (DirectMember.join(founded, name) for name in ("acme", "zoo", "late"))
    admit(founded, zoo, late)
    race(
        founded,
        lambda tx: founded.membership.expel(tx, ADMIN, zoo.name, "unpaid"),
        lambda: admit(founded, acme, late),
    )
    assert admitted(founded) == by_the_log(founded, [acme, zoo, late]) == {acme.name, zoo.name, late.name}


def by_the_log(services: Services, members: list[DirectMember]) -> set[str]:
    """Who is admitted as an agent counts: from the leaves, and the signatures that the hub hands out."""
    Sequencer(services.audit, services.db, Metrics()).drain()
    leaves = read(services, lambda tx: services.audit.leaves(tx, start=0, limit=10_000))
    shown = read(services, lambda tx: services.membership.members(tx, after=None, limit=100))
    signatures = read(services, lambda tx: services.admissions.of(tx, shown))
    given = [one.signature for told in signatures.values() for one in told.signed]
    keys = {digest_of(member): member for member in members}

    def verified(signer: bytes, body: bytes, digest: bytes) -> bool:
        [signature] = [one for one in given if canonical.admission_digest(body, one) == digest]
        keys[signer].identity.signing.public_key().verify(signature, body, ec.ECDSA(hashes.SHA256()))
        return True

    events = [AuditEvent.from_bytes(leaf.data) for leaf in leaves]
    register = admission.replay(services.enrolment._alliance, events, verified)
    return {name for name, entry in register.members.items() if entry.admitted}


@pytest.mark.parametrize("seed", range(4))
def test_hub_and_log_agree_on_whatever_happens(
    tmp_path: Path, database_url: str, clock: ShiftedClock, seed: int
) -> None:
    """Enrolments, signatures, departures and expulsions in a random order, refused ones among them."""
    draw = random.Random(seed)
    with hub_of(tmp_path, draw.choice([1, 2, 3]), clock, database_url) as services:
        members: list[DirectMember] = []
        for _ in range(40):
            move = draw.choices(["enrol", "sign", "expel", "leave"], [3, 8, 1, 1])[0]
            try:
                if move == "enrol" or len(members) < 2:
                    members.append(DirectMember.join(services, f"m{len(members)}"))
                elif move == "sign":
                    admit(services, *draw.sample(members, 2))
                elif move == "expel":
                    expel(services, draw.choice(members))
                else:
                    draw.choice(members).leave()
            except AllianceError:
                continue
        assert admitted(services) == by_the_log(services, members) != set()
