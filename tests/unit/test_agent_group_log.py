"""What the log says of a group, read in its order: the rules by which keys are changed and answers refused."""

from __future__ import annotations

import datetime as dt

import pytest

from alliance.errors import Corrupt
from alliance.names import GroupId, MemberId
from member_agent.sharing.group_log import GroupHistory, Leaf, history

SHOES = GroupId("groups/shoes")
ACME, RIVAL, LATE = (MemberId(f"members/{name}") for name in ("acme", "rival", "late"))
MONTH = dt.timedelta(days=30)
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def told(*events: tuple[str, str]) -> GroupHistory:
    """Leaves a day apart."""
    day = 86_400_000_000
    began = int(START.timestamp()) * 1_000_000
    leaves = [
        Leaf(index=n, event=event, subject=subject, time=began + n * day) for n, (event, subject) in enumerate(events)
    ]
    return history(SHOES, leaves)


JOINED = ((f"group_joined:{SHOES}", ACME), (f"group_joined:{SHOES}", RIVAL))
EPOCH = (("epoch_created:1", SHOES), (f"key_wrapped:{SHOES}:1", ACME), (f"key_wrapped:{SHOES}:1", RIVAL))


def test_a_group_without_a_key_is_not_due() -> None:
    known = told(*JOINED)
    assert (known.newest, known.is_due(START + 400 * MONTH, MONTH), known.is_orphaned) == (0, False, False)


def test_a_key_is_due_when_its_time_is_over() -> None:
    known, began = told(*JOINED, *EPOCH), START + dt.timedelta(days=2)
    assert not known.is_due(began + MONTH - dt.timedelta(seconds=1), MONTH)
    assert known.is_due(began + MONTH, MONTH)
    assert not known.is_due(began + 100 * MONTH, dt.timedelta(0))


@pytest.mark.parametrize("event", ["member_expelled", "member_left"])
def test_a_key_is_due_when_a_member_has_gone_since(event: str) -> None:
    known = told(*JOINED, *EPOCH, (event, RIVAL))
    assert known.is_due(START, dt.timedelta(0))
    again = told(*JOINED, *EPOCH, (event, RIVAL), ("epoch_created:2", SHOES), (f"key_wrapped:{SHOES}:2", ACME))
    assert (again.newest, again.is_due(START, dt.timedelta(0))) == (2, False)


def test_who_was_never_in_the_group_changes_nothing() -> None:
    known = told(*JOINED, ("group_joined:groups/bags", LATE), *EPOCH, ("member_expelled", LATE), ("member_left", "x"))
    assert not known.is_due(START, MONTH)


def test_a_key_whose_holders_are_gone_is_nobodys() -> None:
    alone = (("epoch_created:1", SHOES), (f"key_wrapped:{SHOES}:1", ACME))
    assert not told(*JOINED, *alone).is_orphaned
    assert told(*JOINED, *alone, ("member_expelled", ACME)).is_orphaned
    assert not told(*JOINED, *EPOCH, ("member_expelled", ACME)).is_orphaned


def test_wraps_of_other_groups_and_epochs_are_not_counted() -> None:
    known = told(*JOINED, *EPOCH, ("epoch_created:2", SHOES), ("key_wrapped:groups/bags:2", RIVAL))
    assert known.holders == frozenset()


def test_whoever_is_gone_begins_no_epoch() -> None:
    known = told(*JOINED, *EPOCH, ("member_expelled", RIVAL), ("epoch_created:2", SHOES))
    known.require_creator(RIVAL, 1)
    known.require_creator(ACME, 2)
    with pytest.raises(Corrupt) as error:
        known.require_creator(RIVAL, 2)
    assert error.value.reason == "GROUP_FORGED"


def test_whoever_is_gone_is_given_no_key() -> None:
    known = told(*JOINED, *EPOCH, ("member_expelled", RIVAL))
    known.require_present(ACME)
    with pytest.raises(Corrupt) as error:
        known.require_present(RIVAL)
    assert error.value.reason == "GROUP_FORGED"


@pytest.mark.parametrize(("shown", "held"), [(1, 0), (0, 0), (2, 3)])
def test_an_older_epoch_than_is_known_is_refused(shown: int, held: int) -> None:
    known = told(*JOINED, *EPOCH, ("epoch_created:2", SHOES))
    known.require_no_rollback(2, 2)
    known.require_no_rollback(3, 0)
    with pytest.raises(Corrupt) as error:
        known.require_no_rollback(shown, held)
    assert error.value.reason == "EPOCH_ROLLED_BACK"


def test_what_no_honest_hub_logs_is_passed_over() -> None:
    known = told(
        *JOINED, ("epoch_created:x", SHOES), ("epoch_created:99999999999999", SHOES), ("epoch_created:", SHOES)
    )
    assert known.newest == 0
