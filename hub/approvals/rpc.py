"""ConsoleService: parse, call, render."""

from __future__ import annotations

from sqlalchemy import Connection

from alliance.errors import InvalidInput
from alliance.names import digest, operator_id
from alliance.v1 import console_pb2 as pb
from hub.approvals.model import Action
from hub.approvals.service import ApprovalService
from hub.membership.operators import OperatorService, SeenOperator
from hub.policy import wire
from hub.policy.service import PolicyService
from hub.runtime.caller import Caller
from hub.runtime.clock import timestamp
from hub.runtime.paging import page, page_request


class ConsoleRpc:
    def __init__(self, approvals: ApprovalService, operators: OperatorService, policies: PolicyService) -> None:
        self._approvals = approvals
        self._operators = operators
        self._policies = policies

    def list_operators(
        self, tx: Connection, caller: Caller, request: pb.ListOperatorsRequest
    ) -> pb.ListOperatorsResponse:
        asked = page_request(request.page_size, request.page_token)
        found = self._operators.operators(tx, after=asked.after, limit=asked.size + 1)
        shown = page(found, asked, lambda one: one.operator.id)
        return pb.ListOperatorsResponse(operators=map(_operator, shown.items), next_page_token=shown.next_token)

    def revoke_operator(
        self, tx: Connection, caller: Caller, request: pb.RevokeOperatorRequest
    ) -> pb.RevokeOperatorResponse:
        revoked = self._operators.revoke(tx, caller.name, operator_id(request.name, field="name"))
        return pb.RevokeOperatorResponse(operator=_operator(revoked))

    def propose_action(
        self, tx: Connection, caller: Caller, request: pb.ProposeActionRequest
    ) -> pb.ProposeActionResponse:
        made = self._approvals.propose(tx, caller, request.method, request.request)
        return pb.ProposeActionResponse(action=_action(made))

    def approve_action(
        self, tx: Connection, caller: Caller, request: pb.ApproveActionRequest
    ) -> pb.ApproveActionResponse:
        looked_at = digest(request.request_digest, field="request_digest")
        done = self._approvals.approve(tx, caller, _number(request.name), looked_at)
        return pb.ApproveActionResponse(action=_action(done))

    def reject_action(self, tx: Connection, caller: Caller, request: pb.RejectActionRequest) -> pb.RejectActionResponse:
        return pb.RejectActionResponse(action=_action(self._approvals.reject(tx, caller, _number(request.name))))

    def list_actions(self, tx: Connection, caller: Caller, request: pb.ListActionsRequest) -> pb.ListActionsResponse:
        asked = page_request(request.page_size, request.page_token)
        found = self._approvals.actions(tx, before=asked.after_number(0) or None, limit=asked.size + 1)
        shown = page(found, asked, lambda one: str(one.id))
        return pb.ListActionsResponse(actions=map(_action, shown.items), next_page_token=shown.next_token)

    def get_policy(self, tx: Connection, caller: Caller, request: pb.GetPolicyRequest) -> pb.GetPolicyResponse:
        return pb.GetPolicyResponse(policy=wire.policy_message(self._policies.revision(tx)))

    def update_policy(self, tx: Connection, caller: Caller, request: pb.UpdatePolicyRequest) -> pb.UpdatePolicyResponse:
        wanted = wire.updated(self._policies.current(tx), request)
        changed = self._policies.update(tx, caller, wanted, etag=request.policy.etag)
        return pb.UpdatePolicyResponse(policy=wire.policy_message(changed))


def _operator(one: SeenOperator) -> pb.Operator:
    return pb.Operator(name=one.operator.id, role=f"CONSOLE_ROLE_{one.operator.role.upper()}", live=one.live)


def _action(one: Action) -> pb.Action:
    shown = pb.Action(
        name=f"actions/{one.id}",
        method=one.method,
        request=one.request,
        state=f"ACTION_STATE_{one.state.upper()}",
        proposer=one.proposer,
        propose_time=timestamp(one.propose_time),
        expire_time=timestamp(one.expire_time),
        decider=one.decider,
        response=one.response,
    )
    if one.decide_time:
        shown.decide_time.CopyFrom(timestamp(one.decide_time))
    return shown


def _number(name: str) -> int:
    prefix, _, number = name.partition("/")
    if prefix != "actions" or not number.isdecimal() or len(number) > 18:
        raise InvalidInput(f"{name[:80]!r} is not actions/NUMBER", reason="NAME_MALFORMED", field="name")
    return int(number)
