"""operator: who works at the console, and their kits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from alliance.output import show, show_one
from hub.commands.approvals import decided, find, propose
from hub.commands.context import JSON, client

if TYPE_CHECKING:
    from alliance.v1 import console_pb2
    from alliance.v1 import enrolment_pb2 as pb
    from hub.operator_client import OperatorClient

operator = typer.Typer(no_args_is_help=True, help="Console users: certify, list, revoke.")
NAME = typer.Argument(..., help="NAME or operators/NAME.")
# In a kit's folder while another admin has to approve it: the proposal's name; the key is there already.
PENDING = "pending.json"


@operator.command("add")
def add(
    context: typer.Context,
    name: str = NAME,
    role: str = typer.Option(..., help="viewer, operator, admin or auditor."),
    out: Path = typer.Option(..., help="New folder for the operator's kit: key, certificate, CA, hub address."),
) -> None:
    """Issue a certificate to a console user; the key is made here and never sent.

    Where there are two admins already, another one approves a third: run the same command again after that.
    """
    from alliance import tls
    from alliance.errors import AlreadyExists, FailedPrecondition, InvalidInput
    from alliance.names import operator_id, qualified
    from alliance.v1 import enrolment_pb2 as pb

    wanted = f"CONSOLE_ROLE_{role.upper()}"
    if wanted not in pb.ConsoleRole.keys() or wanted.endswith("UNSPECIFIED"):  # noqa: SIM118  # an enum is no mapping
        raise InvalidInput(f"unknown role {role!r}", field="role", remedy="use viewer, operator, admin or auditor")
    with client(context) as hub:
        if (out / PENDING).exists():
            _collect(hub, out)
        elif out.exists():
            raise AlreadyExists(f"{out} exists", field="out", remedy="name a new folder")
        else:
            key = tls.new_channel_key()
            request = pb.IssueOperatorCertificateRequest(
                operator=operator_id(qualified("operators", name)),
                role=wanted,
                certificate_request=tls.certificate_request(key),
            )
            try:
                issued = hub.call(request, pb.IssueOperatorCertificateResponse)
            except FailedPrecondition as error:
                if error.reason != "APPROVAL_NEEDED":
                    raise
                _wait(hub, request, tls.private_pem(key), out)
            _write(hub, issued, tls.private_pem(key), out)
    typer.echo(f"kit for {name} ({role}) in {out}")


@operator.command("list")
def list_operators(context: typer.Context, as_json: bool = JSON) -> None:
    """List console users and whether their certificates are good."""
    from alliance.v1 import console_pb2 as pb

    with client(context) as hub:
        found = hub.pages(pb.ListOperatorsRequest(), pb.ListOperatorsResponse, lambda page: page.operators)
        show([_row(one) for one in found], as_json=as_json)


@operator.command("revoke")
def revoke(
    context: typer.Context,
    name: str = NAME,
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    as_json: bool = JSON,
) -> None:
    """Revoke every certificate of a console user."""
    from alliance.names import qualified
    from alliance.v1 import console_pb2 as pb

    if not yes:
        typer.confirm(f"revoke every certificate of {name}?", abort=True, err=True)
    with client(context) as hub:
        request = pb.RevokeOperatorRequest(name=qualified("operators", name))
        show_one(_row(decided(hub, request, pb.RevokeOperatorResponse).operator), as_json=as_json)


def _wait(hub: OperatorClient, request: pb.IssueOperatorCertificateRequest, key: bytes, out: Path) -> None:
    """Proposes it, and keeps the key for when it is approved. Raises: FailedPrecondition, always."""
    from alliance import sealed_file
    from alliance.errors import FailedPrecondition

    action = propose(hub, request)
    out.mkdir(parents=True, mode=0o700)
    sealed_file.write(out / "key.pem", key)
    (out / PENDING).write_text(json.dumps({"action": action.name}))
    raise FailedPrecondition(
        f"not certified yet: {action.name} waits for another admin",
        reason="APPROVAL_PENDING",
        remedy=f'another admin runs "alliance-hub approval approve {action.name.partition("/")[2]}", '
        "then run this command again",
    )


def _collect(hub: OperatorClient, out: Path) -> None:
    """The certificate that was approved meanwhile. Raises: FailedPrecondition while it is not."""
    from alliance.errors import FailedPrecondition
    from alliance.v1 import console_pb2
    from alliance.v1 import enrolment_pb2 as pb

    action = find(hub, str(json.loads((out / PENDING).read_text())["action"]))
    if action.state != console_pb2.ACTION_STATE_APPROVED:
        state = console_pb2.ActionState.Name(action.state).removeprefix("ACTION_STATE_").lower()
        raise FailedPrecondition(
            f"{action.name} is {state}",
            reason="APPROVAL_PENDING",
            remedy="wait for another admin, or remove the folder and begin again",
        )
    _write(hub, pb.IssueOperatorCertificateResponse.FromString(action.response), (out / "key.pem").read_bytes(), out)
    (out / PENDING).unlink()


def _write(hub: OperatorClient, issued: pb.IssueOperatorCertificateResponse, key: bytes, out: Path) -> None:
    from alliance import tls
    from hub.setup import write_kit

    chain = tls.chain_pem(list(issued.certificate_chain))
    write_kit(out, key=key, chain=chain, ca=hub.roots, hub=hub.address)


def _row(one: console_pb2.Operator) -> dict[str, Any]:
    from alliance.v1 import enrolment_pb2 as pb

    role = pb.ConsoleRole.Name(one.role).removeprefix("CONSOLE_ROLE_").lower()
    return {"name": one.name, "role": role, "live": one.live}
