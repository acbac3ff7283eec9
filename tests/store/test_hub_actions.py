"""Proposed actions: their states, and two admins who decide at once."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from google.protobuf.message import Message
from sqlalchemy import Connection

from alliance import tls
from alliance.errors import AllianceError, FailedPrecondition, InvalidInput, NotPermitted
from alliance.names import OperatorId
from alliance.v1 import console_pb2
from alliance.v1 import membership_pb2 as pb
from hub.app import Services
from hub.approvals.model import LIFETIME, Action, State
from hub.approvals.service import ApprovalService, Call
from hub.membership.model import ConsoleRole
from hub.policy.model import TwoAdmins
from hub.runtime.caller import Caller, Who
from hub.runtime.clock import utc_now
from tests.kit.direct import write
from tests.kit.hub import RunningHub

NAME = "alliance.v1.MembershipService/ExpelMember"
REQUEST = pb.ExpelMemberRequest(name="members/acme", reason="sold fakes").SerializeToString()
OPEN = Action(id=1, method=NAME, request=REQUEST, state=State.OPEN, proposer="operators/admin", propose_time=10)
DIGEST = hashlib.sha256(REQUEST).digest()


def test_an_open_action_expires_by_itself() -> None:
    assert OPEN.at(OPEN.expire_time - 1) is OPEN
    late = OPEN.at(10 + LIFETIME)
    assert late.state is State.EXPIRED
    with pytest.raises(FailedPrecondition):
        late.approve("operators/dana", 10 + LIFETIME, request_digest=DIGEST)


def test_who_approves_is_another_and_has_seen_it() -> None:
    with pytest.raises(NotPermitted):
        OPEN.approve("operators/admin", 20, request_digest=DIGEST)
    with pytest.raises(InvalidInput):
        OPEN.approve("operators/dana", 20, request_digest=bytes(32))
    done = OPEN.approve("operators/dana", 20, request_digest=DIGEST)
    assert done == replace(OPEN, state=State.APPROVED, decider="operators/dana", decide_time=20)
    for closed in (done, OPEN.reject("operators/dana", 20)):
        with pytest.raises(FailedPrecondition):
            closed.reject("operators/dana", 30)


@pytest.mark.parametrize(("policy", "wanted"), [(TwoAdmins.AUTO, [False, True]), (TwoAdmins.ALWAYS, [True, True])])
def test_when_two_are_needed(policy: TwoAdmins, wanted: list[bool]) -> None:
    assert [policy.applies(1), policy.applies(2)] == wanted
    assert not TwoAdmins.NEVER.applies(2)


def test_two_admins_who_approve_at_once_do_it_once(services: Services) -> None:
    done: list[str] = []

    def do(tx: Connection, caller: Caller, request: Message) -> Message:
        done.append(caller.name)
        return pb.ExpelMemberResponse()

    approvals = ApprovalService(
        policies=services.policies,
        operators=services.operators,
        audit=services.audit,
        calls={NAME: Call(parse=pb.ExpelMemberRequest.FromString, do=do)},
        clock=utc_now,
    )
    admins = [certified(services, name) for name in ("ann", "bob", "cyd")]
    action = write(services, lambda tx: approvals.propose(tx, admins[0], NAME, REQUEST))

    def approve(by: Caller) -> str:
        try:
            return write(services, lambda tx: approvals.approve(tx, by, action.id, DIGEST)).state.value
        except AllianceError as error:
            return error.reason

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(approve, admins[1:])) == ["ACTION_CLOSED", "approved"]
    assert len(done) == 1


def test_what_could_not_be_done_is_not_proposed(hub: RunningHub) -> None:
    """Found out at the proposal, not by the admin who approves."""
    for request in (b"\xff\xff", b"\xfa\x01\x01x"):
        with pytest.raises(InvalidInput) as caught:
            hub.admin.call(
                console_pb2.ProposeActionRequest(method=NAME, request=request), console_pb2.ProposeActionResponse
            )
        assert caught.value.reason in ("MESSAGE_MALFORMED", "UNKNOWN_FIELD")
    listed = hub.admin.call(console_pb2.ListActionsRequest(), console_pb2.ListActionsResponse)
    assert list(listed.actions) == []


def test_what_a_revoked_admin_proposed_is_not_done(services: Services) -> None:
    approvals = ApprovalService(
        policies=services.policies,
        operators=services.operators,
        audit=services.audit,
        calls={NAME: Call(parse=pb.ExpelMemberRequest.FromString, do=lambda tx, caller, request: request)},
        clock=utc_now,
    )
    gone, other = certified(services, "gone"), certified(services, "other")
    action = write(services, lambda tx: approvals.propose(tx, gone, NAME, REQUEST))
    write(services, lambda tx: services.pki.revoke(tx, gone.name))
    with pytest.raises(FailedPrecondition) as caught:
        write(services, lambda tx: approvals.approve(tx, other, action.id, DIGEST))
    assert caught.value.reason == "PROPOSER_GONE"


def certified(services: Services, name: str) -> Caller:
    """An admin with a good certificate."""
    operator = OperatorId(f"operators/{name}")
    request = tls.certificate_request(tls.new_channel_key())
    write(
        services,
        lambda tx: services.enrolment.issue_operator(tx, "operators/admin", operator, ConsoleRole.ADMIN, request),
    )
    return Caller(who=Who.ADMIN, name=operator)
