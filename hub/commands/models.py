"""model: which model of a detector members screen with."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import typer

from alliance.output import show, show_one
from hub.commands.context import JSON, client

if TYPE_CHECKING:
    from alliance.v1 import federation_pb2 as pb

model = typer.Typer(no_args_is_help=True, help="List a detector's models; say which one members screen with.")
DETECTOR = typer.Argument(..., help="NAME or detectors/NAME.")


class Release(StrEnum):
    AUTOMATIC = "automatic"
    BY_PROMOTION = "by-promotion"

    @property
    def wire(self) -> str:
        """As the contract names it."""
        return f"MODEL_RELEASE_{self.replace('-', '_').upper()}"


@model.command("list")
def list_models(context: typer.Context, detector: str = DETECTOR, as_json: bool = JSON) -> None:
    """List the models that rounds made of a detector, newest first."""
    from alliance.names import qualified
    from alliance.v1 import federation_pb2 as pb

    request = pb.ListModelsRequest(detector=qualified("detectors", detector))
    with client(context) as hub:
        found = hub.pages(request, pb.ListModelsResponse, lambda page: page.models)
        show([_row(one) for one in found], as_json=as_json)


@model.command("promote")
def promote(
    context: typer.Context,
    detector: str = DETECTOR,
    version: int = typer.Argument(..., min=0, help="As `model list` shows it; 0 withdraws what is released."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    as_json: bool = JSON,
) -> None:
    """Release a model that is held, or an earlier one again; a round that goes on from a later one is cancelled."""
    from alliance.names import qualified
    from alliance.v1 import federation_pb2 as pb
    from hub.commands.approvals import decided

    name = qualified("detectors", detector)
    if not yes:
        typer.confirm(f"members screen with version {version} of {name} from now on: promote?", abort=True, err=True)
    with client(context) as hub:
        request = pb.PromoteModelRequest(detector=name, version=version)
        show_one(_row(decided(hub, request, pb.PromoteModelResponse).model), as_json=as_json)


@model.command("release")
def release(context: typer.Context, detector: str = DETECTOR, how: Release = typer.Argument(...)) -> None:
    """Say whether the end of a detector's round releases its model, or a promotion does."""
    from alliance.names import qualified
    from alliance.v1 import federation_pb2 as pb
    from hub.commands.approvals import decided

    with client(context) as hub:
        request = pb.SetModelReleaseRequest(detector=qualified("detectors", detector), release=how.wire)
        changed = decided(hub, request, pb.SetModelReleaseResponse).detector
    typer.echo(f"{changed.name} releases its models {how.replace('-', ' ')}")


def _row(one: pb.Model) -> dict[str, object]:
    return {
        "version": one.version,
        "released": one.released,
        "round": one.round,
        "trained_from": one.trained_from if one.round else "",
        "next_round_starts_here": one.next_start,
        "time": one.create_time.ToJsonString(),
        "bytes": one.size,
        "digest": one.digest.hex(),
    }
