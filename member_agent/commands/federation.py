"""detector, uplift: federated training as a member sees it; its rounds are in `rounds`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from alliance.output import show, show_one
from member_agent.commands.options import JSON, home

if TYPE_CHECKING:
    from alliance.v1 import federation_pb2 as pb

detector = typer.Typer(no_args_is_help=True, help="Propose, join and leave shared detectors.")
NAME = typer.Argument(..., help="NAME or detectors/NAME.")


@detector.command("installed")
def installed_code(as_json: bool = JSON) -> None:
    """List the detector code installed here: all that this agent can ever train."""
    from member_agent.training.detector import installed, load

    rows: list[dict[str, object]] = []
    for name in installed():
        found = load(name)
        settings = dict(found.settings)
        rows.append({"code": name, "columns": list(found.roles(settings)), "metrics": list(found.metrics)})
    show(rows, as_json=as_json)


@detector.command("list")
def list_detectors(context: typer.Context, as_json: bool = JSON) -> None:
    """List the detectors of this member's groups, which it trains, and which of its models are held here."""
    from alliance.v1 import federation_pb2 as pb
    from member_agent.app import open_agent

    with open_agent(home(context)) as agent, agent.connect() as hub:
        found = hub.pages(pb.ListDetectorsRequest(), pb.ListDetectorsResponse, lambda page: page.detectors)
        held = {one.detector: one.label for one in agent.models.held()}
        show([{**_row(one), "held": held.get(one.name, "")} for one in found], as_json=as_json)


@detector.command("propose")
def propose(
    context: typer.Context,
    name: str = NAME,
    group: str = typer.Option(..., help="The sharing group that trains it."),
    code: str = typer.Option(..., help='Installed detector code; see "detector installed".'),
    strategy: str = typer.Option("fed_avg", help="fed_avg, fed_prox, fed_adam, fed_yogi or fed_adagrad."),
    setting: list[str] = typer.Option([], help="NAME=NUMBER of the detector's code; may be repeated."),
    strategy_setting: list[str] = typer.Option([], help="NAME=NUMBER of the strategy; may be repeated."),
    max_examples: int = typer.Option(1_000_000, min=1, help="Most examples one member counts for."),
    max_update_norm: float = typer.Option(0.0, min=0.0, help="Greatest distance of an update; 0 is no bound."),
    as_json: bool = JSON,
) -> None:
    """Propose a detector; an operator approves it, each member joins it itself."""
    import uuid

    from alliance.names import group_id, qualified
    from alliance.v1 import federation_pb2 as pb
    from member_agent.app import open_agent
    from member_agent.training.detector import KEY_EPOCH, Keyed, load, settle

    chosen, sharing_group = load(code), qualified("groups", group)
    given = _numbers(setting, "--setting")
    settled = settle(chosen, given)
    spec = pb.DetectorSpec(
        code=code,
        arrays=[pb.ArraySpec(name=a.name, dtype=a.dtype, shape=a.shape) for a in chosen.specs(settled)],
        metrics=chosen.metrics,
        aggregation=_strategy(strategy),
        aggregation_settings=_settings(_numbers(strategy_setting, "--strategy-setting")),
        max_examples=max_examples,
        max_update_norm=max_update_norm,
    )
    with open_agent(home(context)) as agent, agent.connect() as hub:
        if isinstance(chosen, Keyed):
            given[KEY_EPOCH] = agent.keyring.current(hub, group_id(sharing_group)).epoch
        spec.train_settings.extend(_settings(given))
        request = pb.ProposeDetectorRequest(
            request_id=str(uuid.uuid4()),
            name=qualified("detectors", name),
            group=sharing_group,
            spec=spec,
        )
        show_one(_row(hub.call(request, pb.ProposeDetectorResponse).detector), as_json=as_json)


