"""Makes a new hub: CA, database, settings, the first admin's certificate. All of it, or nothing."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from alliance import settings as settings_format
from alliance import tls
from alliance.errors import AlreadyExists
from alliance.names import OperatorId, slug
from hub.config import Home, Settings
from hub.membership.model import ConsoleRole


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHub:
    home: Path
    ca_fingerprint: str
    operator: OperatorId


def initialise(home: Home, settings: Settings, operator: OperatorId, *, offline_root: Path | None = None) -> NewHub:
    """Builds the home beside its place and moves it there last, so that a broken init leaves none.

    Args:
        offline_root: a folder for the root of trust, made too; the hub gets an intermediate only.

    Raises: AlreadyExists, InvalidInput.
    """
    from hub.pki import offline
    from hub.pki import service as pki

    settings.validate()
    if home.path.exists() and any(home.path.iterdir()):
        raise AlreadyExists(
            f"{home.path} is not empty",
            reason="HOME_EXISTS",
            remedy='choose another --home, or use the hub that is there ("alliance-hub serve")',
        )
    fresh_root = offline_root is not None and not offline_root.exists()
    partial = Home(path=home.path.with_name(home.path.name + ".partial"))
    shutil.rmtree(partial.path, ignore_errors=True)
    partial.path.mkdir(parents=True, mode=0o700)
    try:
        from hub.runtime.clock import utc_now

        # A passphrase file that was named must be there; our own is made.
        named = settings.keys_passphrase_file.is_absolute() or bool(settings.keys_credential)
        phrase = partial.passphrase(settings, create=not named)
        root = offline.create(offline_root, settings.alliance_name, utc_now()) if offline_root else None
        ca = pki.create(partial.ca, settings.alliance_name, utc_now(), phrase=phrase, root=root)
        _migrate(partial, settings)
        partial.settings_file.write_text(settings_format.to_toml(settings))
        _first_admin(partial, settings, operator)
        if home.path.exists():
            home.path.rmdir()
        partial.path.rename(home.path)
    except BaseException:
        shutil.rmtree(partial.path, ignore_errors=True)
        if fresh_root and offline_root:
            shutil.rmtree(offline_root, ignore_errors=True)
        raise
    return NewHub(home=home.path, ca_fingerprint=tls.fingerprint(ca), operator=operator)


def _migrate(home: Home, settings: Settings) -> None:
    from hub.migrations import migrate
    from hub.runtime.db import Database

    db = Database(home.database_url(settings))
    try:
        migrate(db)
    finally:
        db.close()


def _first_admin(home: Home, settings: Settings, operator: OperatorId) -> None:
    from hub.app import open_services

    key = tls.new_channel_key()
    with open_services(home, settings) as services, services.db.write() as tx:
        services.admissions.found(tx, settings.membership_admission_cosigners)
        chain = services.enrolment.issue_operator(tx, "init", operator, ConsoleRole.ADMIN, tls.certificate_request(key))
        ca = services.pki.ca.public_bytes(serialization.Encoding.PEM)
    write_kit(home.operator / slug(operator), key=tls.private_pem(key), chain=tls.chain_pem(chain), ca=ca, hub="")


def write_kit(folder: Path, *, key: bytes, chain: bytes, ca: bytes, hub: str) -> None:
    """An operator's kit: what `alliance-hub` needs to speak to the hub as that operator, also from elsewhere."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "key.pem").touch(mode=0o600)
    (folder / "key.pem").write_bytes(key)
    (folder / "certificate.pem").write_bytes(chain)
    (folder / "ca.pem").write_bytes(ca)
    if hub:
        (folder / "hub.json").write_text(json.dumps({"hub": hub}))


def with_changes(settings: Settings, **changes: object) -> Settings:
    """Settings with the options a person gave; None means not given."""
    return dataclasses.replace(settings, **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]  # because the values' types are the options' own
