"""Writes the pages of docs/reference that say what the code says: `python scripts/reference.py [--check]`.

Command lines come from the typer apps, settings from the dataclasses, the contract from the protos, what may leave
from `member_agent.egress`. `--check` writes nothing and exits with 1 where a page is not what would be written.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import click
import typer

from alliance import output

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "reference"
NOTE = "<!-- Written by scripts/reference.py; change the code or that script, then run it. -->"

EXITS = """\
Every error is one line on standard error with its reason, and an exit code: [exit-codes.md](exit-codes.md)."""
HUB_INTRO = f"""\
`init`, `serve`, `migrate`, `config`, `doctor` and `demo` work on this machine. Every other command is a client of the
running hub with an operator's certificate: that of `--kit`, or the only one in the hub's home. {EXITS}"""
AGENT_INTRO = f"""\
All commands work on one agent's home: that of `--home`, else of `ALLIANCE_AGENT_HOME`. {EXITS}"""

SETTINGS_INTRO = """\
A value comes from, in rising order: its default, a TOML file in the program's home, an environment variable.
`server.address` is `address` in the table `[server]`. An unknown key or a wrong type is an error that names it.
Secrets are never settings; where one is needed, the setting is the path of its file. `config check` reads the settings
as the program would, `config show --origin` prints each with where it came from."""
HUB_SETTINGS = {
    "alliance_name": "The alliance's name: the trust domain of every certificate. It cannot be changed after `init`.",
    "server_address": "Where agents and operators connect (mutual TLS).",
    "server_enrolment_address": "Where members enrol (no client certificate).",
    "server_public_address": "What agents are told to dial, where it differs from `server.address`.",
    "server_public_enrolment_address": "The enrolment address in join codes, where it differs.",
    "server_names": "DNS names and IP addresses in the hub's certificate, separated by commas.",
    "server_workers": "Threads that run service calls; the database pool has two connections more.",
    "server_certificate_hours": "Life of the hub's own certificate; it is made anew at two thirds, with no restart.",
    "database_url": "`postgresql+psycopg://...`; empty is SQLite in the home.",
    "metrics_address": "Where Prometheus metrics are served, in plain HTTP; empty serves none.",
    "keys_passphrase_file": "File (mode 600) with the passphrase of `ca.key` and `log.key`; relative to the home.",
    "keys_credential": "Name of a systemd credential that holds it instead (`LoadCredentialEncrypted=`).",
    "keys_keyring": "`SERVICE/NAME` of the entry of the system's keyring that holds it instead.",
    "log_level": "debug, info, warning or error.",
    "membership_invitation_hours": "Life of an invitation that does not say its own. Until a policy says.",
    "membership_admission_cosigners": "How many members sign another's admission; `init` fixes it in the log.",
    "membership_certificate_hours": "Life of an agent's channel certificate, renewed at 2/3. Until a policy says.",
    "membership_certificate_record_days": "How long the hub knows a certificate after its end; a day at least.",
    "ca_overlap_hours": "How long a new authority is announced, and the least time the old one is trusted after.",
    "approvals_two_admins": "Whether two admins are needed: auto, always or never. Until a policy says.",
    "federation_least_quorum": "Rounds with a lower quorum are not started. Until a policy says.",
    "fingerprints_strictest_ceiling": "No bank may hold a stricter TLP label. Until a policy says.",
    "limits_calls_per_second": "Calls of one member or operator, at each hub process; ten times that at once.",
    "limits_enrolment_calls_per_second": "Calls from one network address where nobody is known yet. 0 is no limit.",
    "limits_streams": "Streams that one member may have open at once. 0 is no limit.",
    "limits_megabytes_per_second": "Bytes of one member to and from the hub; what is more waits. 0 is no limit.",
    "limits_pending_megabytes": "MiB that a member may have at the hub unfinished or unpublished, each file counted as "
    "one at least. 0 is no limit.",
    "limits_pending_hours": "How long such an upload is kept after its last byte.",
    "fingerprints_segment_entries": "Entries of a bank after which its tail is packed into a segment.",
    "fingerprints_segment_bytes": "Sealed bytes after which it is.",
}
AGENT_SETTINGS = {
    "hub_address": "Where the hub is; written by `join`.",
    "hub_enrolment_address": "Where an agent comes back by its member's identity; written by `join`.",
    "hub_alliance": "Written by `join`.",
    "hub_member": "Written by `join`.",
    "hub_agent": "Written by `join`.",
    "hub_role": "Written by `join`.",
    "hub_log_key": "The key that signs the audit log's heads, pinned by `join`; hexadecimal.",
    "hub_proxy": "`http://host:port` of an HTTP CONNECT proxy; empty follows the environment.",
    "keys_rotate_days": "Days after which this agent starts a group's next key; 0 only when a member goes.",
    "keys_passphrase_file": "File (mode 600) with the passphrase of `keys.sealed`; relative to the home.",
    "keys_credential": "Name of a systemd credential that holds it instead (`LoadCredentialEncrypted=`).",
    "keys_keyring": "`SERVICE/NAME` of the entry of the system's keyring that holds it instead.",
    "keys_pkcs11_uri": "The token that makes and keeps the channel key, from the next renewal; empty: `keys.sealed`.",
    "limits_cpus": "Processors the agent may use; 0 is all.",
    "limits_memory_mb": "MiB of private memory of each process of the agent; 0 is no limit.",
    "sync_seconds": "Longest pause between two passes of `run`; changes at the hub wake it at once.",
    "log_level": "debug, info, warning or error.",
}
VARIABLES = """\
## Other environment variables

| variable | read by | meaning |
|---|---|---|
| `ALLIANCE_HUB_HOME` | `alliance-hub` | home where `--home` is not given; default `~/.local/share/alliance-hub` |
| `ALLIANCE_OPERATOR_KIT` | `alliance-hub` | operator's kit where `--kit` is not given |
| `ALLIANCE_AGENT_HOME` | `alliance-agent` | home where `--home` is not given; default `~/.local/share/alliance-agent` |
| `grpc_proxy`, `https_proxy`, `http_proxy` | both | HTTP CONNECT proxy, the first that is set; `hub.proxy` goes first |
| `no_grpc_proxy`, `no_proxy` | both | hosts, by their endings, that are dialled directly |
| `ALLIANCE_DATA` | tests, `python -m bench` | folder of the real data sets |"""

