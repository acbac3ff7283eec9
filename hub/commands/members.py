"""member, group: who is in the alliance, and who shares with whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from alliance.output import show, show_one
from hub.commands.approvals import decided
from hub.commands.context import JSON, client

if TYPE_CHECKING:
    from alliance.v1 import membership_pb2 as pb

member = typer.Typer(no_args_is_help=True, help="Invite, list, suspend, reinstate and expel members.")
group = typer.Typer(no_args_is_help=True, help="Create sharing groups and add members.")
NAME = typer.Argument(..., help="NAME or members/NAME.")
REASON = typer.Option(..., "--reason", help="Why; kept at the hub and shown to operators.")


@member.command("invite")
def invite(
    context: typer.Context,
    name: str = NAME,
    role: str = typer.Option(..., help="brand, marketplace, association, regulator, law_enforcement or expert."),
    hours: int = typer.Option(0, help="Hours until the code expires; 0 is the hub's default."),
    as_json: bool = JSON,
) -> None:
    """Print one join code for a member; it works once. Hand it over privately."""
    import secrets

    from cryptography import x509

    from alliance import canonical, join_code
    from alliance.names import member_id, qualified
    from alliance.v1 import membership_pb2 as pb

    who = member_id(qualified("members", name), field="name")
    secret = secrets.token_bytes(join_code.SECRET_SIZE)
    with client(context) as hub:
        request = pb.CreateInvitationRequest(
            member=who, role=_role(role), lifetime_seconds=hours * 3600, secret_digest=canonical.sha256(secret)
        )
        invited = hub.call(request, pb.CreateInvitationResponse)
        code = join_code.JoinCode(
            alliance=invited.alliance,
            address=invited.enrolment_address,
            member=who,
            ca=x509.load_pem_x509_certificate(hub.roots),
            secret=secret,
        ).encode()
    if as_json:
        show_one({"member": who, "join_code": code, "expires": invited.expire_time.ToJsonString()}, as_json=True)
    else:
        typer.echo(code)
        typer.echo(f"for {who}, until {invited.expire_time.ToJsonString()}; works once", err=True)


@member.command("list")
def list_members(context: typer.Context, as_json: bool = JSON) -> None:
    """List members with role and standing."""
    from alliance.v1 import membership_pb2 as pb

    with client(context) as hub:
        found = hub.pages(pb.ListMembersRequest(), pb.ListMembersResponse, lambda page: page.members)
        show([_row(one) for one in found], as_json=as_json)


@member.command("show")
def show_member(context: typer.Context, name: str = NAME, as_json: bool = JSON) -> None:
    """Show one member."""
    from alliance.v1 import membership_pb2 as pb

    with client(context) as hub:
        found = hub.call(pb.GetMemberRequest(name=_member(name)), pb.GetMemberResponse).member
    signed = " ".join(admission.signer for admission in found.admissions)
    shown = {"signed_by": signed, "fingerprint": _fingerprint(found), "reason": found.standing_reason}
    show_one({**_row(found), **shown}, as_json=as_json)


@member.command("suspend")
def suspend(context: typer.Context, name: str = NAME, reason: str = REASON, as_json: bool = JSON) -> None:
    """Suspend a member: it can neither publish nor sync."""
    from alliance.v1 import membership_pb2 as pb

    with client(context) as hub:
        request = pb.SuspendMemberRequest(name=_member(name), reason=reason)
        show_one(_row(hub.call(request, pb.SuspendMemberResponse).member), as_json=as_json)


@member.command("reinstate")
def reinstate(context: typer.Context, name: str = NAME, reason: str = REASON, as_json: bool = JSON) -> None:
    """End a suspension."""
    from alliance.v1 import membership_pb2 as pb

    with client(context) as hub:
        request = pb.ReinstateMemberRequest(name=_member(name), reason=reason)
        show_one(_row(hub.call(request, pb.ReinstateMemberResponse).member), as_json=as_json)


@member.command("expel")
def expel(
    context: typer.Context,
    name: str = NAME,
    reason: str = REASON,
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    as_json: bool = JSON,
) -> None:
    """Expel a member for good: its certificates are revoked and it leaves every group."""
    from alliance.v1 import membership_pb2 as pb

    if not yes:
        typer.confirm(f"expel {name} for good?", abort=True, err=True)
    with client(context) as hub:
        request = pb.ExpelMemberRequest(name=_member(name), reason=reason)
        show_one(_row(decided(hub, request, pb.ExpelMemberResponse).member), as_json=as_json)


@group.command("create")
def create_group(context: typer.Context, name: str, as_json: bool = JSON) -> None:
    """Create a sharing group; its key is made by the first member's agent, never here."""
    from alliance.names import qualified
    from alliance.v1 import membership_pb2 as pb

    with client(context) as hub:
        request = pb.CreateGroupRequest(name=qualified("groups", name))
        show_one(_group_row(hub.call(request, pb.CreateGroupResponse).group), as_json=as_json)


@group.command("add")
def add_to_group(context: typer.Context, name: str, member_name: str = NAME, as_json: bool = JSON) -> None:
    """Add a member to a sharing group."""
    from alliance.names import qualified
    from alliance.v1 import membership_pb2 as pb

    with client(context) as hub:
        request = pb.AddGroupMemberRequest(group=qualified("groups", name), member=_member(member_name))
        show_one(_group_row(hub.call(request, pb.AddGroupMemberResponse).group), as_json=as_json)


@group.command("list")
def list_groups(context: typer.Context, as_json: bool = JSON) -> None:
    """List sharing groups and their members."""
    from alliance.v1 import membership_pb2 as pb

    with client(context) as hub:
        found = hub.pages(pb.ListGroupsRequest(), pb.ListGroupsResponse, lambda page: page.groups)
        show([_group_row(one) for one in found], as_json=as_json)


def _role(role: str) -> str:
    from alliance.errors import InvalidInput
    from alliance.v1 import enrolment_pb2

    wanted = f"MEMBER_ROLE_{role.upper()}"
    if wanted not in enrolment_pb2.MemberRole.keys() or wanted.endswith("UNSPECIFIED"):  # noqa: SIM118
        known = ", ".join(n.removeprefix("MEMBER_ROLE_").lower() for n in enrolment_pb2.MemberRole.keys()[1:])
        raise InvalidInput(f"unknown role {role!r}", field="role", remedy=f"use one of {known}")
    return wanted


def _member(name: str) -> str:
    from alliance.names import qualified

    return qualified("members", name)


def _row(one: pb.Member) -> dict[str, object]:
    from alliance.v1 import enrolment_pb2, membership_pb2

    return {
        "member": one.name,
        "role": enrolment_pb2.MemberRole.Name(one.role).removeprefix("MEMBER_ROLE_").lower(),
        "standing": membership_pb2.Standing.Name(one.standing).removeprefix("STANDING_").lower(),
        "enrolled": one.enrol_time.ToJsonString() if one.HasField("enrol_time") else "",
        "admission": _admission(one),
    }


def _fingerprint(one: pb.Member) -> str:
    from alliance import canonical
    from alliance.admission import fingerprint

    if not one.HasField("identity"):
        return ""
    return fingerprint(canonical.identity_digest(one.identity.signing_key, one.identity.sealing_key))


def _admission(one: pb.Member) -> str:
    """Where it stands, as the hub counts."""
    if one.admissions_needed:
        return f"waits, {len(one.admissions)} of {one.admissions_needed}"
    return "admitted" if one.HasField("admit_time") else ""


def _group_row(one: pb.Group) -> dict[str, object]:
    return {"group": one.name, "members": " ".join(one.members)}
