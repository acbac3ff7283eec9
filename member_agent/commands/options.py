"""What the commands share: the home, and JSON output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from member_agent.config import Home, Settings

JSON = typer.Option(False, "--json", help="Machine-readable output.")
BANK = typer.Option("", help="NAME or banks/NAME; needed where this member has several.")


def home(context: typer.Context) -> Home:
    from member_agent.config import Home

    return Home(path=context.obj["home"])


def chosen(passphrase_file: Path | None, passphrase_keyring: str, pkcs11_uri: str, proxy: str) -> Settings:
    """What the options of `join` and `recover` say. Raises: InvalidInput for two sources of one passphrase."""
    from alliance.errors import InvalidInput
    from member_agent.config import Settings

    if passphrase_file and passphrase_keyring:
        raise InvalidInput("beside --passphrase-file", field="--passphrase-keyring", remedy="give one of them")
    return Settings(
        keys_passphrase_file=passphrase_file.resolve() if passphrase_file else Settings().keys_passphrase_file,
        keys_keyring=passphrase_keyring,
        keys_pkcs11_uri=pkcs11_uri,
        hub_proxy=proxy,
    )
