"""The policy: what may be in it, that a change was made for what there is, and that each field holds at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import text

from alliance import checkpoint as notes
from alliance import tls
from alliance.audience import Audience, Tlp
from alliance.canonical import AuditEvent
from alliance.errors import AllianceError, Conflict, InvalidInput
from alliance.names import BankId, Digest, GroupId
from alliance.v1 import console_pb2 as pb
from hub.app import Services, open_services
from hub.audit import verification
from hub.config import Home, Settings
from hub.fsck.examine import examine
from hub.fsck.findings import Finding
from hub.policy import wire
from hub.policy.configured import SETTING_OF, configured, in_settings
from hub.policy.model import FIELDS, Policy, Revision, TwoAdmins
from tests.kit.direct import ADMIN, DirectMember, create_group, invite, race, read, write
from tests.kit.hub import local_settings


def changed(services: Services, **fields: object) -> Revision:
    """The policy with these fields, made for what there is."""
    with services.db.write() as tx:
        seen = services.policies.revision(tx)
        wanted = replace(seen.policy, **fields)  # type: ignore[arg-type]  # because the fields' types are the tests' own
        return services.policies.update(tx, ADMIN, wanted, etag=seen.etag)


def current(services: Services) -> Revision:
    return read(services, services.policies.revision)


def leaves(services: Services) -> list[AuditEvent]:
    found = [AuditEvent.from_bytes(data) for data in read(services, lambda tx: list(verification.all_leaves(tx)))]
    return [one for one in found if one.event.startswith("policy_changed")]


def findings(services: Services) -> list[Finding]:
    key = Ed25519PublicKey.from_public_bytes(services.audit.public_key)
    blobs = services.blobs.files.path(Digest(bytes(32))).parents[2]
    name = notes.NoteKey(name="alliance.example/log", public_key=key)
    return examine(
        services.db,
        blobs,
        alliance="alliance.example",
        first=services.pki.initial[0],
        key=name,
        progress=lambda _: None,
    ).findings


def test_before_its_first_change_it_is_what_the_settings_say(services: Services) -> None:
    assert current(services) == Revision(number=0, policy=configured(local_settings()))


def test_a_change_is_stored_with_what_there_was_and_told_in_words(services: Services) -> None:
    before = current(services).policy
    made = changed(services, least_quorum=5, two_admins=TwoAdmins.ALWAYS)
    assert (
        made
        == current(services)
        == Revision(number=1, policy=replace(before, least_quorum=5, two_admins=TwoAdmins.ALWAYS))
    )
    changed(services, strictest_ceiling=Tlp.GREEN)
    assert [(one.event, one.actor, one.subject) for one in leaves(services)] == [
        ("policy_changed:1:least_quorum=2>5,two_admins=auto>always", ADMIN.name, "policy"),
        ("policy_changed:2:strictest_ceiling=amber_strict>green", ADMIN.name, "policy"),
    ]
    assert findings(services) == []


def test_after_a_change_the_settings_count_no_more(home: Home, database_url: str) -> None:
    settings = local_settings(url=database_url)
    with open_services(home, settings) as services:
        changed(services, least_quorum=5)
    other = replace(settings, federation_least_quorum=9, approvals_two_admins="never")
    with open_services(home, other) as restarted:
        assert current(restarted).policy.least_quorum == 5
        assert current(restarted).policy.two_admins is TwoAdmins.AUTO


def test_a_change_that_was_made_for_another_policy_is_refused(services: Services) -> None:
    seen = current(services)
    changed(services, least_quorum=5)
    wanted = replace(seen.policy, least_quorum=3)
    with pytest.raises(Conflict) as caught:
        write(services, lambda tx: services.policies.update(tx, ADMIN, wanted, etag=seen.etag))
    assert caught.value.reason == "POLICY_CHANGED"
    with pytest.raises(InvalidInput) as missing:
        write(services, lambda tx: services.policies.update(tx, ADMIN, wanted, etag=""))
    assert missing.value.reason == "ETAG_MISSING"
    assert current(services).policy.least_quorum == 5


def test_etags_differ_where_the_settings_of_two_processes_do() -> None:
    here, there = (configured(replace(local_settings(), federation_least_quorum=n)) for n in (2, 3))
    assert Revision(number=0, policy=here).etag != Revision(number=0, policy=there).etag


def test_of_two_changes_at_once_one_is_made(services: Services) -> None:
    seen = current(services)

    def attempt(quorum: int) -> str:
        try:
            wanted = replace(seen.policy, least_quorum=quorum)
            write(services, lambda tx: services.policies.update(tx, ADMIN, wanted, etag=seen.etag))
        except AllianceError as error:
            return error.reason
        return "made"

    with ThreadPoolExecutor(2) as pool:
        told = sorted(pool.map(attempt, (5, 6)))
    # Through the edge, who lost the race is asked again and then hears of the other's change.
    assert told in (["POLICY_CHANGED", "made"], ["RACE_LOST", "made"])
    assert current(services).number == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"least_quorum": 1},
        {"least_quorum": 2**31 - 1},
        {"strictest_ceiling": Tlp.RED},
        {"invitation_seconds": 0},
        {"invitation_seconds": 30 * 86_400 + 1},
        {"certificate_seconds": -1},
        {"certificate_seconds": 367 * 86_400},
        {},
    ],
)
def test_what_no_policy_may_say_changes_nothing(fields: dict[str, object], services: Services) -> None:
    with pytest.raises(InvalidInput):
        changed(services, **fields)
    assert current(services).number == 0


def test_no_bank_may_hold_what_is_stricter(services: Services) -> None:
    group = create_group(services, "shoes")

    def create(name: str, ceiling: Tlp) -> None:
        audience = Audience(group=GroupId(group), ceiling=ceiling)
        bank = BankId(f"banks/{name}")
        write(services, lambda tx: services.fingerprints.create_bank(tx, ADMIN, bank, audience, "pdq-256"))

    create("before", Tlp.AMBER)
    changed(services, strictest_ceiling=Tlp.GREEN)
    with pytest.raises(InvalidInput) as caught:
        create("after", Tlp.AMBER)
    assert caught.value.reason == "CEILING_ABOVE_POLICY"
    create("green", Tlp.GREEN)


def test_certificates_and_invitations_live_as_long_as_it_says(services: Services) -> None:
    changed(services, certificate_seconds=600, invitation_seconds=120)
    start = services.membership._clock()  # the clock that it was wired with
    invite(services, "later")
    row = read(services, lambda tx: tx.execute(text("SELECT expire_time FROM invitation")).scalar_one())
    assert row / 1e6 - start.timestamp() == pytest.approx(120, abs=60)
    member = DirectMember.join(services, "acme")
    assert (member.peer.not_after - start).total_seconds() == pytest.approx(600, abs=60)
    request = tls.certificate_request(tls.new_channel_key())
    chain = member.act(lambda tx, caller: services.enrolment.renew(tx, caller, request))
    until = x509.load_der_x509_certificate(chain[0]).not_valid_after_utc
    assert (until - start).total_seconds() == pytest.approx(600, abs=60)


SQL = {
    "a change that nobody made": (
        "UPDATE policy SET two_admins = 'never' WHERE revision = 2",
        "2",
        "its change is",
    ),
    "a beginning that was otherwise": (
        "UPDATE policy SET least_quorum = 3 WHERE revision = 0",
        "1",
        "its change is",
    ),
    "a change that is gone": ("DELETE FROM policy WHERE revision = 2", "2", "is missing, leaf"),
    "a change beyond the last": (
        "INSERT INTO policy SELECT 3, 'never', least_quorum, strictest_ceiling, invitation_seconds, "
        "certificate_seconds, time FROM policy WHERE revision = 2",
        "3",
        "the log says nothing of it",
    ),
    "what cannot be read": ("UPDATE policy SET strictest_ceiling = 9 WHERE revision = 2", "", "cannot be read"),
}


@pytest.mark.parametrize("name", sorted(SQL))
def test_fsck_names_what_was_altered(name: str, services: Services) -> None:
    changed(services, least_quorum=5)
    changed(services, two_admins=TwoAdmins.ALWAYS)
    assert findings(services) == []
    statement, key, problem = SQL[name]
    with services.db.write() as tx:
        assert tx.execute(text(statement)).rowcount == 1
    (found,) = findings(services)
    assert (found.table, found.key) == ("policy", key)
    assert problem in found.problem


def test_a_change_that_two_make_at_once_waits_for_the_first(services: Services) -> None:
    seen = current(services)
    wanted = replace(seen.policy, least_quorum=5)
    with pytest.raises(Conflict):
        race(
            services,
            lambda tx: services.policies.update(tx, ADMIN, wanted, etag=seen.etag),
            lambda: write(services, lambda tx: services.policies.update(tx, ADMIN, wanted, etag=seen.etag)),
        )


def test_every_field_has_its_setting_and_says_the_same_there() -> None:
    settings = Settings()
    assert set(SETTING_OF) == set(FIELDS)
    assert in_settings(configured(settings)) == {name: getattr(settings, name) for name in SETTING_OF.values()}


def test_only_what_the_mask_names_is_changed() -> None:
    before = Policy()
    given = pb.Policy(two_admins="TWO_ADMINS_NEVER", least_quorum=7, strictest_ceiling="TLP_CLEAR")
    for path, wanted in (
        ("two_admins", replace(before, two_admins=TwoAdmins.NEVER)),
        ("least_quorum", replace(before, least_quorum=7)),
        ("strictest_ceiling", replace(before, strictest_ceiling=Tlp.CLEAR)),
    ):
        request = pb.UpdatePolicyRequest(policy=given, update_mask=FieldMask(paths=[path]))
        assert wire.updated(before, request) == wanted
    for paths in ([], ["etag"], ["revision"], ["*"], ["least_quorum", "two_admins.x"]):
        with pytest.raises(InvalidInput) as caught:
            wire.updated(before, pb.UpdatePolicyRequest(policy=given, update_mask=FieldMask(paths=paths)))
        assert caught.value.field == "update_mask"


@pytest.mark.parametrize("path", ["two_admins", "strictest_ceiling"])
def test_a_field_that_is_named_and_not_given_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput):
        wire.updated(Policy(), pb.UpdatePolicyRequest(update_mask=FieldMask(paths=[path])))
