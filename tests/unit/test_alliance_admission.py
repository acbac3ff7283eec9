"""Who counts is what the log says in its order: signatures that come early, twice, from nobody or too late do not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alliance import canonical
from alliance.admission import Register, fingerprint, is_founder, needed, replay
from alliance.canonical import AuditEvent, admission_bytes, sha256
from alliance.errors import Corrupt
from alliance.names import MemberId

ALLIANCE = "a.example"
A, B, C, D, E = (MemberId(f"members/{name}") for name in "abcde")


def event(kind: str, subject: str, digest: bytes = b"") -> AuditEvent:
    return AuditEvent(event=kind, actor="hub", subject=subject, time=1, digest=digest)


def policy(k: int) -> AuditEvent:
    return event(f"admission_policy:{k}", ALLIANCE)


def identity(member: MemberId) -> bytes:
    return sha256(member.encode())


def enrolled(member: MemberId, role: str = "brand") -> AuditEvent:
    return event(f"member_enrolled:{role}", member, identity(member))


def signed(signer: MemberId, member: MemberId, *, role: str = "brand", of: bytes = b"") -> AuditEvent:
    """A leaf for a signature by `signer`; `of` is the identity that was signed."""
    body = admission_bytes(ALLIANCE, member, role, of or identity(member))
    return event(f"admission_signed:{signer}", member, by(identity(signer), body))


def by(signer: bytes, body: bytes) -> bytes:
    """What only the holder of this identity could have put into the log."""
    return sha256(signer + body)


def verified(signer: bytes, body: bytes, digest: bytes) -> bool:
    return by(signer, body) == digest


def read(*events: AuditEvent) -> Register:
    return replay(ALLIANCE, events, verified)


def counting(register: Register) -> set[MemberId]:
    return {name for name, entry in register.members.items() if entry.counts}


TWO = (policy(2), enrolled(A), enrolled(B))


def test_the_first_k_are_founders_and_the_next_waits() -> None:
    register = read(*TWO, enrolled(C))
    assert {name: (entry.founder, entry.admitted) for name, entry in register.members.items()} == {
        A: (True, True),
        B: (True, True),
        C: (False, False),
    }
    assert (register.cosigners, register.needed, register.members[C].pending) == (2, 2, True)


def test_k_distinct_signatures_admit() -> None:
    one = read(*TWO, enrolled(C), signed(A, C))
    assert (counting(one), one.members[C].signers) == ({A, B}, (A,))
    both = read(*TWO, enrolled(C), signed(B, C), signed(A, C))
    assert (counting(both), both.members[C].signers) == ({A, B, C}, (A, B))


def test_a_member_that_was_admitted_admits_others() -> None:
    assert counting(read(*TWO, enrolled(C), signed(A, C), signed(B, C), enrolled(D), signed(C, D), signed(A, D))) == {
        A,
        B,
        C,
        D,
    }


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([signed(A, C), signed(A, C)], "one member twice"),
        ([signed(A, C), signed(C, C)], "itself"),
        ([signed(A, C), enrolled(D), signed(D, C)], "one that waits too"),
        ([signed(A, C), signed(E, C)], "one that never enrolled"),
        ([signed(A, C), signed(B, C, role="regulator")], "another role"),
        ([signed(A, C), signed(B, C, of=identity(E))], "another identity"),
        ([signed(A, C), signed(B, D)], "another member"),
        ([signed(A, C), event(f"admission_signed:{B}", C, bytes(32))], "nothing that was signed"),
        ([signed(A, C), event(f"admission_signed:{B}", C, signed(A, C).digest)], "another's signature"),
        ([event("member_expelled", B), signed(B, C)], "one that was expelled"),
        ([signed(A, C), event("member_left", C), signed(B, C)], "one that has left"),
    ],
)
def test_what_does_not_admit(said: list[AuditEvent], why: str) -> None:
    register = read(*TWO, enrolled(E), signed(A, E), signed(B, E), event("member_left", E), enrolled(C), *said)
    assert C not in counting(register), why


def test_a_signature_before_the_enrolment_is_nothing() -> None:
    assert counting(read(*TWO, signed(A, C), signed(B, C), enrolled(C))) == {A, B}


def test_a_signature_before_the_signer_was_admitted_is_nothing() -> None:
    waiting = [*TWO, enrolled(C), enrolled(D), signed(C, D), signed(A, C), signed(B, C), signed(A, D)]
    assert counting(read(*waiting)) == {A, B, C}
    assert counting(read(*waiting, signed(C, D))) == {A, B, C, D}


def test_signatures_of_who_has_gone_lapse_until_it_was_enough() -> None:
    founders = [policy(3), enrolled(A), enrolled(B), enrolled(C), enrolled(D), signed(A, D), signed(B, D)]
    assert counting(read(*founders, event("member_expelled", B))) == {A, C}
    assert counting(read(*founders, event("member_expelled", B), signed(C, D))) == {A, C, D}
    # Once admitted, it stays so.
    assert counting(read(*founders, signed(C, D), event("member_expelled", A))) == {B, C, D}


def test_where_fewer_than_k_are_left_all_of_them_must_sign() -> None:
    gone = [policy(3), enrolled(A), enrolled(B), enrolled(C), event("member_left", C), enrolled(D)]
    assert read(*gone).needed == 2
    assert counting(read(*gone, signed(A, D))) == {A, B}
    assert counting(read(*gone, signed(A, D), signed(B, D))) == {A, B, D}
    # B leaves, and A alone had signed.
    assert counting(read(*gone, signed(A, D), event("member_left", B))) == {A, D}


def test_nobody_is_a_founder_again() -> None:
    register = read(*TWO, event("member_left", A), event("member_expelled", B), enrolled(C))
    assert counting(register) == set()
    assert register.needed == 1


def test_without_a_policy_or_with_none_an_invitation_suffices() -> None:
    assert counting(read(enrolled(A), enrolled(B))) == counting(read(policy(0), enrolled(A), enrolled(B))) == {A, B}
    assert read(policy(0), enrolled(A)).needed == 0


def test_those_that_go_do_so_once() -> None:
    assert read(*TWO, event("member_left", A), event("member_expelled", A)).needed == 1
    assert counting(read(*TWO, event("member_expelled", C))) == {A, B}


@pytest.mark.parametrize(
    "log",
    [
        [policy(2), policy(2)],
        [policy(2), enrolled(A), policy(0)],
        [enrolled(A), policy(0)],
        [event("admission_policy:2", "b.example")],
        [event("admission_policy:", ALLIANCE)],
        [event("admission_policy:-1", ALLIANCE)],
        [event("admission_policy:²", ALLIANCE)],
        [event("admission_policy:1000", ALLIANCE)],
    ],
)
def test_a_policy_that_comes_late_or_twice_or_is_none_is_an_alarm(log: list[AuditEvent]) -> None:
    with pytest.raises(Corrupt) as error:
        read(*log)
    assert error.value.reason == "ADMISSION_POLICY_CHANGED"


@pytest.mark.parametrize(
    ("late", "reason"),
    [
        (enrolled(A, "expert"), "IDENTITY_CHANGED"),
        (event("member_enrolled:brand", A, bytes(32)), "IDENTITY_CHANGED"),
        (event("member_left", "acme"), "LOG_FORKED"),
    ],
)
def test_a_second_identity_or_no_name_is_an_alarm(late: AuditEvent, reason: str) -> None:
    with pytest.raises(Corrupt) as error:
        read(*TWO, late)
    assert error.value.reason == reason


def test_a_fingerprint_can_be_read_out() -> None:
    assert re.fullmatch(r"(\d{5} ){5}\d{5}", fingerprint(identity(A)))
    assert fingerprint(identity(A)) == fingerprint(identity(A)) != fingerprint(identity(B))


def test_other_events_are_passed_over() -> None:
    others = [event("group_joined:groups/x", C), event("member_enrolled_else", C), event("admission_signed_else:x", C)]
    assert read(*others, *TWO) == read(*TWO)


PUPPETS = [MemberId(f"members/puppet-{n}") for n in range(3)]


@st.composite
def lies(draw: st.DrawFn) -> tuple[int, list[AuditEvent]]:
    """What a hub may log that holds the keys of fewer than k founders and of every puppet, in any order."""
    k = draw(st.integers(1, 4))
    founders = [MemberId(f"members/f{n}") for n in range(k)]
    colluding = founders[: draw(st.integers(0, k - 1))]
    signers = [*colluding, *PUPPETS]
    moves = st.one_of(
        st.sampled_from([enrolled(puppet) for puppet in PUPPETS]),
        st.builds(signed, st.sampled_from(signers), st.sampled_from(PUPPETS)),
        # Signatures of the honest ones it cannot make.
        st.builds(
            lambda honest, puppet: event(f"admission_signed:{honest}", puppet, bytes(32)),
            st.sampled_from(founders),
            st.sampled_from(PUPPETS),
        ),
        st.builds(
            event,
            st.sampled_from(["member_expelled", "member_left"]),
            # All but the last founder, who looks at this log.
            st.sampled_from([*founders[:-1], *PUPPETS]),
        ),
    )
    said: list[AuditEvent] = []
    enrolled_already: set[str] = set()
    for move in draw(st.lists(moves, max_size=25)):
        if move.event.startswith("member_enrolled") and move.subject in enrolled_already:
            continue
        enrolled_already |= {move.subject} if move.event.startswith("member_enrolled") else set()
        said.append(move)
    return k, [policy(k), *map(enrolled, founders), *said]


@settings(max_examples=300, deadline=None)
@given(lies())
def test_no_puppet_gets_in_while_an_honest_founder_has_not_signed(told: tuple[int, list[AuditEvent]]) -> None:
    """Fewer than k colluding members, any number of puppets and of expulsions, in any order."""
    _, log = told
    assert counting(read(*log)).isdisjoint(PUPPETS)


@given(st.integers(0, 20), st.integers(0, 50))
def test_what_is_needed_is_never_nothing_and_never_more_than_k(k: int, standing: int) -> None:
    assert needed(k, standing) <= k
    assert (needed(k, standing) == 0) == (k == 0)
    assert is_founder(standing, k) == (standing < k)


def test_the_admission_that_is_signed_names_alliance_member_role_and_identity() -> None:
    parts = ("alliance/v1/admission", ALLIANCE, A, "brand", identity(A))
    assert admission_bytes(ALLIANCE, A, "brand", identity(A)) == canonical.encode(*parts)
    digest = canonical.admission_digest(b"signed", b"signature")
    assert digest == sha256(canonical.encode("alliance/v1/admission-signed", b"signed", b"signature"))
