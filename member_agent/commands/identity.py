"""identity, agents, recover: the member behind the agent, whatever becomes of this machine."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import typer

from alliance.output import show, show_one
from member_agent.commands.options import JSON, chosen, home

identity = typer.Typer(no_args_is_help=True, help="The member identity: show it, back it up, change it.")
agents = typer.Typer(no_args_is_help=True, help="The agents of this member.")


@identity.command("show")
def identity_show(context: typer.Context, as_json: bool = JSON) -> None:
    """Print the fingerprint of this member's identity: what members read out and compare."""
    from member_agent.app import open_agent

    with open_agent(home(context)) as agent:
        public = agent.identity.public
    show_one({"member": public.member, "fingerprint": public.fingerprint}, as_json=as_json)


@identity.command("backup")
def identity_backup(
    context: typer.Context,
    out: Path = typer.Option(..., help="The new file, sealed under a code that is printed once."),
    as_json: bool = JSON,
) -> None:
    """Seal the member identity into a file, and print the page with its recovery code: pipe it to a printer."""
    from member_agent import backup, recovery
    from member_agent.app import open_agent

    with open_agent(home(context)) as agent:
        made = recovery.backup_of(agent.home, agent.settings, agent.secrets)
    code = backup.new_code()
    backup.write(out, backup.seal(made, code))
    if as_json:
        row: dict[str, object] = {"member": made.member, "file": str(out), "recovery_code": backup.code_text(code)}
        show_one(row, as_json=True)
        return
    typer.echo(backup.page(made, code, out.name), nl=False)


@identity.command("rotate")
def identity_rotate(
    context: typer.Context, yes: bool = typer.Option(False, "--yes", help="Do not ask."), as_json: bool = JSON
) -> None:
    """Change the member identity, signed by the old one; stop `run` first. Earlier backups are void after it."""
    from member_agent import changing
    from member_agent.app import open_agent
    from member_agent.locks import FileLock
    from member_agent.outbox import State

    if not yes:
        typer.confirm("change the identity, and void every backup and every other agent?", abort=True, err=True)
    place = home(context)
    with FileLock(place.daemon_lock, wait=0):
        with open_agent(place) as agent, agent.connect() as hub:
            if not place.changing_file.exists():
                agent.send(hub)
                changing.require_nothing_waits(agent.outbox.count(State.WAITING))
            changing.change(agent.home, agent.settings, agent.secrets, hub)
        with open_agent(place) as agent, agent.connect() as hub:
            agent.audit(hub)
            changing.finish(place, lambda: agent.keyring.wrap_own(hub))
            public = agent.identity.public
    show_one({"member": public.member, "fingerprint": public.fingerprint}, as_json=as_json)
    if not as_json:
        typer.echo('make a new backup now: "alliance-agent identity backup"', err=True)


def recover(
    context: typer.Context,
    file: Path = typer.Argument(help="The backup that `identity backup` made."),
    code_file: Path | None = typer.Option(None, help="The recovery code's file; without it, standard input."),
    passphrase_file: Path | None = typer.Option(
        None, help="A file (mode 600) with the passphrase for the keys; without it, a random one is made."
    ),
    passphrase_keyring: str = typer.Option("", help="Instead: SERVICE/NAME of the passphrase in the system's keyring."),
    pkcs11_uri: str = typer.Option(
        "", help="Make the channel key in this token: pkcs11:token=...?module-path=/...&pin-source=file:/..."
    ),
    proxy: str = typer.Option("", help="http://host:port of an HTTP CONNECT proxy."),
    as_json: bool = JSON,
) -> None:
    """Set up a new agent of the member in an empty home, from a backup; then get its keys and banks back."""
    from alliance.errors import FailedPrecondition
    from member_agent import backup, recovery
    from member_agent.app import open_agent

    code = backup.parse_code(_code(code_file))
    opened, place = backup.unseal(backup.read(file), code), home(context)
    settings = chosen(passphrase_file, passphrase_keyring, pkcs11_uri, proxy)
    recovered = recovery.recover(place, opened, settings)
    row: dict[str, object] = dataclasses.asdict(recovered)
    with open_agent(place) as agent, agent.connect() as hub:
        agent.audit(hub)
        keys = agent.keyring.current_all(hub)
        row["keys"] = {
            group: "awaited" if isinstance(key, FailedPrecondition) else "held" for group, key in keys.items()
        }
        row["banks"] = {one.bank: one.rows for one in agent.synchroniser.run(hub)}
    show_one(row, as_json=as_json)
    if not as_json:
        typer.echo('revoke the agent that was lost ("alliance-agent agents list"), and make a new backup', err=True)


@agents.command("list")
def agents_list(context: typer.Context, as_json: bool = JSON) -> None:
    """List the agents of this member, revoked ones too."""
    import datetime as dt

    from alliance.v1 import enrolment_pb2 as pb
    from member_agent.app import open_agent

    def told(one: pb.Agent, name: str) -> str:
        return getattr(one, name).ToDatetime(tzinfo=dt.UTC).isoformat() if one.HasField(name) else ""

    with open_agent(home(context)) as agent, agent.connect() as hub:
        found = list(hub.pages(pb.ListAgentsRequest(), pb.ListAgentsResponse, lambda page: page.agents))
    rows: list[dict[str, object]] = [
        {
            "agent": one.name,
            "this": one.name == agent.settings.hub_agent,
            "since": told(one, "create_time"),
            "certificate_until": told(one, "expire_time"),
            "revoked": told(one, "revoke_time"),
        }
        for one in found
    ]
    show(rows, as_json=as_json)


@agents.command("revoke")
def agents_revoke(
    context: typer.Context,
    name: str = typer.Argument(help="As `agents list` shows it."),
    as_json: bool = JSON,
) -> None:
    """Revoke another agent of this member, for good. If its keys may be in wrong hands, change the identity too."""
    import uuid

    from alliance.names import agent_id, qualified
    from alliance.v1 import enrolment_pb2 as pb
    from member_agent.app import open_agent

    request = pb.RevokeAgentRequest(request_id=str(uuid.uuid4()), name=agent_id(qualified("agents", name)))
    with open_agent(home(context)) as agent, agent.connect() as hub:
        revoked = hub.call(request, pb.RevokeAgentResponse).agent
    show_one({"agent": revoked.name, "standing": "revoked"}, as_json=as_json)


def _code(file: Path | None) -> str:
    from alliance.errors import InvalidInput

    if file is None and sys.stdin.isatty():
        typer.echo("type the recovery code and press Enter:", err=True)
    try:
        return file.read_text() if file else sys.stdin.readline()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {file}", field="--code-file", remedy="check the path") from error
