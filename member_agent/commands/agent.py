"""join, run, status, banks, renew, leave, doctor, config: the life of an agent."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import typer

from alliance import settings as settings_format
from alliance.output import show, show_one
from member_agent.commands.options import JSON, chosen, home

config = typer.Typer(no_args_is_help=True, help="Check and show the settings.")


def join(
    context: typer.Context,
    code_file: Path | None = typer.Option(None, help="The join code's file; without it, standard input."),
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
    """Join the alliance with an invitation's code. The keys are made here and stay here."""
    from alliance import join_code
    from alliance.errors import InvalidInput
    from member_agent import enrolment

    if code_file is None and sys.stdin.isatty():
        typer.echo("paste the join code and press Enter:", err=True)
    try:
        text = code_file.read_text() if code_file else sys.stdin.readline()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {code_file}", field="--code-file", remedy="check the path") from error
    settings = chosen(passphrase_file, passphrase_keyring, pkcs11_uri, proxy)
    joined = enrolment.join(home(context), join_code.parse(text), settings)
    show_one(dataclasses.asdict(joined), as_json=as_json)
    if not as_json:
        typer.echo("compare the CA fingerprint with your operator's, then start: alliance-agent run", err=True)


def run(context: typer.Context) -> None:
    """Stay connected: keys, sync, outbox, certificate. Outbound connections only; stops on SIGTERM."""
    import signal

    from alliance import log
    from member_agent.daemon import Daemon

    place = home(context)
    settings, _ = place.load()
    log.configure(level=settings.log_level)
    daemon = Daemon(place)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    daemon.run()


def status(context: typer.Context, as_json: bool = JSON) -> None:
    """Who this agent is, what it holds, what waits; asks the hub only if it answers at once."""
    from alliance.errors import AllianceError
    from member_agent import channel_key, enrolment, locks
    from member_agent.app import open_agent
    from member_agent.outbox import State

    with open_agent(home(context)) as agent:
        certificate = enrolment.certificate(agent.secrets)
        row: dict[str, object] = {
            "member": agent.settings.hub_member,
            "role": agent.settings.hub_role,
            "alliance": agent.settings.hub_alliance,
            "hub": agent.settings.hub_address,
            "certificate_until": certificate.not_valid_after_utc.isoformat(),
            "channel_key": channel_key.where(agent.secrets, agent.settings),
            "running": locks.holder(agent.home.daemon_lock) or "no",
            "audit_leaves": agent.log.size(),
            "outbox": {state.value: agent.outbox.count(state) for state in State},
            "banks": {state.id: state.cursor for state in agent.banks.states()},
            "models": {held.detector: held.label for held in agent.models.held()},
        }
        try:
            with agent.connect() as hub:
                row["hub_answers"] = hub.handshake().hub_version if hub.ready(2.0) else "no"
        except AllianceError as error:
            row["hub_answers"] = f"no: {error}"
    show_one(row, as_json=as_json)


def banks(context: typer.Context, as_json: bool = JSON) -> None:
    """List the banks of this member's groups, at the hub and here."""
    from alliance import audience
    from alliance.names import bank_id
    from member_agent.app import open_agent

    with open_agent(home(context)) as agent, agent.connect() as hub:
        rows: list[dict[str, object]] = []
        for one in agent.synchroniser.banks(hub):
            held = agent.banks.state(bank_id(one.name))
            rows.append(
                {
                    "bank": one.name,
                    "group": one.group,
                    "tlp": audience.ceiling(one.tlp).label,
                    "scheme": one.scheme,
                    "entries": one.head_seq,
                    "held": held.cursor if held else 0,
                }
            )
    show(rows, as_json=as_json)


def renew(context: typer.Context, as_json: bool = JSON) -> None:
    """Get a new channel certificate for a new key, also after the old one ran out; `run` does it by itself."""
    from alliance.errors import AllianceError, NotAuthenticated
    from member_agent import channel_key, enrolment, recovery, token_key
    from member_agent.app import open_agent

    with open_agent(home(context)) as agent:
        try:
            with agent.connect() as hub:
                agent.follow_authorities(hub)
                renewed = enrolment.renew(agent.home, agent.settings, agent.secrets, hub)
        except NotAuthenticated as error:
            if error.reason not in ("CERTIFICATE_EXPIRED", token_key.MISSING):
                raise
            renewed = recovery.come_back(agent.home, agent.settings, agent.secrets, agent.ledger)
        until = enrolment.certificate(renewed).not_valid_after_utc.isoformat()
    if renewed.token_key:
        try:
            with open_agent(home(context)) as agent, agent.connect() as hub:
                hub.handshake()
                channel_key.settle(agent.home, agent.settings, agent.secrets)
        except AllianceError as error:
            typer.echo(f"renewed, but the former key is still in the token, until the next time: {error}", err=True)
    show_one({"certificate_until": until}, as_json=as_json)


def leave(
    context: typer.Context, yes: bool = typer.Option(False, "--yes", help="Do not ask."), as_json: bool = JSON
) -> None:
    """Leave the alliance: everything this member published is withdrawn at every member."""
    from member_agent import enrolment
    from member_agent.app import open_agent

    if not yes:
        typer.confirm("leave the alliance, and withdraw all that was published?", abort=True, err=True)
    with open_agent(home(context)) as agent, agent.connect() as hub:
        enrolment.leave(agent.home, hub)
    show_one({"member": agent.settings.hub_member, "standing": "left"}, as_json=as_json)


def doctor(context: typer.Context, as_json: bool = JSON) -> None:
    """Say why it does not work: each check with its problem and remedy."""
    from member_agent.doctor import examine

    rows = [dataclasses.asdict(check) for check in examine(home(context))]
    show(rows, as_json=as_json)
    if any(row["problem"] for row in rows):
        raise typer.Exit(1)


@config.command("check")
def config_check(context: typer.Context) -> None:
    """Read the settings as `run` would, and say what is wrong."""
    settings, _ = home(context).load()
    typer.echo(f"ok: {len(dataclasses.fields(settings))} settings")


@config.command("show")
def config_show(
    context: typer.Context,
    origin: bool = typer.Option(False, "--origin", help="Also where each value comes from."),
    as_json: bool = JSON,
) -> None:
    """Print every setting in force."""
    settings, origins = home(context).load()
    show(settings_format.rows(settings, origins if origin else None), as_json=as_json)
