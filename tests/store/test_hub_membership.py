"""Members come in by one invitation each, and no two changes at once undo each other, on either database."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from cryptography.hazmat.primitives import serialization
from sqlalchemy import Connection

from alliance import canonical, tls
from alliance.canonical import AuditEvent
from alliance.errors import AllianceError, AlreadyExists, FailedPrecondition, InvalidInput, NotFound, NotPermitted
from alliance.names import GroupId, MemberId
from hub.app import Services
from hub.audit import store as audit_store
from hub.membership import model, store
from hub.membership.model import Role, Standing
from hub.runtime.clock import micros
from tests.kit.clock import ShiftedClock
from tests.kit.direct import ADMIN, DirectMember, create_bank, create_epoch, create_group, invite, race, read, write
from tests.kit.keys import Identity

ACME = MemberId("members/acme")
SHOES = GroupId("groups/shoes")


def standing(services: Services, member: MemberId = ACME) -> Standing:
    return read(services, lambda tx: services.membership.get(tx, member)).standing


def expel(services: Services, tx: Connection, member: MemberId = ACME) -> object:
    return services.membership.expel(tx, ADMIN, member, "sold fakes")


def events(services: Services) -> list[str]:
    """What the log was told, in order."""
    queued = read(services, lambda tx: audit_store.queued(tx, 1000))
    return [AuditEvent.from_bytes(leaf.data).event for leaf in queued]


def test_a_member_from_invitation_to_expulsion(services: Services) -> None:
    DirectMember.join(services, "acme", Role.MARKETPLACE)
    membership = services.membership
    write(services, lambda tx: membership.suspend(tx, ADMIN, ACME, " late fees "))
    assert read(services, lambda tx: membership.get(tx, ACME)).reason == "late fees"
    write(services, lambda tx: membership.reinstate(tx, ADMIN, ACME, "paid"))
    assert standing(services) is Standing.ACTIVE
    write(services, lambda tx: expel(services, tx))
    assert standing(services) is Standing.EXPELLED
    # `init` said who admits members, and certified the first admin.
    assert events(services) == [
        "admission_policy:0",
        "operator_certified:admin",
        "member_invited:marketplace",
        "member_enrolled:marketplace",
        "member_suspended",
        "member_reinstated",
        "member_expelled",
    ]


def test_a_refused_change_leaves_no_trace(services: Services) -> None:
    DirectMember.join(services, "acme")
    before = events(services)
    with pytest.raises(FailedPrecondition, match="cannot be reinstated"):
        write(services, lambda tx: services.membership.reinstate(tx, ADMIN, ACME, "cleared"))
    with pytest.raises(NotFound, match="no member members/nobody"):
        write(services, lambda tx: services.membership.suspend(tx, ADMIN, MemberId("members/nobody"), "why"))
    assert (standing(services), events(services)) == (Standing.ACTIVE, before)


@pytest.mark.parametrize("reason", ["", "  ", "x" * 201, "two\nlines", "nul\0"])
def test_a_reason_is_one_printable_line(reason: str, services: Services) -> None:
    DirectMember.join(services, "acme")
    with pytest.raises(InvalidInput, match="reason"):
        write(services, lambda tx: services.membership.suspend(tx, ADMIN, ACME, reason))


# Invitations.


def test_an_invitation_works_once(services: Services) -> None:
    secret = invite(services, "acme")
    DirectMember.enrol(services, "acme", secret)
    with pytest.raises(NotPermitted) as caught:
        DirectMember.enrol(services, "acme", secret)
    assert caught.value.reason == "INVITATION_USED"


def test_an_invitation_expires(services: Services, clock: ShiftedClock) -> None:
    secret = invite(services, "acme", seconds=60)
    clock.advance(seconds=61)
    with pytest.raises(NotPermitted) as caught:
        DirectMember.enrol(services, "acme", secret)
    assert caught.value.reason == "INVITATION_EXPIRED"
    DirectMember.enrol(services, "acme", invite(services, "acme"))


def test_a_made_up_secret_is_unknown(services: Services) -> None:
    invite(services, "acme")
    with pytest.raises(NotPermitted) as caught:
        DirectMember.enrol(services, "acme", bytes(32))
    assert caught.value.reason == "INVITATION_UNKNOWN"


def test_a_newer_invitation_replaces_the_older(services: Services) -> None:
    old, new = invite(services, "acme"), invite(services, "acme")
    with pytest.raises(NotPermitted) as caught:
        DirectMember.enrol(services, "acme", old)
    assert caught.value.reason == "INVITATION_UNKNOWN"
    DirectMember.enrol(services, "acme", new)


def test_an_invitation_is_for_its_member_only(services: Services) -> None:
    """The identity signs the name it enrols under, so a code of acme cannot be used as another."""
    secret = invite(services, "acme")
    with pytest.raises(InvalidInput) as caught:
        DirectMember.enrol(services, "rival", secret)
    assert caught.value.reason == "IDENTITY_INVALID"
    DirectMember.enrol(services, "acme", secret)  # a failed enrolment does not use the invitation up


def test_a_member_is_not_invited_again(services: Services) -> None:
    DirectMember.join(services, "acme")
    with pytest.raises(AlreadyExists) as caught:
        invite(services, "acme")
    assert caught.value.reason == "MEMBER_EXISTS"


def test_an_invited_member_keeps_its_role(services: Services) -> None:
    invite(services, "acme", Role.BRAND)
    with pytest.raises(InvalidInput, match="was invited as brand"):
        invite(services, "acme", Role.REGULATOR)


@pytest.mark.parametrize("seconds", [-1, 31 * 86_400, 2**62, -(2**62)])
def test_an_invitation_lasts_at_most_a_month(seconds: int, services: Services) -> None:
    with pytest.raises(InvalidInput, match="lifetime_seconds"):
        invite(services, "acme", seconds=seconds)


def test_an_expelled_member_cannot_use_its_invitation(services: Services) -> None:
    secret = invite(services, "acme")
    write(services, lambda tx: expel(services, tx))
    with pytest.raises(FailedPrecondition, match="is expelled and cannot enrol"):
        DirectMember.enrol(services, "acme", secret)


def test_of_two_uses_at_once_one_wins(services: Services) -> None:
    together = Barrier(4)
    for n in range(5):
        secret = invite(services, f"m{n}")

        def use(n: int = n, secret: bytes = secret) -> str:
            together.wait(10)
            try:
                return DirectMember.enrol(services, f"m{n}", secret).name
            except AllianceError as error:
                return error.reason

        with ThreadPoolExecutor(4) as pool:
            outcomes = [future.result() for future in [pool.submit(use) for _ in range(4)]]
        assert sorted(outcomes) == ["INVITATION_USED"] * 3 + [f"members/m{n}"]


# Identities.


def test_an_identity_belongs_to_one_member(services: Services) -> None:
    acme = DirectMember.join(services, "acme")
    for identity in (
        acme.identity,
        Identity(signing=Identity.generate().signing, sealing=acme.identity.sealing),
    ):
        with pytest.raises(AlreadyExists) as caught:
            DirectMember.enrol(services, "rival", invite(services, "rival"), identity=identity)
        assert caught.value.reason == "IDENTITY_TAKEN"


def test_an_identity_is_spelt_in_one_way(services: Services) -> None:
    """A compressed point is the same key in other bytes: it would pass for a second identity."""
    own, secret, request = Identity.generate(), invite(services, "acme"), tls.certificate_request(tls.new_channel_key())
    point = own.signing.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    )
    prefix = own.signing_key[:-65].replace(b"\x30\x59", b"\x30\x39", 1).replace(b"\x03\x42", b"\x03\x22", 1)
    spelt = prefix + point
    assert isinstance(serialization.load_der_public_key(spelt), type(own.signing.public_key()))
    check_refused(services, own, spelt, own.sealing_key, secret, request)


@pytest.mark.parametrize(
    "signing_key",
    [
        pytest.param(b"", id="none"),
        pytest.param(b"\x30\x03\x02\x01\x01", id="no key"),
        pytest.param(bytes.fromhex("302a300506032b6570032100") + bytes(32), id="Ed25519"),
        pytest.param(
            bytes.fromhex("3029301306072a8648ce3d020106082a8648ce3d0301010312000100000000000000000000000000000000"),
            id="a curve nobody supports",
        ),
    ],
)
def test_an_identity_is_a_p256_key(signing_key: bytes, services: Services) -> None:
    own, request = Identity.generate(), tls.certificate_request(tls.new_channel_key())
    check_refused(services, own, signing_key, own.sealing_key, invite(services, "acme"), request)


def check_refused(
    services: Services, own: Identity, signing_key: bytes, sealing_key: bytes, secret: bytes, request: bytes
) -> None:
    digest = canonical.sha256(request)
    signed = canonical.enrolment_bytes("alliance.example", ACME, digest, signing_key, sealing_key)
    public = model.Identity(signing_key=signing_key, sealing_key=sealing_key)
    with pytest.raises(InvalidInput) as caught, services.db.write() as tx:
        services.enrolment.enrol(tx, secret=secret, request=request, identity=public, signature=own.sign(signed))
    assert caught.value.reason == "IDENTITY_INVALID"


@pytest.mark.parametrize("request_bytes", [b"", b"\x30\x00", bytes(300)])
def test_a_certificate_request_must_be_one(request_bytes: bytes, services: Services) -> None:
    with pytest.raises(InvalidInput) as caught, services.db.write() as tx:
        services.pki.issue_member(
            tx, request=request_bytes, member=ACME, agent="agents/1", lifetime=dt.timedelta(days=1)
        )
    assert caught.value.reason == "CERTIFICATE_REQUEST_INVALID"


# Changes that meet.


def test_an_expulsion_is_not_undone_by_a_reinstatement(services: Services) -> None:
    DirectMember.join(services, "acme")
    write(services, lambda tx: services.membership.suspend(tx, ADMIN, ACME, "why"))
    with pytest.raises(FailedPrecondition, match="is expelled and cannot be reinstated"):
        race(
            services,
            lambda tx: expel(services, tx),
            lambda: write(services, lambda tx: services.membership.reinstate(tx, ADMIN, ACME, "cleared")),
        )
    assert standing(services) is Standing.EXPELLED


def test_an_expulsion_is_not_undone_by_an_enrolment(services: Services) -> None:
    secret = invite(services, "acme")
    with pytest.raises(FailedPrecondition, match="is expelled and cannot enrol"):
        race(services, lambda tx: expel(services, tx), lambda: DirectMember.enrol(services, "acme", secret))
    assert standing(services) is Standing.EXPELLED


def test_an_expelled_member_does_not_slip_into_a_group(services: Services) -> None:
    DirectMember.join(services, "acme")
    create_group(services, "shoes")
    with pytest.raises(NotFound, match="is expelled"):
        race(
            services,
            lambda tx: expel(services, tx),
            lambda: write(services, lambda tx: services.membership.add_to_group(tx, ADMIN, SHOES, ACME)),
        )
    assert read(services, lambda tx: services.membership.group(tx, SHOES)).members == ()


def test_two_invitations_of_one_name_at_once_make_one_member(services: Services) -> None:
    """The loser is told to retry (RACE_LOST), and the edge does so."""
    together = Barrier(3)

    def try_it() -> str:
        together.wait(10)
        try:
            invite(services, "acme")
        except AllianceError as error:
            return error.reason
        return ""

    with ThreadPoolExecutor(3) as pool:
        outcomes = {future.result() for future in [pool.submit(try_it) for _ in range(3)]}
    assert "" in outcomes <= {"", "RACE_LOST"}
    assert [m.id for m in read(services, lambda tx: services.membership.members(tx, after=None, limit=9))] == [ACME]


# Groups.


def test_groups_hold_members_in_order(services: Services) -> None:
    zoo, acme = DirectMember.join(services, "zoo"), DirectMember.join(services, "acme")
    create_group(services, "shoes", zoo, acme)
    create_group(services, "bags", zoo)
    membership = services.membership
    assert read(services, lambda tx: membership.group(tx, SHOES)).members == (acme.name, zoo.name)
    assert [g.id for g in read(services, lambda tx: membership.groups(tx, acme.caller, after=None, limit=9))] == [SHOES]
    everything = read(services, lambda tx: membership.groups(tx, ADMIN, after=None, limit=9))
    assert [group.id for group in everything] == ["groups/bags", "groups/shoes"]


def test_a_group_refuses_what_it_has_and_what_is_not_there(services: Services) -> None:
    acme = DirectMember.join(services, "acme")
    create_group(services, "shoes", acme)
    membership = services.membership
    for error, work in (
        (AlreadyExists, lambda tx: membership.create_group(tx, ADMIN, SHOES)),
        (AlreadyExists, lambda tx: membership.add_to_group(tx, ADMIN, SHOES, ACME)),
        (NotFound, lambda tx: membership.add_to_group(tx, ADMIN, GroupId("groups/none"), ACME)),
        (NotFound, lambda tx: membership.add_to_group(tx, ADMIN, SHOES, MemberId("members/none"))),
    ):
        with pytest.raises(error):
            write(services, work)


def test_leaving_takes_a_member_out_of_its_groups(services: Services) -> None:
    acme, zoo = DirectMember.join(services, "acme"), DirectMember.join(services, "zoo")
    group = create_group(services, "shoes", acme, zoo)
    bank = create_bank(services, "shoes", group)
    create_epoch(services, acme, group)
    acme.publish(bank)
    acme.leave()
    assert read(services, lambda tx: services.membership.group(tx, SHOES)).members == (zoo.name,)
    assert standing(services) is Standing.LEFT


# The store on its own.


def test_members_page_by_name(services: Services) -> None:
    for name in ("c", "a", "b"):
        invite(services, name)
    found = read(services, lambda tx: store.members(tx, after="members/a", limit=1))
    assert [member.id for member in found] == ["members/b"]


def test_who_came_back_meanwhile_stays_present(services: Services, clock: ShiftedClock) -> None:
    """The end of a stream is noticed late, by one hub process, and the agent is at another by then."""
    DirectMember.join(services, "acme")
    members = services.membership

    def present() -> bool:
        return read(services, lambda tx: members.present(tx, [ACME], now=micros(clock()))) == [ACME]

    first = micros(clock()) + 40_000_000
    write(services, lambda tx: members.mark_present(tx, ACME, until=first))
    write(services, lambda tx: members.mark_present(tx, ACME, until=first + 1))
    write(services, lambda tx: members.mark_absent(tx, ACME, until=first))
    assert present()
    write(services, lambda tx: members.mark_absent(tx, ACME, until=first + 1))
    assert not present()
