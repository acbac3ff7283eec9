"""Proposes, approves, rejects; each method is one transaction's work, the approved call's own included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from google.protobuf.message import Message
from sqlalchemy import Connection

from alliance.canonical import sha256
from alliance.errors import FailedPrecondition, InvalidInput, NotFound
from hub.approvals import store
from hub.approvals.model import Action, State
from hub.audit.service import AuditService
from hub.membership.operators import OperatorService
from hub.policy.service import PolicyService
from hub.runtime import access
from hub.runtime.caller import Caller
from hub.runtime.clock import Clock, micros

# More of them open at once is a mistake or a nuisance.
MAX_OPEN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """How the hub does what an RPC asks."""

    parse: Callable[[bytes], Message]
    do: Callable[[Connection, Caller, Message], Message]


class ApprovalService:
    """`calls` has every RPC that may be approved, by its name; it is filled once the services are wired."""

    def __init__(
        self,
        *,
        policies: PolicyService,
        operators: OperatorService,
        audit: AuditService,
        calls: Mapping[str, Call],
        clock: Clock,
    ) -> None:
        self._policies = policies
        self._operators = operators
        self._audit = audit
        self._calls = calls
        self._clock = clock

    def require_one_suffices(self, tx: Connection, method: str, request: Message) -> None:
        """Called by the edge before every mutation. Raises: FailedPrecondition, where two admins are needed."""
        needs_two = access.rule(method).two_admins
        if needs_two is None or not needs_two(request):
            return
        if not self._policies.current(tx).two_admins.applies(self._operators.admins(tx)):
            return
        raise FailedPrecondition(
            f"{method.partition('/')[2]} needs two admins",
            reason="APPROVAL_NEEDED",
            remedy='propose it, then another admin runs "alliance-hub approval approve"; see two_admins in the policy',
        )

    def propose(self, tx: Connection, caller: Caller, method: str, request: bytes) -> Action:
        """Raises: InvalidInput for an RPC that one admin may call alone, or a request that is none of its."""
        call = self._calls.get(method)
        if call is None:
            raise InvalidInput(
                f"{method[:120]!r} is not approved by anyone",
                reason="ACTION_UNKNOWN",
                field="method",
                remedy=f"propose one of {', '.join(sorted(self._calls))}",
            )
        call.parse(request)
        now = micros(self._clock())
        newest = store.actions(tx, before=None, limit=MAX_OPEN)
        if len(newest) == MAX_OPEN and all(one.at(now).state is State.OPEN for one in newest):
            raise FailedPrecondition(
                f"{MAX_OPEN} actions wait already", reason="ACTIONS_TOO_MANY", remedy="approve or reject some"
            )
        made = Action(id=0, method=method, request=request, state=State.OPEN, proposer=caller.name, propose_time=now)
        made = replace(made, id=store.add(tx, made))
        self._record(tx, made, caller, event=f"action_proposed:{_rpc(method)}")
        return made

    def approve(self, tx: Connection, caller: Caller, number: int, request_digest: bytes) -> Action:
        """Does it, as the approving admin. Raises: FailedPrecondition, NotPermitted, what the call raises."""
        found = self._locked(tx, number)
        approved = found.approve(caller.name, micros(self._clock()), request_digest=request_digest)
        if not self._operators.is_admin(tx, found.proposer):
            raise FailedPrecondition(
                f"{found.proposer} is no admin any more", reason="PROPOSER_GONE", remedy="propose it again"
            )
        self._record(tx, approved, caller, event=f"action_approved:{_rpc(found.method)}")
        call = self._calls[found.method]
        response = call.do(tx, caller, call.parse(found.request))
        done = replace(approved, response=response.SerializeToString())
        store.save(tx, done)
        return done

    def reject(self, tx: Connection, caller: Caller, number: int) -> Action:
        """Raises: NotFound, FailedPrecondition."""
        rejected = self._locked(tx, number).reject(caller.name, micros(self._clock()))
        store.save(tx, rejected)
        self._record(tx, rejected, caller, event=f"action_rejected:{_rpc(rejected.method)}")
        return rejected

    def actions(self, tx: Connection, *, before: int | None, limit: int) -> list[Action]:
        """Newest first."""
        now = micros(self._clock())
        return [one.at(now) for one in store.actions(tx, before=before, limit=limit)]

    def _locked(self, tx: Connection, number: int) -> Action:
        found = store.lock(tx, number)
        if found is None:
            raise NotFound(f"no actions/{number}", reason="ACTION_NOT_FOUND", field="name")
        return found.at(micros(self._clock()))

    def _record(self, tx: Connection, action: Action, caller: Caller, *, event: str) -> None:
        self._audit.record(
            tx, event=event, actor=caller.name, subject=f"actions/{action.id}", digest=sha256(action.request)
        )


def _rpc(method: str) -> str:
    """The RPC's own name, without its service."""
    return method.rpartition("/")[2]
