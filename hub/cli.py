"""The command line of the hub. Nothing heavy is imported here, so that `--help` answers at once."""

from __future__ import annotations

from pathlib import Path

import typer

from hub.commands import server, upkeep
from hub.commands.approvals import approval
from hub.commands.audit import audit
from hub.commands.banks import bank
from hub.commands.ca import ca
from hub.commands.context import Options
from hub.commands.federation import detector, round_, schedule
from hub.commands.members import group, member
from hub.commands.models import model
from hub.commands.operators import operator
from hub.commands.policy import policy

app = typer.Typer(
    name="alliance-hub",
    help="The hub of an anti-counterfeiting alliance: coordinates members, holds nothing it could read.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def options(
    context: typer.Context,
    home: Path | None = typer.Option(None, help="The hub's folder. [env: ALLIANCE_HUB_HOME]"),
    kit: Path | None = typer.Option(None, help="An operator's kit. [env: ALLIANCE_OPERATOR_KIT]"),
    hub: str = typer.Option("", help="The hub's address, where the kit does not know it."),
) -> None:
    context.obj = Options(home=home, kit=kit, hub=hub)


app.command("init")(server.init)
app.command("serve")(server.serve)
app.command("migrate")(server.migrate)
app.command("fsck")(upkeep.fsck)
app.command("backup")(upkeep.backup)
app.command("restore")(upkeep.restore)
app.command("doctor")(server.doctor)
app.command("demo")(server.demo)
app.add_typer(server.config, name="config")
app.add_typer(member, name="member")
app.add_typer(group, name="group")
app.add_typer(operator, name="operator")
app.add_typer(approval, name="approval")
app.add_typer(policy, name="policy")
app.add_typer(bank, name="bank")
app.add_typer(detector, name="detector")
app.add_typer(model, name="model")
app.add_typer(schedule, name="schedule")
app.add_typer(round_, name="round")
app.add_typer(ca, name="ca")
app.add_typer(audit, name="audit")