@detector.command("join")
def join(
    context: typer.Context,
    name: str = NAME,
    data: Path = typer.Option(..., help="This member's rows: CSV or TSV; they stay here."),
    column: list[str] = typer.Option([], help="ROLE=COLUMN, such as url=link or label=is_fake; may be repeated."),
    as_json: bool = JSON,
) -> None:
    """Consent to train a detector on a file of this member's, with the code installed here."""
    import secrets
    import uuid

    from alliance.errors import InvalidInput, NotFound
    from alliance.names import group_id, qualified
    from alliance.v1 import federation_pb2 as pb
    from member_agent.app import open_agent
    from member_agent.training import consents
    from member_agent.training.consents import Consent
    from member_agent.training.detector import load, settle

    wanted = qualified("detectors", name)
    if not data.is_file():
        raise NotFound(f"no file {data}", field="--data", remedy="check the path")
    columns = dict(_pair(text, "--column") for text in column)
    with open_agent(home(context)) as agent, agent.connect() as hub:
        listed = hub.pages(pb.ListDetectorsRequest(), pb.ListDetectorsResponse, lambda page: page.detectors)
        found = next((one for one in listed if one.name == wanted), None)
        if found is None:
            raise NotFound(f"no {wanted} in this member's groups", reason="DETECTOR_NOT_FOUND", field="name")
        chosen = load(found.spec.code)
        settings = settle(chosen, {one.name: one.value for one in found.spec.train_settings})
        missing = [role for role in chosen.roles(settings) if role not in columns]
        if missing:
            raise InvalidInput(
                f"no column for {', '.join(missing)}",
                reason="COLUMN_UNSAID",
                field="--column",
                remedy=f"name each: --column {missing[0]}=COLUMN",
            )
        # The member's own file and seed first: consent that the hub knows of can always be acted on.
        consent = Consent(
            detector=wanted,
            group=group_id(found.group),
            code=found.spec.code,
            path=data.resolve(),
            columns=columns,
            seed=secrets.randbelow(2**31),
        )
        with agent.db.write() as tx:
            consents.save_consent(tx, consent)
        request = pb.JoinDetectorRequest(request_id=str(uuid.uuid4()), name=wanted)
        show_one(_row(hub.call(request, pb.JoinDetectorResponse).detector), as_json=as_json)


@detector.command("leave")
def leave(context: typer.Context, name: str = NAME, as_json: bool = JSON) -> None:
    """Take the consent back, and drop the model; a round in progress goes on without this member."""
    import uuid

    from alliance.names import qualified
    from alliance.v1 import federation_pb2 as pb
    from member_agent.app import open_agent
    from member_agent.training import consents

    wanted = qualified("detectors", name)
    with open_agent(home(context)) as agent, agent.connect() as hub:
        request = pb.LeaveDetectorRequest(request_id=str(uuid.uuid4()), name=wanted)
        left = hub.call(request, pb.LeaveDetectorResponse).detector
        with agent.db.write() as tx:
            consents.remove_consent(tx, wanted)
        agent.models.forget(wanted)
    show_one(_row(left), as_json=as_json)


def uplift(
    context: typer.Context,
    name: str = typer.Option("", "--detector", help="Only this detector."),
    history: bool = typer.Option(False, "--history", help="Every round, not only the newest."),
    as_json: bool = JSON,
) -> None:
    """What this member gains: the shared model, its own and the blend of both, on its own held-back rows."""
    from alliance.gains import gain
    from alliance.names import qualified
    from member_agent.app import open_agent
    from member_agent.training import consents

    wanted = qualified("detectors", name) if name else ""
    with open_agent(home(context)) as agent, agent.db.read() as tx:
        found = consents.results(tx, detector=wanted, newest_only=not history)
    rows: list[dict[str, object]] = [
        {
            "detector": one.detector,
            "round": one.number,
            "metric": one.metric,
            "local": round(one.local, 4),
            "federated": round(one.federated, 4),
            "blended": None if one.blended is None else round(one.blended, 4),
            "uplift": round(gain(one.metric, one.federated, one.local), 4),
            "rows": one.examples,
        }
        for one in found
    ]
    show(rows, as_json=as_json)


def _row(one: pb.Detector) -> dict[str, object]:
    from alliance.v1 import federation_pb2 as pb

    return {
        "detector": one.name,
        "group": one.group,
        "code": one.spec.code,
        "state": pb.DetectorState.Name(one.state).removeprefix("DETECTOR_STATE_").lower(),
        "joined": one.joined,
        "version": one.model_version,
    }


def _strategy(text: str) -> str:
    from alliance.errors import InvalidInput
    from alliance.v1 import federation_pb2 as pb

    wanted = f"STRATEGY_{text.upper()}"
    if wanted not in pb.Strategy.keys():  # noqa: SIM118  # because an enum wrapper is no mapping
        known = ", ".join(name.removeprefix("STRATEGY_").lower() for name in pb.Strategy.keys()[1:])
        raise InvalidInput(f"unknown strategy {text!r}", field="--strategy", remedy=f"use one of {known}")
    return wanted


def _settings(numbers: dict[str, float]) -> list[pb.Setting]:
    from alliance.v1 import federation_pb2 as pb

    return [pb.Setting(name=name, value=value) for name, value in numbers.items()]


def _numbers(texts: list[str], field: str) -> dict[str, float]:
    from alliance.errors import InvalidInput

    found: dict[str, float] = {}
    for text in texts:
        name, value = _pair(text, field)
        try:
            found[name] = float(value)
        except ValueError as error:
            raise InvalidInput(f"{value!r} is not a number", field=field, remedy="write NAME=NUMBER") from error
    return found


def _pair(text: str, field: str) -> tuple[str, str]:
    from alliance.errors import InvalidInput

    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise InvalidInput(f"{text!r} is not NAME=VALUE", field=field, remedy="write NAME=VALUE")
    return name.strip(), value.strip()
