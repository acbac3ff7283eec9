"""Looks at a hub's home as an operator would: check, problem, remedy."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509

from alliance.errors import AllianceError
from hub.config import Home, Settings
from hub.runtime.clock import utc_now

if TYPE_CHECKING:
    from hub.pki.service import PkiService

EXPIRES_SOON = dt.timedelta(days=30)
CA_EXPIRES_SOON = dt.timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """An empty problem means it is well."""

    check: str
    problem: str = ""
    remedy: str = ""


def examine(home: Home) -> Iterator[Check]:
    """Each check stands alone; settings that cannot be read end the examination."""
    try:
        settings, _ = home.load()
    except AllianceError as error:
        yield Check(check="settings", problem=error.message, remedy=error.remedy)
        return
    yield Check(check="settings")
    checks: tuple[tuple[str, Callable[[Home, Settings], Check | None]], ...] = (
        ("secret files", _secrets),
        ("keys open", _keys),
        ("database", _database),
        ("ca certificate", _ca),
        ("operator kits", _kits),
        ("listening", _listening),
    )
    for name, check in checks:
        try:
            yield check(home, settings) or Check(check=name)
        except AllianceError as error:
            yield Check(check=name, problem=error.message, remedy=error.remedy)
        except (OSError, ValueError) as error:
            yield Check(check=name, problem=str(error), remedy="restore the file from a backup")


def _secrets(home: Home, settings: Settings) -> Check | None:
    from hub.pki.service import KEY_FILES

    files = [home.ca / name for name in KEY_FILES]
    if not settings.keys_credential and not settings.keys_keyring:
        files.append(home.passphrase_file(settings))
    for file in files:
        if file.stat().st_mode & 0o077:
            return Check(check="secret files", problem=f"{file.name} is readable by others", remedy=f"chmod 600 {file}")
    return None


def _keys(home: Home, settings: Settings) -> None:
    from hub.pki.service import load_log_key

    load_log_key(home.log_key_file, home.passphrase(settings))
    _pki(home, settings)


def _pki(home: Home, settings: Settings) -> PkiService:
    from hub.pki.service import PkiService

    return PkiService(
        home.ca,
        alliance=settings.alliance_name,
        clock=utc_now,
        server=dt.timedelta(hours=settings.server_certificate_hours),
        phrase=home.passphrase(settings),
    )


def _ca(home: Home, settings: Settings) -> Check | None:
    from hub.migrations import require_current
    from hub.pki import model
    from hub.runtime.db import Database

    pki, db = _pki(home, settings), Database(home.database_url(settings))
    active = model.active(pki.initial)
    try:
        # What is wrong with the database, the check before this one says.
        with suppress(AllianceError):
            require_current(db)
            with db.read() as tx:
                active = model.active(pki.authorities(tx))
    finally:
        db.close()
    for what, certificate in (("root", active.anchor_certificate), ("issuer", active.issuer_certificate)):
        left = certificate.not_valid_after_utc - utc_now()
        if left < CA_EXPIRES_SOON:
            return Check(
                check="ca certificate",
                problem=f"the {what} expires in {left.days} days",
                remedy='run "alliance-hub ca rotate", or "ca request" where the root is offline',
            )
    return None


def _database(home: Home, settings: Settings) -> None:
    from hub.migrations import require_current
    from hub.runtime.db import Database

    db = Database(home.database_url(settings))
    try:
        require_current(db)
    finally:
        db.close()


def _kits(home: Home, settings: Settings) -> Check | None:
    for kit in sorted(home.operator.glob("*")):
        certificate = x509.load_pem_x509_certificate((kit / "certificate.pem").read_bytes())
        left = certificate.not_valid_after_utc - utc_now()
        if left < EXPIRES_SOON:
            return Check(
                check="operator kits",
                problem=f"{kit.name}'s certificate expires in {left.days} days",
                remedy=f'run "alliance-hub operator add {kit.name} --role ... --out ..." as an admin',
            )
    return None


def _listening(home: Home, settings: Settings) -> Check | None:
    from alliance import channel
    from hub.operator_client import open_client

    if not home.addresses_file.exists():
        return Check(check="listening", problem="the hub was never started", remedy='run "alliance-hub serve"')
    client = open_client(home)
    try:
        if not channel.ready(client.channel, 3.0):
            return Check(check="listening", problem=f"no answer at {client.address}", remedy='run "alliance-hub serve"')
    finally:
        client.close()
    return None
