"""member: who is in the alliance by this agent's own count, and admitting those who wait."""

from __future__ import annotations

import typer

from alliance.output import show, show_one
from member_agent.commands.options import JSON, home

member = typer.Typer(no_args_is_help=True, help="Who is in the alliance, by this agent's own count; admit newcomers.")


@member.command("list")
def list_members(context: typer.Context, as_json: bool = JSON) -> None:
    """List members, who admitted them, and the fingerprints to compare by phone."""
    from alliance.admission import fingerprint
    from member_agent.app import open_agent

    with open_agent(home(context)) as agent, agent.connect() as hub:
        agent.audit(hub)
        agent.directory.refresh(hub)
        register = agent.directory.register()
    rows: list[dict[str, object]] = []
    for name, entry in sorted(register.members.items()):
        standing = "gone" if entry.gone else "founder" if entry.founder else "admitted" if entry.admitted else "waits"
        if entry.pending:
            standing = f"waits, {len(entry.signers)} of {register.needed}"
        rows.append(
            {
                "member": name,
                "role": entry.role,
                "standing": standing,
                "signed_by": " ".join(entry.signers),
                "fingerprint": fingerprint(entry.signs_as),
                "own": name == agent.settings.hub_member,
            }
        )
    if not as_json:
        rows = [{**row, "own": "this member" if row["own"] else ""} for row in rows]
    show(rows, as_json=as_json)


@member.command("fingerprint")
def own_fingerprint(context: typer.Context, as_json: bool = JSON) -> None:
    """Show this member's own fingerprint, to read out to those who admit it; asks nobody."""
    from member_agent.app import open_agent

    with open_agent(home(context)) as agent:
        public = agent.identity.public
    if as_json:
        show_one({"member": public.member, "fingerprint": public.fingerprint}, as_json=True)
    else:
        typer.echo(public.fingerprint)


@member.command("admit")
def admit(
    context: typer.Context,
    name: str = typer.Argument(..., help="NAME or members/NAME."),
    read_out: str = typer.Option("", "--fingerprint", help="As the newcomer read it out; another is refused."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask; for who compared before."),
    as_json: bool = JSON,
) -> None:
    """Sign a newcomer's admission, once you know from itself that the fingerprint is its own."""
    from alliance.errors import InvalidInput
    from alliance.names import member_id, qualified
    from member_agent import admitting
    from member_agent.app import open_agent

    wanted = member_id(qualified("members", name), field="name")
    with open_agent(home(context)) as agent, agent.connect() as hub:
        agent.audit(hub)
        found = admitting.candidate(agent.directory, hub, wanted)
        if read_out and "".join(read_out.split()) != "".join(found.fingerprint.split()):
            raise InvalidInput(
                f"{found.member} has the fingerprint {found.fingerprint}",
                reason="FINGERPRINT_DIFFERS",
                field="--fingerprint",
                remedy="sign nothing; if it was read out right, the hub shows another identity: tell the alliance",
            )
        if not (read_out or yes):
            typer.echo(f"{found.member}, {found.role}, fingerprint {found.fingerprint}", err=True)
            typer.confirm(
                "did it read out this fingerprint itself, not by the hub or its operator?", abort=True, err=True
            )
        admitting.sign(hub, agent.identity, agent.settings.hub_alliance, found)
    signers = sorted({*found.signers, member_id(agent.settings.hub_member)})
    show_one(
        {
            "member": found.member,
            "role": found.role,
            "fingerprint": found.fingerprint,
            "signed_by": " ".join(signers),
            "needed": found.needed,
        },
        as_json=as_json,
    )
