"""approval: what one admin proposed and another approves; `decided` for the commands that may need it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import typer

from alliance.output import show, show_one
from hub.commands.context import JSON, client

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.message import Message

    from alliance.v1 import console_pb2 as pb
    from hub.operator_client import OperatorClient

R = TypeVar("R", bound="Message")
approval = typer.Typer(no_args_is_help=True, help="What needs two admins: list, approve, reject.")
NUMBER = typer.Argument(..., help="NUMBER or actions/NUMBER.")


@approval.command("list")
def list_actions(
    context: typer.Context,
    everything: bool = typer.Option(False, "--all", help="Closed ones too."),
    as_json: bool = JSON,
) -> None:
    """List what waits for another admin, newest first."""
    from alliance.v1 import console_pb2 as pb

    with client(context) as hub:
        found = hub.pages(pb.ListActionsRequest(), pb.ListActionsResponse, lambda page: page.actions)
        wanted = [one for one in found if everything or one.state == pb.ACTION_STATE_OPEN]
    show([_row(one) for one in wanted], as_json=as_json)


@approval.command("approve")
def approve(
    context: typer.Context,
    number: str = NUMBER,
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    as_json: bool = JSON,
) -> None:
    """Approve what another admin proposed; it is done at once."""
    from alliance.canonical import sha256
    from alliance.names import qualified
    from alliance.v1 import console_pb2 as pb

    with client(context) as hub:
        action = find(hub, qualified("actions", number))
        if not yes:
            asked = _row(action)
            typer.confirm(
                f"{asked['proposer']} proposes {asked['call']} {asked['request']}: approve?", abort=True, err=True
            )
        request = pb.ApproveActionRequest(name=action.name, request_digest=sha256(action.request))
        done = hub.call(request, pb.ApproveActionResponse).action
    show_one(_row(done), as_json=as_json)


@approval.command("reject")
def reject(context: typer.Context, number: str = NUMBER, as_json: bool = JSON) -> None:
    """Reject a proposal, or take back one's own."""
    from alliance.names import qualified
    from alliance.v1 import console_pb2 as pb

    with client(context) as hub:
        request = pb.RejectActionRequest(name=qualified("actions", number))
        show_one(_row(hub.call(request, pb.RejectActionResponse).action), as_json=as_json)


def decided(hub: OperatorClient, request: Message, response: type[R]) -> R:
    """The call, or a proposal of it where two admins are needed.

    Raises: FailedPrecondition, APPROVAL_PENDING, with the proposal's name; what the hub answers.
    """
    from alliance.errors import FailedPrecondition

    try:
        return hub.call(request, response)
    except FailedPrecondition as error:
        if error.reason != "APPROVAL_NEEDED":
            raise
    action = propose(hub, request)
    raise FailedPrecondition(
        f"not done yet: {action.name} waits for another admin",
        reason="APPROVAL_PENDING",
        remedy=f'another admin runs "alliance-hub approval approve {action.name.partition("/")[2]}"',
    )


def propose(hub: OperatorClient, request: Message) -> pb.Action:
    """Raises: what the hub answers."""
    from alliance import channel
    from alliance.v1 import console_pb2 as pb

    method = channel.routes()[request.DESCRIPTOR.full_name].lstrip("/")
    proposal = pb.ProposeActionRequest(method=method, request=request.SerializeToString(deterministic=True))
    return hub.call(proposal, pb.ProposeActionResponse).action


def find(hub: OperatorClient, name: str) -> pb.Action:
    """Raises: NotFound."""
    from alliance.errors import NotFound
    from alliance.v1 import console_pb2 as pb

    found = hub.pages(pb.ListActionsRequest(), pb.ListActionsResponse, lambda page: page.actions)
    for one in found:
        if one.name == name:
            return one  # type: ignore[no-any-return]  # because a page's items are not typed
    raise NotFound(
        f"no {name}", reason="ACTION_NOT_FOUND", field="name", remedy='see "alliance-hub approval list --all"'
    )


def _row(action: pb.Action) -> dict[str, Any]:
    from alliance.v1 import console_pb2 as pb

    return {
        "name": action.name,
        "state": pb.ActionState.Name(action.state).removeprefix("ACTION_STATE_").lower(),
        "call": action.method.partition("/")[2],
        "request": _told(action),
        "proposer": action.proposer,
        "expires": action.expire_time.ToJsonString(),
        "decider": action.decider,
    }


def _told(action: pb.Action) -> str:
    """The request in words; bytes in it only by their length."""
    from google.protobuf.message_factory import GetMessageClass

    from alliance import channel

    methods = {
        f"{service.full_name}/{method.name}": method
        for file in channel.FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    method = methods.get(action.method)
    if method is None:
        return f"{len(action.request)} bytes"
    return _in_words(GetMessageClass(method.input_type).FromString(action.request))


def _in_words(message: Message) -> str:
    """What is set, on one line."""
    parts = []
    for field, value in message.ListFields():
        if field.name == "request_id":
            continue
        values = list(value) if field.is_repeated else [value]
        parts.append(f"{field.name}={','.join(_value(field, one) for one in values)}")
    return " ".join(parts)


def _value(field: FieldDescriptor, value: Any) -> str:
    if field.message_type is not None:
        return f"({_in_words(value)})"
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return str(value) if known is None else known.name
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)
