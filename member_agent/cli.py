"""The command line of the agent. Nothing heavy is imported here, so that `--help` answers at once."""

from __future__ import annotations

from pathlib import Path

import typer

from member_agent.catalog.commands import app as catalog
from member_agent.commands import agent, sharing
from member_agent.commands.audit import audit
from member_agent.commands.egress import egress
from member_agent.commands.federation import detector, uplift
from member_agent.commands.identity import agents, identity, recover
from member_agent.commands.members import member
from member_agent.commands.rounds import round_
from member_agent.commands.screening import screen
from member_agent.commands.service import service
from member_agent.config import home_of

app = typer.Typer(
    name="alliance-agent",
    help="A member's agent: keeps its data here, shares sealed fingerprints, screens its listings.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def options(
    context: typer.Context,
    home: Path | None = typer.Option(None, help="The agent's folder. [env: ALLIANCE_AGENT_HOME]"),
) -> None:
    context.obj = {"home": home_of(home).path}


app.command("join")(agent.join)
app.command("run")(agent.run)
app.command("status")(agent.status)
app.command("banks")(agent.banks)
app.command("publish")(sharing.publish)
app.command("withdraw")(sharing.withdraw)
app.command("published")(sharing.published)
app.command("sync")(sharing.sync)
app.command("screen")(screen)
app.command("uplift")(uplift)
app.command("renew")(agent.renew)
app.command("leave")(agent.leave)
app.command("recover")(recover)
app.command("doctor")(agent.doctor)
app.add_typer(catalog, name="catalog")
app.add_typer(detector, name="detector")
app.add_typer(round_, name="round")
app.add_typer(identity, name="identity")
app.add_typer(agents, name="agents")
app.add_typer(member, name="member")
app.add_typer(egress, name="egress")
app.add_typer(audit, name="audit")
app.add_typer(agent.config, name="config")
app.add_typer(service, name="service")
