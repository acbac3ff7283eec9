"""A changed identity is accepted by a chain of signatures that the log has, link by link, and by nothing less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from alliance.canonical import identity_change_bytes
from alliance.errors import Corrupt
from alliance.names import MemberId
from member_agent.identity import PublicIdentity
from member_agent.identity_chain import Change, Place, digest_of, follow
from tests.kit.keys import Identity

ACME = MemberId("members/acme")
ALLIANCE = "alliance.example"
KEYS = [Identity.generate() for _ in range(4)]


def public(keys: Identity, member: MemberId = ACME) -> PublicIdentity:
    return PublicIdentity(member=member, signing_key=keys.signing_key, sealing_key=keys.sealing_key)


def change(former: Identity, new: Identity, *, by: Identity | None = None, alliance: str = ALLIANCE) -> Change:
    """`by`: who signs for the former one."""
    signed = identity_change_bytes(alliance, ACME, digest_of(public(former)), digest_of(public(new)))
    return Change(
        former=public(former),
        identity=public(new),
        former_signature=(by or former).sign(signed),
        signature=new.sign(signed),
    )


CHANGES = [change(KEYS[0], KEYS[1]), change(KEYS[1], KEYS[2])]
PLACES = [Place(index=10, digest=digest_of(public(KEYS[1]))), Place(index=20, digest=digest_of(public(KEYS[2])))]
ENROLLED = digest_of(public(KEYS[0]))


def test_a_chain_leads_to_the_identity_in_use_with_those_before() -> None:
    found = follow(ALLIANCE, ENROLLED, CHANGES, PLACES)
    assert found.has_keys_of(public(KEYS[2]))
    assert [(one.signing_key, one.until) for one in found.former] == [
        (KEYS[0].signing_key, 10),
        (KEYS[1].signing_key, 20),
    ]


def test_what_was_signed_counts_as_far_as_the_log_had_it_then() -> None:
    found = follow(ALLIANCE, ENROLLED, CHANGES, PLACES)
    found.verify(KEYS[2].sign(b"now"), b"now")
    found.verify(KEYS[0].sign(b"then"), b"then", logged=lambda: 9)
    found.verify(KEYS[1].sign(b"later"), b"later", logged=lambda: 15)
    places: list[tuple[Identity, int | None]] = [(KEYS[0], 11), (KEYS[1], 21), (KEYS[0], None), (KEYS[3], 1)]
    for keys, place in places:
        with pytest.raises(Corrupt) as error:
            found.verify(keys.sign(b"late"), b"late", logged=lambda at=place: at)  # type: ignore[misc]  # because bound
        assert error.value.reason == "SIGNATURE_INVALID"


def not_signed_by_the_former(changes: list[Change]) -> None:
    changes[1] = change(KEYS[1], KEYS[2], by=KEYS[3])


def not_signed_by_the_new(changes: list[Change]) -> None:
    changes[1] = replace(changes[1], signature=changes[1].former_signature)


def of_another_alliance(changes: list[Change]) -> None:
    changes[1] = change(KEYS[1], KEYS[2], alliance="other.example")


def with_a_gap(changes: list[Change]) -> None:
    changes[1] = change(KEYS[3], KEYS[2])


def from_another_start(changes: list[Change]) -> None:
    changes[0] = change(KEYS[3], KEYS[1])


def to_another_end(changes: list[Change]) -> None:
    changes[1] = change(KEYS[1], KEYS[3])


def with_another_sealing_key(changes: list[Change]) -> None:
    changes[1] = replace(changes[1], identity=replace(changes[1].identity, sealing_key=KEYS[3].sealing_key))


def too_short(changes: list[Change]) -> None:
    del changes[1]


def too_long(changes: list[Change]) -> None:
    changes.append(change(KEYS[2], KEYS[3]))


@pytest.mark.parametrize(
    "spoil",
    [
        not_signed_by_the_former,
        not_signed_by_the_new,
        of_another_alliance,
        with_a_gap,
        from_another_start,
        to_another_end,
        with_another_sealing_key,
        too_short,
        too_long,
    ],
)
def test_what_is_no_chain_is_refused(spoil: Callable[[list[Change]], None]) -> None:
    changes = list(CHANGES)
    spoil(changes)
    with pytest.raises(Corrupt) as error:
        follow(ALLIANCE, ENROLLED, changes, PLACES)
    assert error.value.reason == "IDENTITY_CHANGED"


def test_the_order_of_the_log_is_the_chains() -> None:
    with pytest.raises(Corrupt):
        follow(ALLIANCE, ENROLLED, CHANGES, [PLACES[1], PLACES[0]])
