"""The access table is the whole truth: every RPC, called as every kind of caller on both listeners.

Refusals are told by their reason. A caller that the table admits may still be told that its empty request is
wrong; it is never told that it may not call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from alliance import channel
from hub.membership.model import ConsoleRole, Role
from hub.runtime.access import TABLE, Listener, Rule
from hub.runtime.caller import CONSOLE, MEMBERS, Who
from tests.kit.hub import RunningHub, running_hub
from tests.kit.member import RawMember
from tests.kit.rpc import Outcome, all_methods, raw_call

METHODS = all_methods()
REFUSALS = frozenset(
    {
        "NOT_AUTHENTICATED",
        "ROLE_NOT_PERMITTED",
        "WRONG_LISTENER",
        "NO_ACCESS_RULE",
        "MEMBER_SUSPENDED",
        "NOT_ADMITTED",
    }
)


class Everybody:
    """A hub and one channel per kind of caller."""

    def __init__(self, hub: RunningHub) -> None:
        self.hub = hub
        members = {role: hub.enrol(role.replace("_", "-"), role) for role in Role}
        self.main: dict[Who, grpc.Channel] = {Who(role.value): member.channel for role, member in members.items()}
        self.main |= {Who(role.value): hub.operator(role).channel for role in ConsoleRole}
        self.suspended = hub.enrol("suspended")
        hub.suspend(self.suspended)
        self.waiting = hub.enrol("waiting")
        self.nobody = hub.open_enrolment_channel()
        self.with_certificate = self._open_enrolment_with_certificate(members[Role.BRAND])

    def _open_enrolment_with_certificate(self, member: RawMember) -> grpc.Channel:
        return member.open_channel(self.hub.enrolment_address)


@pytest.fixture(scope="module")
def everybody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everybody]:
    # All but the last of them are founders.
    founders = len(Role) + 1
    with running_hub(tmp_path_factory.mktemp("access"), membership_admission_cosigners=founders) as hub:
        made = Everybody(hub)
        yield made
        made.with_certificate.close()


def refusal(outcome: Outcome) -> str:
    """Why the caller may not call, or empty where it may."""
    return outcome.reason if outcome.reason in REFUSALS else ""


def expected(rule: Rule, who: Who) -> str:
    if rule.listener is not Listener.MAIN:
        return "WRONG_LISTENER"
    return "" if who in rule.who else "ROLE_NOT_PERMITTED"


def test_the_table_has_a_row_for_every_rpc_and_none_for_others() -> None:
    assert METHODS.keys() == TABLE.keys()


# What more than the plain rule allows: written down a second time, so that no row opens by a slip of the pen.
OUTSIDE = {"Enrol", "EnrolAgent", "ExplainCertificate"}
BY_TWO_ADMINS = {
    *("ExpelMember", "IssueOperatorCertificate", "RevokeOperator", "UpdatePolicy", "PromoteModel", "SetModelRelease"),
    *("RotateCa", "InstallCa", "RetireCa"),
}
SUSPENDED = {"Handshake", "LeaveAlliance", "Check", "Watch"}
WAITING = {
    *("Handshake", "LeaveAlliance", "Watch", "ListMembers", "GetMember", "ListIdentityChanges", "GetTrustBundle"),
    *("GetCheckpoint", "ListLeaves", "GetInclusionProof", "GetConsistencyProof", "ListCosignatures", "Check"),
    *("RenewCertificate", "ListAgents", "RevokeAgent"),
}


def test_what_is_open_to_more_than_active_members_and_to_one_admin_is_this_and_no_more() -> None:
    def where(holds: Callable[[Rule], object]) -> set[str]:
        return {name.partition("/")[2] for name, rule in TABLE.items() if holds(rule)}

    assert where(lambda rule: Who.ANONYMOUS in rule.who) == OUTSIDE
    assert where(lambda rule: rule.two_admins) == BY_TWO_ADMINS
    assert where(lambda rule: rule.while_suspended) == SUSPENDED
    assert where(lambda rule: rule.while_unadmitted and Who.ANONYMOUS not in rule.who) == WAITING
    assert not TABLE["alliance.v1.MembershipService/Watch"].while_suspended


def test_the_callers_of_the_test_are_all_there_are(everybody: Everybody) -> None:
    assert set(everybody.main) == set(Who) - {Who.ANONYMOUS} == MEMBERS | CONSOLE


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_main_listener_admits_whom_the_table_names(name: str, everybody: Everybody) -> None:
    found = {who: refusal(raw_call(opened, METHODS[name])) for who, opened in everybody.main.items()}
    assert found == {who: expected(TABLE[name], who) for who in everybody.main}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_suspended_member_may_call_what_the_table_says(name: str, everybody: Everybody) -> None:
    rule = TABLE[name]
    wanted = expected(rule, Who.BRAND) or ("" if rule.while_suspended else "MEMBER_SUSPENDED")
    assert refusal(raw_call(everybody.suspended.channel, METHODS[name])) == wanted


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_member_that_nobody_admitted_may_call_what_the_table_says(name: str, everybody: Everybody) -> None:
    rule = TABLE[name]
    wanted = expected(rule, Who.BRAND) or ("" if rule.while_unadmitted else "NOT_ADMITTED")
    assert refusal(raw_call(everybody.waiting.channel, METHODS[name])) == wanted


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_enrolment_listener_knows_nobody_and_serves_enrolment_only(name: str, everybody: Everybody) -> None:
    for opened in (everybody.nobody, everybody.with_certificate):
        outcome = raw_call(opened, METHODS[name])
        if not name.startswith("alliance.v1.EnrolmentService/"):
            assert outcome.code is grpc.StatusCode.UNIMPLEMENTED
        else:
            assert refusal(outcome) == ("" if TABLE[name].listener is Listener.ENROLMENT else "WRONG_LISTENER")


def test_the_main_listener_talks_to_no_one_without_a_certificate(everybody: Everybody) -> None:
    opened = channel.open_channel(everybody.hub.address, roots=everybody.hub.roots)
    try:
        for name in ("alliance.v1.MembershipService/Handshake", "alliance.v1.EnrolmentService/Enrol"):
            outcome = raw_call(opened, METHODS[name])
            assert (outcome.code, outcome.infos) == (grpc.StatusCode.UNAVAILABLE, [])
    finally:
        opened.close()


def test_reflection_lists_our_services_to_an_operator(everybody: Everybody) -> None:
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    method = METHODS["grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"]
    [raw] = raw_call(everybody.hub.operator(ConsoleRole.VIEWER).channel, method, request.SerializeToString()).responses
    listed = reflection_pb2.ServerReflectionResponse.FromString(raw).list_services_response.service
    ours = {name.partition("/")[0] for name in METHODS if name.startswith("alliance.")}
    assert {service.name for service in listed} == ours
