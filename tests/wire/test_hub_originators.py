"""Only its publisher brings a batch into another bank: bank and publisher are in what it signed."""

from __future__ import annotations

import pytest

from alliance.audience import Tlp
from alliance.errors import InvalidInput, NotPermitted
from alliance.v1 import fingerprint_pb2 as pb
from tests.kit.alliance import Alliance
from tests.kit.keys import with_header


def test_a_batch_is_for_the_bank_and_of_the_member_that_its_signature_says(three: Alliance) -> None:
    first, second, _ = three.members
    group = three.hub.create_group("narrow", first, second)
    narrow = three.hub.create_bank("narrow", group)
    first.create_epoch(group, [second])
    sealed = first.publish(narrow, b"for few")
    batch = first.entries(narrow)[0].batch
    second.upload(sealed.data)
    there = {"bank": three.bank}
    for who, changes, reason in (
        (second, {}, "PUBLISHER_MISMATCH"),
        (second, there, "PUBLISHER_MISMATCH"),
        (second, there | {"publisher": second.name}, "SIGNATURE_INVALID"),
        (first, there, "SIGNATURE_INVALID"),
    ):
        moved = pb.BatchHeader()
        moved.CopyFrom(batch)
        for field, value in changes.items():
            setattr(moved, field, value)
        with pytest.raises(InvalidInput) as caught:
            who.call(pb.PublishBatchRequest(batch=moved), pb.PublishBatchResponse)
        assert caught.value.reason == reason
    assert three.members[2].entries(three.bank) == []
    # The originator may: it signs for the other bank.
    first.publish_sealed(with_header(sealed, bank=three.bank))
    assert [entry.batch.publisher for entry in three.members[2].entries(three.bank)] == [first.name]


def test_a_bank_s_label_is_set_once_shown_and_logged(three: Alliance) -> None:
    member, admin = three.members[0], three.hub.admin
    strict = three.hub.create_bank("strict", three.group, tlp=Tlp.AMBER_STRICT)
    request = pb.CreateBankRequest(name="banks/unsaid", group=three.group, scheme="pdq-256")
    assert admin.call(request, pb.CreateBankResponse).bank.tlp == pb.TLP_AMBER
    shown = {bank.name: bank.tlp for bank in member.call(pb.ListBanksRequest(), pb.ListBanksResponse).banks}
    assert (shown[strict], shown[three.bank]) == (pb.TLP_AMBER_STRICT, pb.TLP_AMBER)
    red = pb.CreateBankRequest(name="banks/red", group=three.group, scheme="pdq-256", tlp=pb.TLP_RED)
    with pytest.raises(InvalidInput) as caught:
        admin.call(red, pb.CreateBankResponse)
    assert (caught.value.reason, caught.value.field) == ("TLP_RED", "tlp")
    with pytest.raises(NotPermitted):
        member.call(red, pb.CreateBankResponse)
