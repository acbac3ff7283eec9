"""init, serve, migrate, config, doctor: the commands that work on the hub's own home."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from alliance import settings as settings_format
from alliance.output import show, show_one
from hub.commands.context import JSON, home

if TYPE_CHECKING:
    from hub.config import Home, Settings

config = typer.Typer(no_args_is_help=True, help="Check and show the settings.")


def init(
    context: typer.Context,
    alliance: str = typer.Option("alliance.example", help="The alliance's name: the trust domain of every identity."),
    address: str | None = typer.Option(None, help="Where agents connect, host:port. [default: 127.0.0.1:8443]"),
    enrolment_address: str | None = typer.Option(None, help="Where members enrol. [default: 127.0.0.1:8444]"),
    names: str | None = typer.Option(None, help="Names and IP addresses in the hub's certificate, comma-separated."),
    database_url: str | None = typer.Option(None, help="postgresql+psycopg://...; SQLite in the home by default."),
    operator: str = typer.Option("admin", help="Name of the first admin."),
    admission_cosigners: int | None = typer.Option(
        None, help="How many members sign the admission of another, fixed for good; 0: an invitation. [default: 2]"
    ),
    passphrase_file: Path | None = typer.Option(
        None, help="A file (mode 600) with the passphrase for the keys; without it, a random one is made in the home."
    ),
    passphrase_keyring: str = typer.Option("", help="Instead: SERVICE/NAME of the passphrase in the system's keyring."),
    offline_root: Path | None = typer.Option(
        None, help="Make the root of trust in this folder, to be kept off this machine; the hub issues under it."
    ),
    as_json: bool = JSON,
) -> None:
    """Make a new hub: CA, database, settings and the first admin's certificate."""
    from alliance.errors import InvalidInput
    from alliance.names import operator_id, qualified
    from hub.config import Settings
    from hub.setup import initialise, with_changes

    if passphrase_file and passphrase_keyring:
        raise InvalidInput("beside --passphrase-file", field="--passphrase-keyring", remedy="give one of them")
    settings = with_changes(
        Settings(alliance_name=alliance),
        server_address=address,
        server_enrolment_address=enrolment_address,
        server_names=names,
        database_url=database_url,
        membership_admission_cosigners=admission_cosigners,
        keys_passphrase_file=passphrase_file.absolute() if passphrase_file else None,
        keys_keyring=passphrase_keyring or None,
    )
    named = operator_id(qualified("operators", operator))
    made = initialise(home(context), settings, named, offline_root=offline_root)
    show_one(
        {"home": str(made.home), "ca_fingerprint": made.ca_fingerprint, "operator": made.operator}, as_json=as_json
    )


def serve(context: typer.Context) -> None:
    """Serve members and operators until stopped."""
    import asyncio

    from alliance import log
    from hub.app import open_services
    from hub.serving import Hub
    from hub.serving import serve as run

    place = home(context)
    settings, _ = place.load()
    log.configure(level=settings.log_level)

    def ready(hub: Hub) -> None:
        typer.echo(f"hub {hub.address}, enrolment {hub.enrolment_address}")

    with open_services(place, settings) as services:
        asyncio.run(run(place, settings, services, ready=ready))


def migrate(context: typer.Context) -> None:
    """Bring the database to this version's schema; the hub must be stopped."""
    from hub.migrations import current
    from hub.migrations import migrate as apply
    from hub.runtime.db import Database, ProcessLock

    place = home(context)
    settings, _ = place.load()
    db = Database(place.database_url(settings))
    lock = ProcessLock(place.lock_file) if db.is_sqlite else None
    try:
        before = current(db)
        after = apply(db)
        typer.echo(f"revision {after}" if before != after else f"revision {after}, nothing to do")
    finally:
        db.close()
        if lock is not None:
            lock.release()


@config.command("check")
def config_check(context: typer.Context) -> None:
    """Read the settings as `serve` would, and say what is wrong."""
    settings, _ = home(context).load()
    typer.echo(f"ok: {len(dataclasses.fields(settings))} settings")


@config.command("show")
def config_show(
    context: typer.Context,
    origin: bool = typer.Option(False, "--origin", help="Also where each value comes from."),
    as_json: bool = JSON,
) -> None:
    """Print every setting in force; the policy's, once it was changed, are in the database."""
    from sqlalchemy import make_url

    from hub.setup import with_changes

    place = home(context)
    settings, origins = place.load()
    decided = _policy(place, settings)
    hidden = settings.database_url and make_url(settings.database_url).render_as_string(hide_password=True)
    shown = with_changes(settings, **decided, database_url=hidden)
    show(
        settings_format.rows(shown, {**origins, **dict.fromkeys(decided, "policy")} if origin else None),
        as_json=as_json,
    )


def _policy(place: Home, settings: Settings) -> dict[str, object]:
    """Setting to value of what the policy says instead of the settings; nothing before its first change, nor where the
    database cannot be read: `doctor` says why."""
    from contextlib import suppress

    from alliance.errors import AllianceError
    from hub.migrations import require_current
    from hub.policy.configured import in_settings
    from hub.policy.service import changed
    from hub.runtime.db import Database

    db = Database(place.database_url(settings))
    try:
        with suppress(AllianceError):
            require_current(db)
            with db.read() as tx:
                found = changed(tx)
            return {} if found is None else in_settings(found.policy)
    finally:
        db.close()
    return {}


def doctor(context: typer.Context, as_json: bool = JSON) -> None:
    """Check this hub: files, database, certificates, listeners; each problem with its remedy."""
    from hub.doctor import examine

    rows = [dataclasses.asdict(check) for check in examine(home(context))]
    show(rows, as_json=as_json)
    if any(row["problem"] for row in rows):
        raise typer.Exit(1)


def demo(
    data: Path | None = typer.Option(None, help="The folder of real data sets; without it, generated data."),
    stop: bool = typer.Option(False, "--exit", help="Stop when the result is shown."),
    json_file: Path | None = typer.Option(None, "--json", help="Also write the result to this file."),
) -> None:
    """Run the main job on this machine: a hub and its members as real processes, on real or generated data."""
    from demo.run import run

    raise typer.Exit(run(data=data, stop=stop, json_file=json_file))
