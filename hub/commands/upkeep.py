"""fsck, backup, restore: they read the hub's own home, also while it serves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from alliance.output import show, show_one
from hub.commands.context import JSON, home

if TYPE_CHECKING:
    from alliance.checkpoint import NoteKey
    from hub.config import Home, Settings

_MOST_SHOWN = 1000


def fsck(context: typer.Context, as_json: bool = JSON) -> None:
    """Recompute the log and hold everything stored against it: each difference is named, and ends in exit code 11."""
    from alliance.errors import Corrupt
    from hub.fsck.examine import examine
    from hub.migrations import require_current
    from hub.pki.service import first_authority
    from hub.runtime.db import Database

    place = home(context)
    settings, _ = place.load()
    db = Database(place.database_url(settings))
    try:
        require_current(db)
        key = _log_key(place, settings)
        first = first_authority(place.ca)
        found = examine(db, place.blobs, alliance=settings.alliance_name, first=first, key=key, progress=_tell)
    finally:
        db.close()
    rows: list[dict[str, object]] = [
        {"table": one.table, "key": one.key, "problem": one.problem} for one in found.findings[:_MOST_SHOWN]
    ]
    if as_json:
        show_one({"size": found.size, "root": found.root.hex(), "findings": rows}, as_json=True)
    elif rows:
        show(rows, as_json=False)
    else:
        show_one({"sound": True, "size": found.size, "root": found.root.hex()}, as_json=False)
    if rows:
        raise Corrupt(
            f"{len(found.findings)} objects are not what the log says",
            reason="STORE_CORRUPT",
            remedy="keep the hub's home as evidence and restore a backup",
        )


def backup(
    context: typer.Context,
    out: Path = typer.Option(..., "--out", help="The file to write; it must not exist."),
    kits: bool = typer.Option(False, "--with-operator-kits", help="Also operators' kits, whose keys lie open."),
    as_json: bool = JSON,
) -> None:
    """Write the hub into one file, also while it serves: database, blobs, sealed keys, settings; no passphrase."""
    from hub.backup.service import back_up
    from hub.runtime.clock import utc_now

    place = home(context)
    settings, _ = place.load()
    key = _log_key(place, settings)
    taken = back_up(place, settings, out.absolute(), key=key, kits=kits, now=utc_now(), progress=_tell)
    show_one(
        {
            "file": str(out),
            "log_size": taken.log_size,
            "blobs": taken.blobs,
            "digest": taken.digest,
            "left_out": taken.left_out,
        },
        as_json=as_json,
    )


def restore(
    context: typer.Context,
    file: Path = typer.Argument(..., help="A file that `backup` wrote."),
    database_url: str | None = typer.Option(None, help="An empty database; `sqlite` for a file in the new home."),
    verify: bool = typer.Option(False, "--verify", help="Also recompute the log and hold everything against it."),
    digest: str = typer.Option("", help="The digest that `backup` printed."),
    as_json: bool = JSON,
) -> None:
    """Make a hub of a backup, in a --home that is not there yet; whole, or not at all."""
    from hub.backup.service import restore as make

    made = make(file, home(context), database_url=database_url, verify=verify, digest=digest, progress=_tell)
    show_one(
        {
            "home": str(home(context).path),
            "log_size": made.log_size,
            "log_root": made.log_root,
            "blobs": made.blobs,
            "verified": made.verified,
            "missing": made.missing,
        },
        as_json=as_json,
    )
    if made.missing:
        typer.echo(f"put {' and '.join(made.missing)} into the home before you serve", err=True)


def _log_key(place: Home, settings: Settings) -> NoteKey:
    """The public half of the log's key."""
    from alliance.checkpoint import NoteKey
    from hub.pki.service import load_log_key

    key = load_log_key(place.log_key_file, place.passphrase(settings)).public_key()
    return NoteKey(name=f"{settings.alliance_name}/log", public_key=key)


def _tell(step: str) -> None:
    """Progress, for a person at a terminal."""
    if sys.stderr.isatty():
        print(f"\r{step:<60.60}", end="", file=sys.stderr, flush=True)
