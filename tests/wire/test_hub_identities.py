"""A member changes its identity: both identities sign, the hub keeps the chain, and takes up nobody's old keys."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from alliance import canonical
from alliance.errors import AllianceError, AlreadyExists, InvalidInput, LimitExceeded
from alliance.v1 import enrolment_pb2 as pb
from alliance.v1 import membership_pb2
from hub.membership import identities
from tests.kit.hub import RunningHub
from tests.kit.keys import Identity, tampered
from tests.kit.member import RawMember


def change(hub: RunningHub, member: RawMember, new: Identity) -> pb.IdentityChange:
    request = member.change_request(hub.settings.alliance_name, new)
    done = member.call(request, pb.ChangeIdentityResponse).change
    member.identity = new
    return done


def changes(reader: RawMember, member: RawMember) -> list[pb.IdentityChange]:
    request = pb.ListIdentityChangesRequest(member=member.name, page_size=1)
    found: list[pb.IdentityChange] = []
    while True:
        page = reader.call(request, pb.ListIdentityChangesResponse)
        found += page.changes
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def digest(identity: Identity) -> bytes:
    return canonical.identity_digest(identity.signing_key, identity.sealing_key)


def test_a_change_is_shown_to_all_and_in_the_log(hub: RunningHub) -> None:
    acme, other = hub.enrol("acme"), hub.enrol("other")
    chain = [acme.identity, Identity.generate(), Identity.generate()]
    for new in chain[1:]:
        change(hub, acme, new)
    found = changes(other, acme)
    assert [(one.former.signing_key, one.identity.signing_key) for one in found] == [
        (former.signing_key, new.signing_key) for former, new in pairwise(chain)
    ]
    shown = other.call(membership_pb2.GetMemberRequest(name=acme.name), membership_pb2.GetMemberResponse).member
    assert shown.identity.sealing_key == chain[-1].sealing_key
    with hub.services.db.write() as tx:
        hub.services.audit.integrate(tx)
        leaves = [canonical.AuditEvent.from_bytes(one.data) for one in hub.services.audit.leaves(tx, start=0, limit=99)]
    logged = [leaf.digest for leaf in leaves if (leaf.event, leaf.subject) == ("identity_changed", acme.name)]
    assert logged == [digest(new) for new in chain[1:]]


def by_the_new_alone(request: pb.ChangeIdentityRequest) -> None:
    request.former_signature = request.signature


def by_the_former_alone(request: pb.ChangeIdentityRequest) -> None:
    request.signature = request.former_signature


def forged(request: pb.ChangeIdentityRequest) -> None:
    request.signature = tampered(request.signature)


def another_key(request: pb.ChangeIdentityRequest) -> None:
    request.identity.sealing_key = Identity.generate().sealing_key


def no_key(request: pb.ChangeIdentityRequest) -> None:
    request.identity.sealing_key = bytes(32)


@pytest.mark.parametrize("spoil", [by_the_new_alone, by_the_former_alone, forged, another_key, no_key])
def test_both_sign_all_of_it(spoil: Callable[[pb.ChangeIdentityRequest], None], hub: RunningHub) -> None:
    acme = hub.enrol("acme")
    request = acme.change_request(hub.settings.alliance_name, Identity.generate())
    spoil(request)
    with pytest.raises(InvalidInput) as caught:
        acme.call(request, pb.ChangeIdentityResponse)
    assert caught.value.reason == "IDENTITY_INVALID"
    assert changes(acme, acme) == []


def test_nobody_takes_up_keys_that_are_or_were_somebodys(hub: RunningHub) -> None:
    acme, other = hub.enrol("acme"), hub.enrol("other")
    first = acme.identity
    change(hub, acme, Identity.generate())
    for taken in (first, acme.identity, other.identity):
        with pytest.raises(AlreadyExists) as caught:
            other.call(other.change_request(hub.settings.alliance_name, taken), pb.ChangeIdentityResponse)
        assert caught.value.reason == "IDENTITY_TAKEN"
    with pytest.raises(AlreadyExists):
        RawMember.enrol(hub.invite("third"), identity=first)
    with pytest.raises(AlreadyExists):
        change(hub, acme, first)


def test_what_the_former_identity_signs_counts_no_more(hub: RunningHub) -> None:
    acme = hub.enrol("acme")
    former = acme.identity
    change(hub, acme, Identity.generate())
    acme.identity = former
    with pytest.raises(AllianceError) as caught:
        acme.call(acme.change_request(hub.settings.alliance_name, Identity.generate()), pb.ChangeIdentityResponse)
    assert caught.value.reason == "IDENTITY_INVALID"


def test_there_is_an_end_to_changes(hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "MAX_CHANGES", 1)
    acme = hub.enrol("acme")
    change(hub, acme, Identity.generate())
    with pytest.raises(LimitExceeded):
        change(hub, acme, Identity.generate())
