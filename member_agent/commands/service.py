"""service: run the agent under systemd."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from member_agent.commands.options import home

if TYPE_CHECKING:
    from member_agent.config import Home, Settings

service = typer.Typer(no_args_is_help=True, help="Run the agent as a system service.")
# What ProtectHome= hides.
HOMES = ("/home", "/root", "/run/user")
UNIT = """\
[Unit]
Description=Anti-counterfeiting alliance agent
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart={command}
User={user}
Restart=on-failure
RestartSec=5
# Where the hub lies the agent has stopped, and is not to go on by itself.
RestartPreventExitStatus={stays_down}
# The agent reads its own home and the network, nothing else.
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome={protect_home}
ReadWritePaths={home}
PrivateTmp=yes
PrivateDevices={private_devices}
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
LockPersonality=yes
UMask=0077
{limits}{custody}
[Install]
WantedBy=multi-user.target
"""


@service.command("install")
def install(
    context: typer.Context,
    unit: Path = typer.Option(Path("/etc/systemd/system/alliance-agent.service"), help="Where the unit is written."),
    user: str = typer.Option("", help="The user it runs as; by default the one who calls this."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print the unit, write nothing."),
) -> None:
    """Write a hardened systemd unit with the configured CPU and memory caps."""
    from alliance.errors import Corrupt, NotAuthenticated, NotPermitted

    place = home(context)
    settings, _ = place.load()
    installed = shutil.which("alliance-agent")
    program = [installed] if installed else [sys.executable, "-m", "member_agent"]
    command = [*program, "--home", str(place.path.resolve()), "run"]
    limits = f"CPUQuota={100 * settings.limits_cpus}%\n" if settings.limits_cpus else ""
    limits += f"MemoryMax={settings.limits_memory_mb}M\n" if settings.limits_memory_mb else ""
    credentials, files = _custody(place, settings)
    custody = "".join(f"LoadCredentialEncrypted={name}\n" for name in credentials)
    stays_down = str(Corrupt.exit_code)
    if settings.keys_pkcs11_uri:
        # Starting again with a PIN that was refused would lock the token.
        stays_down += f" {NotAuthenticated.exit_code}"
    used = (place.path.resolve(), Path(command[0]).resolve(), *files)
    text = UNIT.format(
        # Only a command line has variables.
        command=" ".join(_quoted(word).replace("$", "$$") for word in command),
        home=_quoted(place.path.resolve()),
        user=user or os.environ.get("SUDO_USER") or os.environ.get("USER") or "root",
        protect_home="no" if any(path.is_relative_to(home) for path in used for home in HOMES) else "yes",
        private_devices="no" if settings.keys_pkcs11_uri else "yes",
        stays_down=stays_down,
        limits=limits,
        custody=custody,
    )
    if settings.keys_keyring:
        typer.echo("a service has no keyring: set keys.credential instead of keys.keyring before it starts", err=True)
    if dry_run:
        typer.echo(text, nl=False)
        return
    try:
        unit.write_text(text)
    except OSError as error:
        raise NotPermitted(
            f"cannot write {unit}: {error.strerror}", field="--unit", remedy="run as root, or name another --unit"
        ) from error
    typer.echo(f"wrote {unit}; now: systemctl daemon-reload && systemctl enable --now {unit.stem}")


def _custody(place: Home, settings: Settings) -> tuple[list[str], list[Path]]:
    """The credentials that systemd is to pass, and the files with secrets that the service reads."""
    from member_agent import token_uri

    credentials = [settings.keys_credential] if settings.keys_credential else []
    own = not settings.keys_credential and not settings.keys_keyring
    files = [place.passphrase_file(settings).resolve()] if own else []
    if settings.keys_pkcs11_uri:
        token = token_uri.parse(settings.keys_pkcs11_uri)
        credentials += [token.credential] if token.credential else []
        files += [] if token.credential else [token.pin_file().resolve()]
    return credentials, files


def _quoted(word: str | Path) -> str:
    """As systemd reads it: spaces do not split, % stands for itself."""
    escaped = str(word).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if " " in escaped or escaped != str(word) else escaped