CONTRACT_INTRO = """\
One file per service in `proto/alliance/v1`; messages and fields are described there. Who may call what, role by role:
[access.md](access.md). What every call has in common:

- **Identity** comes from the client certificate's SPIFFE URI, never from a field.
- **Mutations** carry a `request_id` (8 to 64 letters, digits, hyphens), unique per caller. For seven days, the same id
  with the same body gets the stored response; with another body, `REQUEST_ID_REUSED`. An upload needs none: its digest
  and offset make it idempotent.
- **Lists** take `page_size` (default 100, at most 1,000) and the `page_token` of the page before.
- **Errors** are a status with one `ErrorInfo{reason, domain: "alliance"}`, whose metadata may hold `remedy` and `row`,
  and a `BadRequest` where a field is at fault. Bytes that are no message get `INVALID_ARGUMENT`.
- **Versions**: clients name theirs in the metadata `alliance-client-version`; one too old gets `CLIENT_TOO_OLD`.
- **Limits**: a request has at most 4 MiB, its metadata 16 KiB, a chunk of a blob 1 MiB, a blob 64 MiB, a batch
  65,536 rows. A connection lives 30 minutes, plus 30 seconds to finish.
- **Unknown fields** are refused, wherever they stand: `UNKNOWN_FIELD`.

Besides, the main listener serves `grpc.health.v1` to whoever has a certificate, and reflection to console roles."""

EGRESS_INTRO = """\
The closed list of `member_agent/egress.py`: every message an agent can send, with every field it can have. A message or
field that is not here is refused before anything is sent, and so is a value that is not of its closed form: an id, a
resource name, a digest, a signature, a number within bounds. No field holds free text. The agent prints this list
itself: `alliance-agent egress types`. What the hub learns from it: [explanation/egress.md](../explanation/egress.md).

| message | kind in the ledger | fields |
|---|---|---|"""


def cli(title: str, app: typer.Typer, intro: str) -> str:
    """One page per program: every command with its arguments and options, as `--help` tells them."""
    output.plain_help()
    root = typer.main.get_command(app)
    lines = [f"# {title}", "", NOTE, "", intro, "", *_parameters(root)]
    for path, command in _commands(root, root.name or ""):
        lines += ["", f"## {path}", "", " ".join((command.help or "").split()), "", *_parameters(command)]
    return _page(lines)


