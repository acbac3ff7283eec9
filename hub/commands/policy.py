"""policy: the settings that no single console user changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from alliance.output import show_one
from hub.commands.context import JSON, client

if TYPE_CHECKING:
    from alliance.v1 import console_pb2 as pb

policy = typer.Typer(no_args_is_help=True, help="Show and change the settings that two admins decide.")


@policy.command("show")
def show_policy(context: typer.Context, as_json: bool = JSON) -> None:
    """Show the policy in force; revision 0 is what the hub's settings say."""
    from alliance.v1 import console_pb2 as pb

    with client(context) as hub:
        show_one(_row(hub.call(pb.GetPolicyRequest(), pb.GetPolicyResponse).policy), as_json=as_json)


@policy.command("set")
def set_policy(
    context: typer.Context,
    field: str = typer.Argument(..., help="As `policy show` names it."),
    value: str = typer.Argument(..., help="In the form in which `policy show` shows it."),
    as_json: bool = JSON,
) -> None:
    """Change one setting of the policy, at once and in every process of the hub."""
    from google.protobuf.field_mask_pb2 import FieldMask

    from alliance.v1 import console_pb2 as pb
    from hub.commands.approvals import decided

    with client(context) as hub:
        seen = hub.call(pb.GetPolicyRequest(), pb.GetPolicyResponse).policy
        wanted = _with(seen, field, value)
        request = pb.UpdatePolicyRequest(policy=wanted, update_mask=FieldMask(paths=[field]))
        show_one(_row(decided(hub, request, pb.UpdatePolicyResponse).policy), as_json=as_json)


def _with(seen: pb.Policy, field: str, value: str) -> pb.Policy:
    """A policy with this value, for the one that was seen. Raises: InvalidInput."""
    from alliance.audience import tlp
    from alliance.errors import InvalidInput
    from alliance.v1 import console_pb2 as pb

    known = [name for name in _row(seen) if name not in ("revision", "etag")]
    if field not in known:
        raise InvalidInput(
            f"{field[:40]!r} is no setting of the policy", field="FIELD", remedy=f"use one of {', '.join(known)}"
        )
    wanted = pb.Policy(etag=seen.etag)
    try:
        if field == "two_admins":
            wanted.MergeFrom(pb.Policy(two_admins=f"TWO_ADMINS_{value.upper()}"))
        elif field == "strictest_ceiling":
            wanted.MergeFrom(pb.Policy(strictest_ceiling=f"TLP_{tlp(value, field='VALUE').name}"))
        else:
            setattr(wanted, field, int(value))
    except ValueError:
        raise InvalidInput(
            f"{value[:40]!r} is no value of {field}", field="VALUE", remedy='see "alliance-hub policy show"'
        ) from None
    return wanted


def _row(one: pb.Policy) -> dict[str, object]:
    from alliance.v1 import console_pb2 as pb
    from alliance.v1 import fingerprint_pb2

    return {
        "two_admins": pb.TwoAdmins.Name(one.two_admins).removeprefix("TWO_ADMINS_").lower(),
        "least_quorum": one.least_quorum,
        "strictest_ceiling": fingerprint_pb2.Tlp.Name(one.strictest_ceiling).removeprefix("TLP_").lower(),
        "invitation_seconds": one.invitation_seconds,
        "certificate_seconds": one.certificate_seconds,
        "revision": one.revision,
        "etag": one.etag,
    }
