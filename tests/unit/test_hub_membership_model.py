"""Every standing, every verb: what is allowed and where it leads; nothing else changes anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alliance.errors import FailedPrecondition
from alliance.names import MemberId
from hub.membership.model import Identity, Member, Role, Standing

KEYS = Identity(signing_key=b"s", sealing_key=b"x")
VERBS: dict[str, Callable[[Member], Member]] = {
    "enrol": lambda member: member.enrol(KEYS, 5),
    "suspend": lambda member: member.suspend("why"),
    "reinstate": lambda member: member.reinstate("why"),
    "expel": lambda member: member.expel("why"),
    "leave": Member.leave,
}
ALLOWED = {
    ("enrol", Standing.INVITED): Standing.ACTIVE,
    ("suspend", Standing.ACTIVE): Standing.SUSPENDED,
    ("reinstate", Standing.SUSPENDED): Standing.ACTIVE,
    ("expel", Standing.INVITED): Standing.EXPELLED,
    ("expel", Standing.ACTIVE): Standing.EXPELLED,
    ("expel", Standing.SUSPENDED): Standing.EXPELLED,
    ("leave", Standing.ACTIVE): Standing.LEFT,
    ("leave", Standing.SUSPENDED): Standing.LEFT,
}


def member(standing: Standing) -> Member:
    return Member(id=MemberId("members/acme"), role=Role.BRAND, standing=standing, create_time=1, reason="before")


@pytest.mark.parametrize("standing", Standing)
@pytest.mark.parametrize("verb", VERBS)
def test_transition(verb: str, standing: Standing) -> None:
    before = member(standing)
    if (verb, standing) not in ALLOWED:
        with pytest.raises(FailedPrecondition) as caught:
            VERBS[verb](before)
        assert caught.value.reason == "STANDING"
        assert str(standing) in caught.value.message
        return
    after = VERBS[verb](before)
    assert after.standing is ALLOWED[verb, standing]
    assert before == member(standing)
    assert (after.id, after.role, after.create_time) == (before.id, before.role, before.create_time)
    assert after.reason == ("why" if verb in ("suspend", "reinstate", "expel") else "before")
    assert (after.identity, after.enrol_time) == ((KEYS, 5) if verb == "enrol" else (None, None))