def _commands(group: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in getattr(group, "commands", {}).items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _parameters(command: click.Command) -> list[str]:
    context, rows = click.Context(command), []
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in parameter.opts:
            rows.append(f"| `{_cell(record[0])}` | {_cell(record[1])} |")
    return ["| | |", "|---|---|", *rows] if rows else ["No options."]


def settings_page() -> str:
    """Raises: KeyError, where a setting has no words in this script."""
    from hub import config as hub
    from member_agent import config as agent

    lines = ["# Settings", "", NOTE, "", SETTINGS_INTRO]
    for program, module, told in (("Hub", hub, HUB_SETTINGS), ("Agent", agent, AGENT_SETTINGS)):
        lines += ["", f"## {program}: `{module.FILE}`", "", *_settings(module.Settings, module.ENV_PREFIX, told)]
    return _page([*lines, "", VARIABLES])


def _settings(cls: Any, prefix: str, told: dict[str, str]) -> Iterator[str]:
    types = get_type_hints(cls)
    yield "| setting | type | default | meaning |"
    yield "|---|---|---|---|"
    for field in dataclasses.fields(cls):
        setting = f"`{field.name.replace('_', '.', 1)}`<br>`{prefix}_{field.name.upper()}`"
        default = f"`{field.default}`" if str(field.default) else "empty"
        yield f"| {setting} | {types[field.name].__name__.lower()} | {default} | {told[field.name]} |"


def contract_page() -> str:
    lines = ["# The contract `alliance.v1`", "", NOTE, "", CONTRACT_INTRO]
    for proto in sorted((ROOT / "proto" / "alliance" / "v1").glob("*.proto")):
        lines += ["", *_service(proto)]
    return _page(lines)


def _service(proto: Path) -> list[str]:
    """The service of a file: its comment, then each RPC with what it does and its `Caller:` line."""
    streams = {(True, False): " (uploads a stream)", (False, True): " (streams)"}
    lines: list[str] = []
    said: list[str] = []
    for line in proto.read_text("utf-8").splitlines():
        if comment := re.match(r"\s*//\s?(.*)", line):
            said.append(comment[1])
            continue
        if service := re.match(r"service (\w+)", line):
            lines += [f"## {service[1]}", "", f"`{proto.relative_to(ROOT)}`. {' '.join(said)}", ""]
            lines += ["| RPC | who | what |", "|---|---|---|"]
        elif rpc := re.match(r"\s*rpc (\w+)\((stream )?\w+\) returns \((stream )?\w+\)", line):
            what, _, who = " ".join(said).partition("Caller: ")
            kind = streams.get((bool(rpc[2]), bool(rpc[3])), "")
            lines.append(f"| `{rpc[1]}`{kind} | {_cell(who.rstrip('.'))} | {_cell(what)} |")
        said = []
    return lines


def egress_page() -> str:
    from member_agent.egress import CLOSED_LIST

    lines = ["# What may leave a member", "", NOTE, "", EGRESS_INTRO]
    for name, entry in sorted(CLOSED_LIST.items(), key=lambda item: (not item[1].kind, item[0])):
        fields = ", ".join(f"`{field}`" for field in entry.fields) or "none"
        lines.append(f"| `{name}` | {entry.kind or '(part of another)'} | {fields} |")
    return _page(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _page(lines: list[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


def pages() -> dict[str, Callable[[], str]]:
    from hub.cli import app as hub
    from member_agent.cli import app as agent

    return {
        "cli-hub.md": lambda: cli("alliance-hub", hub, HUB_INTRO),
        "cli-agent.md": lambda: cli("alliance-agent", agent, AGENT_INTRO),
        "settings.md": settings_page,
        "contract.md": contract_page,
        "egress-list.md": egress_page,
    }


def main(arguments: list[str]) -> int:
    stale = []
    for name, written in pages().items():
        page, text = PAGES / name, written()
        if not page.exists() or page.read_text("utf-8") != text:
            stale.append(name)
            if "--check" not in arguments:
                page.write_text(text, "utf-8")
    if "--check" in arguments and stale:
        print(f"not what the code says: {', '.join(stale)}; run python scripts/reference.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
