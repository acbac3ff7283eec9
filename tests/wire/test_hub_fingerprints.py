"""Publishing, withdrawing, leaving and paging over the wire, as members and outsiders do it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alliance import segments
from alliance.errors import FailedPrecondition, InvalidInput, NotAuthenticated, NotFound, NotPermitted
from alliance.names import BankId
from alliance.segments import MAX_BATCH_ROWS
from alliance.v1 import audit_pb2, membership_pb2
from alliance.v1 import fingerprint_pb2 as pb
from hub.membership.model import ConsoleRole
from tests.kit.alliance import Alliance, alliance
from tests.kit.checks import recomputed_head
from tests.kit.keys import tampered, with_header

NONE = BankId("banks/none")


def test_members_read_what_members_published(three: Alliance) -> None:
    first, second, third = three.members
    sealed = [first.publish(three.bank, bytes([n]), rows=2) for n in range(3)]
    second.withdraw(second.publish(three.bank, b"mistake", rows=2), [1])
    found = third.entries(three.bank, page_size=2)
    head = third.call(pb.ListEntriesRequest(bank=three.bank, after_seq=5), pb.ListEntriesResponse)
    assert recomputed_head(found) == (head.head_seq, head.head_digest)
    assert (len(found), len(head.entries)) == (5, 0)
    assert [entry.batch.digest for entry in found[:3]] == [s.header.digest for s in sealed]
    assert third.download(found[0].batch.digest) == sealed[0].data


def test_a_bank_one_is_not_in_is_closed_in_every_way(three: Alliance) -> None:
    outsider = three.hub.enrol("outsider")
    mine = outsider.seal(three.bank, b"x")
    outsider.upload(mine.data)
    reads = (pb.ListEntriesRequest, pb.ListSegmentsRequest, pb.ListHitsRequest, pb.ReportHitsRequest)
    answers = (pb.ListEntriesResponse, pb.ListSegmentsResponse, pb.ListHitsResponse, pb.ReportHitsResponse)
    for bank in (three.bank, NONE):
        said = set()
        for request, response in zip(reads, answers, strict=True):
            with pytest.raises(NotPermitted) as caught:
                outsider.call(request(bank=bank), response)
            said.add((caught.value.reason, caught.value.message.replace(bank, "BANK")))
        with pytest.raises(NotPermitted) as caught:
            outsider.publish_sealed(with_header(mine, bank=bank))
        said.add((caught.value.reason, caught.value.message.replace(bank, "BANK")))
        assert said == {("NOT_IN_GROUP", f"{outsider.name} is not in the group of BANK")}
    assert list(outsider.call(pb.ListBanksRequest(), pb.ListBanksResponse).banks) == []


def test_a_broken_signature_publishes_and_withdraws_nothing(three: Alliance) -> None:
    member, sealed = three.members[0], three.members[0].publish(three.bank, rows=2)
    fresh = member.seal(three.bank, b"fresh")
    member.upload(fresh.data)
    batch, tombstone = member.signed(fresh.header), member.tombstone(sealed, [0])
    batch.signature, tombstone.signature = tampered(batch.signature), tampered(tombstone.signature)
    for request, response in (
        (pb.PublishBatchRequest(batch=batch), pb.PublishBatchResponse),
        (pb.WithdrawRowsRequest(tombstone=tombstone), pb.WithdrawRowsResponse),
    ):
        with pytest.raises(InvalidInput) as caught:
            member.call(request, response)
        assert (caught.value.reason, caught.value.field) == ("SIGNATURE_INVALID", "signature")
    assert len(member.entries(three.bank)) == 1


@pytest.mark.parametrize("rows", [0, MAX_BATCH_ROWS + 1])
def test_a_batch_has_1_to_65536_rows(rows: int, three: Alliance) -> None:
    with pytest.raises(InvalidInput) as caught:
        three.members[0].publish(three.bank, rows=rows)
    assert (caught.value.reason, caught.value.field) == ("ROW_COUNT", "batch.row_count")
    three.members[0].publish(three.bank, rows=MAX_BATCH_ROWS)


def test_only_its_publisher_withdraws_a_batch(three: Alliance) -> None:
    sealed = three.members[0].publish(three.bank, rows=2)
    with pytest.raises(NotPermitted) as caught:
        three.members[1].withdraw(sealed, [0])
    assert caught.value.reason == "NOT_PUBLISHER"


def test_a_batch_of_a_passed_epoch_is_stale(three: Alliance) -> None:
    member = three.members[0]
    member.create_epoch(three.group, three.members[1:], epoch=2)
    with pytest.raises(FailedPrecondition) as caught:
        member.publish(three.bank, epoch=1)
    assert (caught.value.reason, caught.value.field) == ("EPOCH_STALE", "batch.epoch")
    member.publish(three.bank, epoch=2)


def test_leaving_withdraws_everything_and_closes_the_door(three: Alliance) -> None:
    leaver, reader = three.members[:2]
    sealed = [leaver.publish(three.bank, bytes([n])) for n in range(3)]
    leaver.leave()
    with pytest.raises(NotAuthenticated):
        leaver.entries(three.bank)
    found = reader.entries(three.bank)
    recomputed_head(found)
    gone = [entry.tombstone.batch_digest for entry in found if entry.HasField("tombstone")]
    assert gone == [s.header.digest for s in sealed]
    groups = reader.call(membership_pb2.ListGroupsRequest(), membership_pb2.ListGroupsResponse).groups
    assert leaver.name not in groups[0].members
    left = reader.call(membership_pb2.GetMemberRequest(name=leaver.name), membership_pb2.GetMemberResponse)
    assert left.member.standing == membership_pb2.STANDING_LEFT


def test_a_member_that_was_expelled_stays_in_the_log(three: Alliance) -> None:
    three.members[0].publish(three.bank)
    three.hub.expel(three.members[0])
    assert [entry.batch.publisher for entry in three.members[1].entries(three.bank)] == [three.members[0].name]


def test_reasons_are_for_the_console(three: Alliance) -> None:
    three.hub.suspend(three.members[0])
    request = membership_pb2.GetMemberRequest(name=three.members[0].name)
    console = three.hub.operator(ConsoleRole.VIEWER).call(request, membership_pb2.GetMemberResponse)
    member = three.members[1].call(request, membership_pb2.GetMemberResponse)
    assert (console.member.standing_reason, member.member.standing_reason) == ("under investigation", "")


# Paging.

LISTS: list[tuple[Any, Any]] = [
    (membership_pb2.ListMembersRequest, membership_pb2.ListMembersResponse),
    (membership_pb2.ListGroupsRequest, membership_pb2.ListGroupsResponse),
    (pb.ListBanksRequest, pb.ListBanksResponse),
    (pb.ListEntriesRequest, pb.ListEntriesResponse),
    (pb.ListSegmentsRequest, pb.ListSegmentsResponse),
    (pb.ListHitsRequest, pb.ListHitsResponse),
    (audit_pb2.ListLeavesRequest, audit_pb2.ListLeavesResponse),
]


@pytest.mark.parametrize(("request_type", "response_type"), LISTS)
def test_a_foreign_page_token_is_refused(request_type: Any, response_type: Any, three: Alliance) -> None:
    request = request_type(bank=three.bank) if "bank" in request_type.DESCRIPTOR.fields_by_name else request_type()
    for token in ("garbage", "AQ==", "e30", "\0"):
        request.page_token = token
        with pytest.raises(InvalidInput) as caught:
            three.members[0].call(request, response_type)
        assert (caught.value.reason, caught.value.field) == ("PAGE_TOKEN", "page_token")
    request.page_token, request.page_size = "", -1
    with pytest.raises(InvalidInput, match="page_size"):
        three.members[0].call(request, response_type)


def test_members_page_in_order_while_others_join(three: Alliance) -> None:
    seen: list[str] = []
    request = membership_pb2.ListMembersRequest(page_size=1)
    for joined in range(10):
        page = three.members[0].call(request, membership_pb2.ListMembersResponse)
        seen += [member.name for member in page.members]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
        three.hub.invite(f"a{joined}")  # sorts before the page, and is not asked for again
    assert seen == [member.name for member in three.members]


def test_a_page_of_large_tombstones_fits_a_response(three: Alliance) -> None:
    """Forty tombstones of 65,536 rows are more than a client receives at once."""
    member = three.members[0]
    sealed = member.publish(three.bank, rows=MAX_BATCH_ROWS)
    for _ in range(40):
        member.withdraw(sealed, range(MAX_BATCH_ROWS))
    first = three.members[1].call(pb.ListEntriesRequest(bank=three.bank, page_size=1000), pb.ListEntriesResponse)
    assert 1 < len(first.entries) < 41
    assert first.ByteSize() < 5 << 20
    found = three.members[1].entries(three.bank, page_size=1000)
    assert recomputed_head(found) == (first.head_seq, first.head_digest)
    assert len(found) == 41


# Segments, made by the hub as it runs.


def test_a_newcomer_reads_segments_and_then_the_tail(tmp_path: Path) -> None:
    with alliance(members=2, folder=tmp_path, fingerprints_segment_entries=4) as a:
        publisher, reader = a.members
        sealed = [publisher.publish(a.bank, bytes([n])) for n in range(10)]
        found: list[pb.Segment] = []
        while len(found) < 2:  # the compactor looks every second
            found = list(reader.call(pb.ListSegmentsRequest(bank=a.bank), pb.ListSegmentsResponse).segments)
        packed = [pair for segment in found for pair in segments.unpack(reader.download(segment.digest))]
        request = pb.ListEntriesRequest(bank=a.bank, after_seq=found[-1].last_seq)
        tail = list(reader.call(request, pb.ListEntriesResponse).entries)
        assert [entry for entry, _ in packed] + tail == reader.entries(a.bank)
        assert [data for _, data in packed] == [s.data for s in sealed[:8]]
        after = pb.ListSegmentsRequest(bank=a.bank, after_seq=4)
        assert [s.first_seq for s in reader.call(after, pb.ListSegmentsResponse).segments] == [5]
        with pytest.raises(NotFound):
            a.hub.enrol("outsider").download(found[0].digest)
