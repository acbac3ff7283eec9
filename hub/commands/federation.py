"""detector, schedule, round: federated training as the operator runs it."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import typer

from alliance.output import show, show_one
from hub.commands.context import JSON, client
from hub.commands.models import Release

if TYPE_CHECKING:
    from alliance.v1 import federation_pb2 as pb

detector = typer.Typer(no_args_is_help=True, help="List and approve detectors that members proposed.")
schedule = typer.Typer(no_args_is_help=True, help="Run rounds by the clock.")
round_ = typer.Typer(no_args_is_help=True, help="Start, follow and cancel federated rounds.")
DETECTOR = typer.Option(..., "--detector", help="NAME or detectors/NAME.")
QUORUM = typer.Option(5, help="Fewest members a round is worth having with.")
DEADLINE = typer.Option(3600, help="Seconds each phase may take; who is later is dropped.")
ROUNDS = typer.Option(1, help="How many rounds follow each other.")
WATCH_SECONDS = 0.2
INTERRUPTED = 130


@detector.command("list")
def list_detectors(context: typer.Context, as_json: bool = JSON) -> None:
    """List detectors with their state, consents and model version."""
    from alliance.v1 import federation_pb2 as pb

    with client(context) as hub:
        found = hub.pages(pb.ListDetectorsRequest(), pb.ListDetectorsResponse, lambda page: page.detectors)
        show([_detector_row(one) for one in found], as_json=as_json)


@detector.command("approve")
def approve(
    context: typer.Context,
    name: str,
    release: Release = typer.Option(
        Release.AUTOMATIC, help="What releases its models: the end of a round, or a promotion."
    ),
    as_json: bool = JSON,
) -> None:
    """Let a proposed detector be trained, by members that join it."""
    from alliance.v1 import federation_pb2 as pb

    with client(context) as hub:
        request = pb.ApproveDetectorRequest(name=_qualified("detectors", name), release=release.wire)
        show_one(_detector_row(hub.call(request, pb.ApproveDetectorResponse).detector), as_json=as_json)


@schedule.command("create")
def create_schedule(
    context: typer.Context,
    name: str,
    detector_name: str = DETECTOR,
    every: int = typer.Option(..., help="Seconds between starts."),
    rounds: int = ROUNDS,
    quorum: int = QUORUM,
    deadline: int = DEADLINE,
    as_json: bool = JSON,
) -> None:
    """Start rounds of a detector again and again, the first time now."""
    from alliance.v1 import federation_pb2 as pb

    wanted = pb.Schedule(
        name=_qualified("schedules", name),
        detector=_qualified("detectors", detector_name),
        interval_seconds=every,
        rounds=rounds,
        quorum=quorum,
        deadline_seconds=deadline,
    )
    with client(context) as hub:
        made = hub.call(pb.CreateScheduleRequest(schedule=wanted), pb.CreateScheduleResponse).schedule
        show_one(_schedule_row(made), as_json=as_json)


@schedule.command("list")
def list_schedules(context: typer.Context, as_json: bool = JSON) -> None:
    """List schedules with their next time."""
    from alliance.v1 import federation_pb2 as pb

    with client(context) as hub:
        found = hub.pages(pb.ListSchedulesRequest(), pb.ListSchedulesResponse, lambda page: page.schedules)
        show([_schedule_row(one) for one in found], as_json=as_json)


@schedule.command("pause")
def pause(context: typer.Context, name: str, as_json: bool = JSON) -> None:
    """Hold a schedule back; rounds in progress go on."""
    from alliance.v1 import federation_pb2 as pb

    with client(context) as hub:
        request = pb.PauseScheduleRequest(name=_qualified("schedules", name))
        show_one(_schedule_row(hub.call(request, pb.PauseScheduleResponse).schedule), as_json=as_json)


@schedule.command("resume")
def resume(context: typer.Context, name: str, as_json: bool = JSON) -> None:
    """Let a schedule go on; what was due meanwhile is not made up."""
    from alliance.v1 import federation_pb2 as pb

    with client(context) as hub:
        request = pb.ResumeScheduleRequest(name=_qualified("schedules", name))
        show_one(_schedule_row(hub.call(request, pb.ResumeScheduleResponse).schedule), as_json=as_json)


@round_.command("trigger")
def trigger(
    context: typer.Context,
    detector_name: str = DETECTOR,
    rounds: int = ROUNDS,
    quorum: int = QUORUM,
    deadline: int = DEADLINE,
    as_json: bool = JSON,
) -> None:
    """Start rounds now."""
    from alliance.v1 import federation_pb2 as pb

    with client(context) as hub:
        request = pb.TriggerRoundRequest(
            detector=_qualified("detectors", detector_name), rounds=rounds, quorum=quorum, deadline_seconds=deadline
        )
        show_one(_round_row(hub.call(request, pb.TriggerRoundResponse).round), as_json=as_json)


@round_.command("cancel")
def cancel(context: typer.Context, number: int, as_json: bool = JSON) -> None:
    """Cancel a round that has not ended."""
    from alliance.v1 import federation_pb2 as pb

    with client(context) as hub:
        request = pb.CancelRoundRequest(name=f"rounds/{number}")
        show_one(_round_row(hub.call(request, pb.CancelRoundResponse).round), as_json=as_json)


@round_.command("list")
def list_rounds(
    context: typer.Context,
    detector_name: str = typer.Option("", "--detector", help="Only rounds of this detector."),
    last: int = typer.Option(20, min=1, help="How many of the newest."),
    as_json: bool = JSON,
) -> None:
    """List rounds, newest first."""
    from itertools import islice

    from alliance.v1 import federation_pb2 as pb

    wanted = _qualified("detectors", detector_name) if detector_name else ""
    with client(context) as hub:
        found = hub.pages(pb.ListRoundsRequest(detector=wanted), pb.ListRoundsResponse, lambda page: page.rounds)
        show([_round_row(one) for one in islice(found, last)], as_json=as_json)


@round_.command("show")
def show_round(context: typer.Context, number: int, as_json: bool = JSON) -> None:
    """Show one round: slots with their reasons, metrics without names."""
    from alliance.v1 import federation_pb2 as pb

    with client(context) as hub:
        found = hub.call(pb.GetRoundRequest(name=f"rounds/{number}"), pb.GetRoundResponse).round
    row = _round_row(found)
    slots: list[dict[str, object]] = [
        {"member": p.member, "state": _slot_state(p), "reason": p.reason} for p in found.participants
    ]
    metrics = [_metric_row(one) for one in found.metrics]
    if as_json:
        show_one({**row, "participants": slots, "metrics": metrics}, as_json=True)
        return
    show_one(row, as_json=False)
    for rows in (slots, metrics):
        if rows:
            typer.echo("")
            show(rows, as_json=False)


@round_.command("watch")
def watch(
    context: typer.Context,
    number: int,
    as_json: bool = typer.Option(False, "--json", help="One JSON object per change."),
) -> None:
    """Follow a round until it ends, a line per change; exit 1 if it did not release."""
    from alliance.v1 import federation_pb2 as pb

    ended = (pb.ROUND_STATE_RELEASED, pb.ROUND_STATE_FAILED, pb.ROUND_STATE_CANCELLED)
    before = ""
    try:
        with client(context) as hub:
            while True:
                found = hub.call(pb.GetRoundRequest(name=f"rounds/{number}"), pb.GetRoundResponse).round
                line = _progress(found, as_json=as_json)
                if line != before:
                    typer.echo(line)
                    sys.stdout.flush()
                    before = line
                if found.state in ended:
                    break
                time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(0 if found.state == pb.ROUND_STATE_RELEASED else 1)


def _progress(found: pb.Round, *, as_json: bool) -> str:
    import json
    from collections import Counter

    counted = Counter(_slot_state(p) for p in found.participants)
    row = _round_row(found)
    if as_json:
        slots = dict(sorted(counted.items()))
        return json.dumps({**row, "slots": slots, "metrics": [_metric_row(one) for one in found.metrics]})
    told = ", ".join(f"{count} {state}" for state, count in sorted(counted.items()))
    tail = f": {found.reason}" if found.reason else ""
    return f"{found.name} {row['state']}{f' ({told})' if told else ''}{tail}"


def _qualified(collection: str, name: str) -> str:
    from alliance.names import qualified

    return qualified(collection, name)


def _slot_state(one: pb.Participant) -> str:
    from alliance.v1 import federation_pb2 as pb

    return pb.ParticipantState.Name(one.state).removeprefix("PARTICIPANT_STATE_").lower()


def _detector_row(one: pb.Detector) -> dict[str, object]:
    from alliance.v1 import federation_pb2 as pb

    return {
        "detector": one.name,
        "group": one.group,
        "code": one.spec.code,
        "strategy": pb.Strategy.Name(one.spec.aggregation).removeprefix("STRATEGY_").lower(),
        "state": pb.DetectorState.Name(one.state).removeprefix("DETECTOR_STATE_").lower(),
        "proposer": one.proposer,
        "consents": one.consents,
        "version": one.model_version,
        "release": pb.ModelRelease.Name(one.release).removeprefix("MODEL_RELEASE_").lower(),
        "newest": one.newest_version,
    }


def _schedule_row(one: pb.Schedule) -> dict[str, object]:
    return {
        "schedule": one.name,
        "detector": one.detector,
        "every": one.interval_seconds,
        "rounds": one.rounds,
        "quorum": one.quorum,
        "deadline": one.deadline_seconds,
        "paused": one.paused,
        "next": one.next_time.ToJsonString(),
    }


def _round_row(one: pb.Round) -> dict[str, object]:
    from alliance.v1 import federation_pb2 as pb

    return {
        "round": one.name,
        "detector": one.detector,
        "number": one.number,
        "state": pb.RoundState.Name(one.state).removeprefix("ROUND_STATE_").lower(),
        "started": one.create_time.ToJsonString(),
        "ended": one.end_time.ToJsonString() if one.HasField("end_time") else "",
        "reason": one.reason,
    }


def _metric_row(one: pb.MetricSummary) -> dict[str, object]:
    return {
        "metric": one.name,
        "members": one.members,
        "federated_mean": round(one.federated_mean, 4),
        "federated_least": round(one.federated_least, 4),
        "local_mean": round(one.local_mean, 4),
        "members_not_worse": one.members_not_worse,
    }
