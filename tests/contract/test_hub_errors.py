"""Every error is of the one form: a code, a message for people, one ErrorInfo of the domain "alliance"."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from alliance.release import VERSION_METADATA
from alliance.status import DOMAIN
from alliance.v1 import membership_pb2
from hub.membership.model import ConsoleRole
from hub.runtime.access import TABLE, Listener
from hub.runtime.caller import MEMBERS, Who
from tests.kit.hub import RunningHub, running_hub
from tests.kit.rpc import Outcome, all_methods, raw_call

METHODS = all_methods()
OURS = sorted(name for name in METHODS if name.startswith("alliance."))
# A field number that never ends: no message can begin like this.
GARBAGE = b"\xff" * 12


class Permitted:
    """For each RPC, a channel of someone who may call it."""

    def __init__(self, hub: RunningHub) -> None:
        self.hub = hub
        self._member = hub.enrol("acme").channel
        self._nobody = hub.open_enrolment_channel()

    def channel(self, name: str) -> grpc.Channel:
        rule = TABLE[name]
        if rule.listener is Listener.ENROLMENT:
            return self._nobody
        if rule.who & MEMBERS:
            return self._member
        return self.hub.operator(ConsoleRole.ADMIN if Who.ADMIN in rule.who else ConsoleRole.VIEWER).channel


@pytest.fixture(scope="module")
def permitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Permitted]:
    with running_hub(tmp_path_factory.mktemp("errors")) as hub:
        yield Permitted(hub)


def check_form(outcome: Outcome) -> None:
    assert [info.domain for info in outcome.infos] == [DOMAIN]
    assert not outcome.message[:1].isupper()
    assert not outcome.message.endswith(".")


@pytest.mark.parametrize("name", sorted(METHODS))
def test_garbage_is_an_invalid_argument_and_reveals_nothing(name: str, permitted: Permitted) -> None:
    outcome = raw_call(permitted.channel(name), METHODS[name], GARBAGE)
    assert (outcome.code, outcome.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MESSAGE_MALFORMED")
    check_form(outcome)
    assert outcome.message == "the request is not a valid message"


@pytest.mark.parametrize("name", OURS)
def test_an_empty_request_gets_an_answer_or_an_error_of_the_one_form(name: str, permitted: Permitted) -> None:
    outcome = raw_call(permitted.channel(name), METHODS[name])
    if outcome.code is not grpc.StatusCode.OK:
        assert outcome.code not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
        check_form(outcome)


@pytest.mark.parametrize("name", OURS)
def test_a_client_that_is_too_old_is_told_so(name: str, permitted: Permitted) -> None:
    outcome = raw_call(permitted.channel(name), METHODS[name], metadata=[(VERSION_METADATA, "0.0.9")])
    assert (outcome.code, outcome.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CLIENT_TOO_OLD")
    check_form(outcome)
    assert outcome.infos[0].metadata["remedy"] == "upgrade the agent"


@pytest.mark.parametrize("version", ["", "latest", "1.2", "1.2.3-beta", "9999999.0.0", "٣.٠.٠x"])
def test_a_version_that_is_none_is_invalid(version: str, permitted: Permitted) -> None:
    name = "alliance.v1.MembershipService/Handshake"
    request = membership_pb2.HandshakeRequest(client_version=version).SerializeToString()
    outcome = raw_call(permitted.channel(name), METHODS[name], request)
    assert outcome.code is grpc.StatusCode.INVALID_ARGUMENT
    check_form(outcome)


def test_a_handshake_refuses_an_old_version_in_its_body_too(permitted: Permitted) -> None:
    name = "alliance.v1.MembershipService/Handshake"
    request = membership_pb2.HandshakeRequest(client_version="0.0.1").SerializeToString()
    assert raw_call(permitted.channel(name), METHODS[name], request).reason == "CLIENT_TOO_OLD"


def test_who_may_not_call_learns_nothing_about_versions(permitted: Permitted) -> None:
    name = "alliance.v1.MembershipService/SuspendMember"
    member = permitted.channel("alliance.v1.MembershipService/Watch")
    outcome = raw_call(member, METHODS[name], metadata=[(VERSION_METADATA, "0.0.9")])
    assert outcome.reason == "ROLE_NOT_PERMITTED"
    check_form(outcome)
