"""Labels and audiences: how they read in the log and the contract, what a bank may hold, what a variant shows."""

from __future__ import annotations

import numpy as np
import pytest

from alliance.audience import Audience, Tlp, ceiling, tlp
from alliance.errors import Corrupt, InvalidInput
from alliance.names import BankId, GroupId
from alliance.v1 import fingerprint_pb2 as pb
from member_agent.sharing import audiences, rows
from member_agent.sharing.rows import Row

BANK, GROUP = BankId("banks/titles"), GroupId("groups/shoes")


def test_labels_are_the_contract_s_and_the_stricter_is_the_greater() -> None:
    assert {f"TLP_{one.name}": int(one) for one in Tlp} | {"TLP_UNSPECIFIED": 0} == dict(pb.Tlp.items())
    assert sorted(Tlp, key=lambda one: -one)[0] is Tlp.RED
    assert [tlp(text) for text in ("clear", "AMBER+STRICT", "amber_strict")] == [
        Tlp.CLEAR,
        Tlp.AMBER_STRICT,
        Tlp.AMBER_STRICT,
    ]
    with pytest.raises(InvalidInput) as caught:
        tlp("white", field="--tlp")
    assert (caught.value.reason, caught.value.field) == ("TLP_UNKNOWN", "--tlp")


@pytest.mark.parametrize("label", [Tlp.CLEAR, Tlp.GREEN, Tlp.AMBER, Tlp.AMBER_STRICT])
def test_an_audience_reads_in_the_log_as_it_was_written(label: Tlp) -> None:
    audience = Audience(group=GROUP, ceiling=label)
    assert Audience.of_detail(audience.detail()) == audience


def test_a_bank_that_was_logged_without_a_label_holds_amber() -> None:
    assert Audience.of_detail(GROUP) == Audience(group=GROUP, ceiling=Tlp.AMBER)


@pytest.mark.parametrize("detail", ["groups/shoes:red", "groups/shoes:white", "groups/shoes:amber:green", "shoes"])
def test_what_is_no_audience_is_refused(detail: str) -> None:
    with pytest.raises(Corrupt) as caught:
        Audience.of_detail(detail)
    assert caught.value.reason == "LEAF_MALFORMED"


@pytest.mark.parametrize(("code", "reason"), [(5, "TLP_RED"), (6, "TLP_UNKNOWN"), (-1, "TLP_UNKNOWN")])
def test_no_bank_is_made_for_other_labels(code: int, reason: str) -> None:
    assert ceiling(0) is Tlp.AMBER
    with pytest.raises(InvalidInput) as caught:
        ceiling(code)
    assert caught.value.reason == reason


@pytest.mark.parametrize("highest", [Tlp.CLEAR, Tlp.GREEN, Tlp.AMBER, Tlp.AMBER_STRICT])
@pytest.mark.parametrize("label", list(Tlp))
def test_a_bank_takes_what_is_no_stricter_than_its_ceiling_and_never_red(highest: Tlp, label: Tlp) -> None:
    if label <= highest:
        audiences.require_label(label, BANK, highest)
        return
    with pytest.raises(InvalidInput) as caught:
        audiences.require_label(label, BANK, highest)
    assert caught.value.reason == ("TLP_RED" if label is Tlp.RED else "TLP_TOO_STRICT")
    assert (caught.value.field, bool(caught.value.remedy)) == ("tlp", True)


def test_a_variant_is_as_strict_as_the_value_it_shows() -> None:
    labelled = [(Tlp.AMBER, -1), (Tlp.GREEN, 0), (Tlp.RED, 0), (Tlp.CLEAR, -1), (Tlp.CLEAR, 3)]
    made = [Row(value=bytes(32), tlp=label, variant_of=base) for label, base in labelled]
    opened = rows.unpack(rows.pack(made, width=32))
    assert audiences.effective(opened).tolist() == [Tlp.AMBER, Tlp.AMBER, Tlp.RED, Tlp.CLEAR, Tlp.CLEAR]


def test_rows_that_no_bank_may_hold_are_named_up_to_ten() -> None:
    labels, alive = np.full(30, Tlp.AMBER, dtype=np.uint8), np.ones(30, dtype=np.bool_)
    alive[3] = False
    over, told = audiences.told_stricter(labels, alive, Tlp.GREEN)
    assert (int(over.sum()), bool(over[3])) == (29, False)
    assert told.endswith("row 0, 1, 2, 4, 5, 6, 7, 8, 9, 10 and 19 more")
    over, told = audiences.told_stricter(labels, alive, Tlp.AMBER)
    assert (bool(over.any()), told) == (False, "")
