"""AIP-155: a mutation's request id makes a retry safe, whoever retries it and however often at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alliance import channel, tls
from alliance.errors import AllianceError, InvalidInput
from alliance.v1 import enrolment_pb2
from alliance.v1 import membership_pb2 as pb
from hub.membership.model import ConsoleRole
from hub.runtime.idempotency import RETENTION_MICROS, forget_old
from tests.kit.clock import ShiftedClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.keys import request_id
from tests.kit.member import RawMember
from tests.kit.rpc import Outcome, all_methods, raw_call

CREATE_GROUP = all_methods()["alliance.v1.MembershipService/CreateGroup"]
SUSPEND = all_methods()["alliance.v1.MembershipService/SuspendMember"]
RENEW = all_methods()["alliance.v1.EnrolmentService/RenewCertificate"]


def create_group(hub: RunningHub, id: str, name: str, *, role: ConsoleRole = ConsoleRole.ADMIN) -> Outcome:
    request = pb.CreateGroupRequest(request_id=id, name=f"groups/{name}")
    return raw_call(hub.operator(role).channel, CREATE_GROUP, request.SerializeToString())


def groups(hub: RunningHub) -> list[str]:
    return [group.name for group in hub.admin.call(pb.ListGroupsRequest(), pb.ListGroupsResponse).groups]


def test_a_retry_gets_the_identical_response_and_changes_nothing(hub: RunningHub) -> None:
    id = request_id()
    first, again = create_group(hub, id, "shoes"), create_group(hub, id, "shoes")
    assert first.responses == again.responses != []
    assert groups(hub) == ["groups/shoes"]


def test_even_a_certificate_is_issued_once(hub: RunningHub) -> None:
    """Responses that no second run could give again are replayed too."""
    member = hub.enrol("acme")
    request = enrolment_pb2.RenewCertificateRequest(
        request_id=request_id(), certificate_request=tls.certificate_request(tls.new_channel_key())
    ).SerializeToString()
    first, again = (raw_call(member.channel, RENEW, request) for _ in range(2))
    assert first.responses == again.responses != []


@pytest.mark.parametrize("name", ["bags", "shoes"])
def test_an_id_is_good_for_one_request_only(name: str, hub: RunningHub) -> None:
    """Another body, or another method with the same name in it."""
    id = request_id()
    create_group(hub, id, "shoes")
    if name == "bags":
        outcome = create_group(hub, id, name)
    else:
        body = pb.SuspendMemberRequest(request_id=id, name=f"groups/{name}").SerializeToString()
        outcome = raw_call(hub.admin.channel, SUSPEND, body)
    assert outcome.reason == "REQUEST_ID_REUSED"
    assert groups(hub) == ["groups/shoes"]


@pytest.mark.parametrize("id", ["", "short", "x" * 65, "spaces in it", "ünïcödé-0123456789", "line\n-0123456789"])
def test_an_id_of_another_form_is_refused(id: str, hub: RunningHub) -> None:
    assert create_group(hub, id, "shoes").reason == "REQUEST_ID_MALFORMED"


def test_ids_belong_to_their_caller(hub: RunningHub) -> None:
    id = request_id()
    create_group(hub, id, "shoes")
    assert create_group(hub, id, "shoes", role=ConsoleRole.OPERATOR).reason == "GROUP_EXISTS"


def test_a_failed_mutation_is_not_remembered(hub: RunningHub) -> None:
    """The same request may succeed once what was wrong is mended."""
    member = hub.enrol("acme")
    id = request_id()
    reinstate = pb.ReinstateMemberRequest(request_id=id, name=member.name, reason="cleared")
    with pytest.raises(AllianceError, match="cannot be reinstated"):
        _send(hub, reinstate)
    hub.suspend(member)
    assert _send(hub, reinstate).member.standing == pb.STANDING_ACTIVE


def test_ids_are_forgotten_after_a_week(hub: RunningHub, clock: ShiftedClock) -> None:
    id = request_id()
    create_group(hub, id, "shoes")
    clock.advance(seconds=RETENTION_MICROS / 1e6 + 1)
    with hub.services.db.write() as tx:
        assert forget_old(tx, now=int(clock().timestamp() * 1e6)) > 0
    assert create_group(hub, id, "bags").responses


def test_a_duplicate_at_the_same_time_does_it_once(tmp_path: Path, database_url: str) -> None:
    """Eight threads send the same request: all are told the same, and the log holds one event."""
    with running_hub(tmp_path, url=database_url) as hub, ThreadPoolExecutor(8) as pool:
        for n in range(5):
            id = request_id()
            calls = [pool.submit(create_group, hub, id, f"g{n}") for _ in range(8)]
            outcomes = [call.result() for call in calls]
            assert {tuple(outcome.responses) for outcome in outcomes} == {tuple(outcomes[0].responses)}, outcomes
            assert outcomes[0].responses
        assert groups(hub) == [f"groups/g{n}" for n in range(5)]


def test_members_at_the_same_time_do_not_share_ids(tmp_path: Path, database_url: str) -> None:
    with running_hub(tmp_path, url=database_url) as hub, ThreadPoolExecutor(4) as pool:
        members = [hub.enrol(f"m{n}") for n in range(4)]
        id = request_id()

        def leave(member: RawMember) -> str:
            request = pb.LeaveAllianceRequest(request_id=id)
            return member.call(request, pb.LeaveAllianceResponse).member.name

        assert list(pool.map(leave, members)) == [member.name for member in members]


def _send(hub: RunningHub, request: pb.ReinstateMemberRequest) -> pb.ReinstateMemberResponse:
    """As it is: `OperatorClient.call` would give it a new id."""
    return channel.call(hub.admin.channel, request, pb.ReinstateMemberResponse)


def test_an_id_with_a_bad_body_is_still_checked_first(hub: RunningHub) -> None:
    with pytest.raises(InvalidInput) as caught:
        _send(hub, pb.ReinstateMemberRequest(request_id="?"))
    assert (caught.value.reason, caught.value.field) == ("REQUEST_ID_MALFORMED", "request_id")
