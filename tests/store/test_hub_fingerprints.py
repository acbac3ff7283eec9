"""Banks grow by dense numbers and one chain, however many write at once, on either database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from alliance.canonical import CHAIN_START
from alliance.errors import (
    AllianceError,
    AlreadyExists,
    FailedPrecondition,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    NotPermitted,
)
from alliance.names import BankId, GroupId
from alliance.v1 import fingerprint_pb2 as pb
from hub.membership.model import Standing
from tests.kit.checks import recomputed_head
from tests.kit.direct import ADMIN, DirectMember, Shoes, create_bank, create_group, entries, race, read
from tests.kit.keys import tampered, with_header

# Order.


def test_the_chain_can_be_recomputed_from_what_is_stored(shoes: Shoes) -> None:
    first, _ = shoes.acme.publish(shoes.bank, rows=5), shoes.zoo.publish(shoes.bank)
    assert shoes.acme.withdraw(first, [0, 4]) == 3
    found = entries(shoes.services, shoes.bank)
    assert recomputed_head(found) == shoes.head()
    assert [entry.WhichOneof("entry") for entry in found] == ["batch", "batch", "tombstone"]
    assert list(found[2].tombstone.rows) == [0, 4]


def test_publishers_at_once_get_dense_numbers(shoes: Shoes) -> None:
    def publish(member: DirectMember) -> list[int]:
        return [member.publish_sealed(member.seal(shoes.bank, bytes([n]))) for n in range(10)]

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(publish, member) for member in (shoes.acme, shoes.zoo) * 2]
        given = [seq for future in work for seq in future.result()]
    assert sorted(given) == list(range(1, 41))
    assert recomputed_head(entries(shoes.services, shoes.bank)) == shoes.head()


def test_the_same_batch_again_keeps_its_place(shoes: Shoes) -> None:
    sealed = shoes.acme.seal(shoes.bank, b"once")
    assert [shoes.acme.publish_sealed(sealed) for _ in range(3)] == [1, 1, 1]
    assert shoes.head()[0] == 1


def test_pages_stay_right_while_entries_are_added(shoes: Shoes) -> None:
    fingerprints = shoes.services.fingerprints
    for n in range(5):
        shoes.acme.publish(shoes.bank, bytes([n]))
    bank = read(shoes.services, lambda tx: fingerprints.readable(tx, shoes.zoo.name, shoes.bank))
    seen: list[int] = []
    while True:
        after = seen[-1] if seen else 0
        page = read(shoes.services, partial(fingerprints.entries, bank=bank, after_seq=after, limit=2))
        if not page:
            break
        seen += [entry.seq for entry in page]
        shoes.zoo.publish(shoes.bank, b"meanwhile")
    assert seen == [1, 2, 3, 4, 5]  # up to the head that the reader was told, and no further


# What is refused.


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        pytest.param({"row_count": 0}, InvalidInput, "ROW_COUNT", id="no rows"),
        pytest.param({"row_count": 65_537}, InvalidInput, "ROW_COUNT", id="too many rows"),
        pytest.param({"row_count": -1}, InvalidInput, "ROW_COUNT", id="negative rows"),
        pytest.param({"scheme": "pdq-256"}, InvalidInput, "SCHEME_MISMATCH", id="other scheme"),
        pytest.param({"publisher": "members/zoo"}, InvalidInput, "PUBLISHER_MISMATCH", id="other publisher"),
        pytest.param({"epoch": 2}, FailedPrecondition, "EPOCH_STALE", id="epoch to come"),
        pytest.param({"epoch": 0}, FailedPrecondition, "EPOCH_STALE", id="no epoch"),
        pytest.param({"size": 1}, FailedPrecondition, "BLOB_MISSING", id="other size"),
        pytest.param({"digest": bytes(32)}, FailedPrecondition, "BLOB_MISSING", id="never uploaded"),
        pytest.param({"digest": b"short"}, InvalidInput, "INVALID_INPUT", id="no digest"),
    ],
)
def test_a_header_that_is_wrong_is_refused(
    change: dict[str, object], error: type[AllianceError], reason: str, shoes: Shoes
) -> None:
    sealed = with_header(shoes.acme.seal(shoes.bank, b"x"), **change)
    with pytest.raises(error) as caught:
        shoes.acme.publish_sealed(sealed)
    assert caught.value.reason == reason
    assert shoes.head() == (0, CHAIN_START)


@pytest.mark.parametrize("seconds", [2**62, -1, 253_402_300_800])
def test_a_time_that_is_none_is_refused(seconds: int, shoes: Shoes) -> None:
    sealed = shoes.acme.seal(shoes.bank, b"x")
    shoes.acme.store(sealed)
    batch = shoes.acme.signed(sealed.header)
    batch.create_time.seconds = seconds
    with pytest.raises(InvalidInput) as caught:
        shoes.acme.act(lambda tx, caller: shoes.services.fingerprints.publish(tx, caller, batch, shoes.bank))
    assert caught.value.reason == "TIME_INVALID"


def test_a_signature_is_of_this_header_by_this_member(shoes: Shoes) -> None:
    sealed = shoes.acme.seal(shoes.bank, b"x", rows=3)
    shoes.acme.store(sealed)
    good = shoes.acme.signed(sealed.header)
    for signature in (b"", tampered(good.signature), shoes.zoo.signed(sealed.header).signature):
        bad = pb.BatchHeader()
        bad.CopyFrom(good)
        bad.signature = signature
        check_unsigned(shoes, bad)
    changed = pb.BatchHeader()
    changed.CopyFrom(good)
    changed.row_count = 2
    check_unsigned(shoes, changed)
    assert shoes.head()[0] == 0


def check_unsigned(shoes: Shoes, batch: pb.BatchHeader) -> None:
    with pytest.raises(InvalidInput) as caught:
        shoes.acme.act(lambda tx, caller: shoes.services.fingerprints.publish(tx, caller, batch, shoes.bank))
    assert caught.value.reason == "SIGNATURE_INVALID"


def test_an_outsider_cannot_tell_a_bank_it_is_not_in_from_none(shoes: Shoes) -> None:
    reasons, readable = set(), shoes.services.fingerprints.readable
    for bank in (shoes.bank, BankId("banks/none")):
        with pytest.raises(NotPermitted) as caught:
            shoes.outsider.publish(bank)
        reasons.add(str(caught.value).replace(bank, "BANK"))
        with pytest.raises(NotPermitted):
            read(shoes.services, partial(readable, member=shoes.outsider.name, bank_id=bank))
    assert len(reasons) == 1


def test_someone_elses_upload_cannot_be_published(shoes: Shoes) -> None:
    sealed = shoes.zoo.seal(shoes.bank, b"mine")
    shoes.zoo.store(sealed)
    claimed = shoes.acme.signed(with_header(sealed, publisher=shoes.acme.name).header)
    with pytest.raises(FailedPrecondition) as caught:
        shoes.acme.act(lambda tx, caller: shoes.services.fingerprints.publish(tx, caller, claimed, shoes.bank))
    assert caught.value.reason == "BLOB_MISSING"


def test_a_bank_needs_a_group_a_scheme_and_a_new_name(shoes: Shoes) -> None:
    def create(name: str, group: str, scheme: str) -> None:
        create_bank(shoes.services, name, GroupId(group), scheme=scheme)

    for error, name, group, scheme in (
        (AlreadyExists, "shoes", "groups/shoes", "terms-v1"),
        (NotFound, "bags", "groups/none", "terms-v1"),
        (InvalidInput, "bags", "groups/shoes", "md5"),
    ):
        with pytest.raises(error):
            create(name, group, scheme)


# Withdrawing.


@pytest.mark.parametrize("rows", [[3], [-1], [1, 1], [2, 1], [0, 70_000]])
def test_rows_that_are_not_there_or_not_in_order_are_refused(rows: list[int], shoes: Shoes) -> None:
    sealed = shoes.acme.publish(shoes.bank, rows=3)
    tombstone = shoes.acme.tombstone(sealed)
    tombstone.rows.extend(rows)
    with pytest.raises(InvalidInput) as caught:
        shoes.acme.act(lambda tx, caller: shoes.services.fingerprints.withdraw(tx, caller, tombstone, shoes.bank))
    assert caught.value.reason == "ROWS_INVALID"


def test_only_the_publisher_withdraws(shoes: Shoes) -> None:
    sealed = shoes.acme.publish(shoes.bank, rows=3)
    with pytest.raises(NotPermitted) as caught:
        shoes.zoo.withdraw(sealed, [1])
    assert caught.value.reason == "NOT_PUBLISHER"
    with pytest.raises(NotFound):
        shoes.acme.withdraw(shoes.acme.seal(shoes.bank, b"never published"))
    assert shoes.head()[0] == 1


def test_leaving_tombstones_everything_everywhere(shoes: Shoes) -> None:
    bags = create_bank(shoes.services, "bags", shoes.group)
    sealed = [shoes.acme.publish(bank, bytes([n])) for n in range(3) for bank in (shoes.bank, bags)]
    kept = shoes.zoo.publish(shoes.bank, b"stays")
    shoes.acme.leave()
    found = entries(shoes.services, shoes.bank) + entries(shoes.services, bags)
    gone = [entry.tombstone for entry in found if entry.HasField("tombstone")]
    assert sorted(tombstone.batch_digest for tombstone in gone) == sorted(s.header.digest for s in sealed)
    assert {(t.publisher, t.signature, tuple(t.rows)) for t in gone} == {(shoes.acme.name, b"", ())}
    assert kept.header.digest not in {tombstone.batch_digest for tombstone in gone}
    assert recomputed_head(entries(shoes.services, shoes.bank)) == shoes.head()


@pytest.mark.parametrize("verb", ["leave", "expel", "suspend"])
def test_nothing_is_published_behind_a_members_departure(verb: str, shoes: Shoes) -> None:
    """A publish that meets the departure waits for it and then is refused: no batch stays without tombstone."""
    sealed, membership = shoes.acme.seal(shoes.bank, b"late"), shoes.services.membership
    shoes.acme.store(sealed)
    batch = shoes.acme.signed(sealed.header)

    def publish() -> int:
        with shoes.services.db.write() as tx:
            caller = membership.authenticate(tx, shoes.acme.peer)
            if not caller.active:
                raise NotPermitted("the access table refuses it")
            return shoes.services.fingerprints.publish(tx, caller, batch, shoes.bank)

    departures: dict[str, Callable[..., object]] = {
        "leave": lambda tx: membership.leave(tx, shoes.acme.caller, shoes.services.fingerprints.departed),
        "expel": lambda tx: membership.expel(tx, ADMIN, shoes.acme.name, "sold fakes"),
        "suspend": lambda tx: membership.suspend(tx, ADMIN, shoes.acme.name, "why"),
    }
    with pytest.raises((NotAuthenticated, NotPermitted)):
        race(shoes.services, departures[verb], publish)
    assert shoes.head()[0] == 0
    standing = read(shoes.services, lambda tx: membership.get(tx, shoes.acme.name)).standing
    assert standing is {"leave": Standing.LEFT, "expel": Standing.EXPELLED, "suspend": Standing.SUSPENDED}[verb]


def test_banks_are_shown_to_their_group(shoes: Shoes) -> None:
    create_bank(shoes.services, "bags", create_group(shoes.services, "bags", shoes.zoo))

    def names(member: DirectMember | None) -> list[str]:
        caller = member.caller if member else ADMIN
        found = read(shoes.services, lambda tx: shoes.services.fingerprints.banks(tx, caller, after=None, limit=9))
        return [bank.id for bank in found]

    assert names(shoes.acme) == ["banks/shoes"]
    assert names(shoes.zoo) == names(None) == ["banks/bags", "banks/shoes"]
    assert names(shoes.outsider) == []
