"""service: run the agent under systemd."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import typer

from member_agent.commands.options import home

service = typer.Typer(no_args_is_help=True, help="Run the agent as a system service.")
UNIT = """\
[Unit]
Description=Anti-counterfeiting alliance agent
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart={command} --home {home} run
User={user}
Restart=on-failure
RestartSec=5
# The agent reads its own home and the network, nothing else.
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome={protect_home}
ReadWritePaths={home}
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
LockPersonality=yes
UMask=0077
{limits}
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
    from alliance.errors import NotPermitted

    place = home(context)
    settings, _ = place.load()
    command = shutil.which("alliance-agent") or f"{sys.executable} -m member_agent"
    limits = f"CPUQuota={100 * settings.limits_cpus}%\n" if settings.limits_cpus else ""
    limits += f"MemoryMax={settings.limits_memory_mb}M\n" if settings.limits_memory_mb else ""
    text = UNIT.format(
        command=command,
        home=place.path.resolve(),
        user=user or os.environ.get("SUDO_USER") or os.environ.get("USER") or "root",
        protect_home="no" if place.path.resolve().is_relative_to("/home") else "yes",
        limits=limits,
    )
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
