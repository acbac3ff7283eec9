"""round: list and follow the federated rounds of this member's detectors."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import typer

from alliance.output import plain, show
from member_agent.commands.options import JSON, home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alliance.v1 import federation_pb2 as pb
    from member_agent.app import Agent
    from member_agent.hub_client import HubClient
    from member_agent.training.progress import Progress

round_ = typer.Typer(no_args_is_help=True, help="List and follow the rounds of this member's detectors.")
WATCH_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
PAGE = 20
INTERRUPTED = 130


@round_.command("list")
def list_rounds(
    context: typer.Context,
    detector: str = typer.Option("", "--detector", help="Only rounds of this detector."),
    last: int = typer.Option(20, min=1, help="How many of the newest."),
    as_json: bool = JSON,
) -> None:
    """List rounds, newest first, with this member's own slot."""
    from itertools import islice

    from alliance.names import qualified
    from alliance.v1 import federation_pb2 as pb
    from member_agent.app import open_agent

    wanted = qualified("detectors", detector) if detector else ""
    with open_agent(home(context)) as agent, agent.connect() as hub:
        found = hub.pages(pb.ListRoundsRequest(detector=wanted), pb.ListRoundsResponse, lambda page: page.rounds)
        show([_row(one) for one in islice(found, last)], as_json=as_json)


@round_.command("watch")
def watch(
    context: typer.Context,
    number: int | None = typer.Argument(
        None, help="As the list shows it; by default the newest that is open, else the next to start."
    ),
    detector: str = typer.Option("", "--detector", help="Only rounds of this detector."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object per change."),
) -> None:
    """Follow a round until it ends, a line per change; exit 1 if it was not released."""
    from alliance.names import qualified
    from member_agent.app import open_agent

    wanted = qualified("detectors", detector) if detector else ""
    shown = _Lines(as_json=as_json)
    try:
        with open_agent(home(context)) as agent, agent.connect() as hub:
            first = _chosen(hub, wanted, number, shown)
            ended = _follow(agent, hub, first, shown)
    except KeyboardInterrupt:
        shown.close()
        raise typer.Exit(INTERRUPTED) from None
    shown.close()
    if not as_json and ended.metrics:
        show(ended.figures(), as_json=False)
    if ended.state != "released":
        raise typer.Exit(1)


class _Lines:
    """What is printed: a line for each change; on a terminal the last one tells the time as it goes."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._live = sys.stdout.isatty() and not as_json
        self._before: Progress | None = None

    def tell(self, now: Progress) -> None:
        changed = not now.same_as(self._before)
        if self._as_json:
            if changed:
                print(json.dumps(now.row()), flush=True)
        elif self._live:
            end = "\n" if changed and self._before is not None else ""
            print(f"{end}\r\033[K{plain(now.line())}", end="", flush=True)
        elif changed:
            print(plain(now.line()), flush=True)
        self._before = now

    def wait(self) -> None:
        if self._live:
            print("\r\033[Kno round is open; waiting for the next", end="", flush=True)

    def close(self) -> None:
        if self._live:
            print(flush=True)


def _chosen(hub: HubClient, detector: str, number: int | None, shown: _Lines) -> pb.Round:
    """The round of that number; else the newest open one, else the next. Raises: NotFound."""
    from alliance.errors import NotFound
    from alliance.v1 import federation_pb2 as pb
    from member_agent.training.progress import ENDED

    if number is not None:
        found = _find(hub, detector, f"rounds/{number}")
        if found is None:
            raise NotFound(
                f"no rounds/{number} of a detector this member joined",
                reason="ROUND_NOT_FOUND",
                remedy='see "alliance-agent round list"',
            )
        return found
    known = ""
    everything: Iterator[pb.Round] = hub.pages(
        pb.ListRoundsRequest(detector=detector), pb.ListRoundsResponse, lambda page: page.rounds
    )
    for one in everything:
        if _state(one) not in ENDED:
            return one
        known = known or one.name
    while True:
        shown.wait()
        time.sleep(WATCH_SECONDS)
        newest = hub.call(pb.ListRoundsRequest(detector=detector, page_size=1), pb.ListRoundsResponse).rounds
        if newest and newest[0].name != known:
            return newest[0]


def _follow(agent: Agent, hub: HubClient, found: pb.Round, shown: _Lines) -> Progress:
    """Tells of the round until it has ended. Raises: Unavailable, once the hub has not answered for a minute."""
    from alliance.errors import Unavailable
    from member_agent.clock import utc_now
    from member_agent.training import consents
    from member_agent.training.progress import progress

    now: Progress | None = None
    answered = time.monotonic()
    while True:
        with agent.db.read() as tx:
            own = consents.of_round(tx, found.name)
        now = progress(found, now, now=utc_now(), own=own)
        shown.tell(now)
        if now.ended:
            return now
        time.sleep(WATCH_SECONDS)
        try:
            found = _find(hub, found.detector, found.name) or found
            answered = time.monotonic()
        except Unavailable:
            if time.monotonic() - answered > PATIENCE_SECONDS:
                raise


def _find(hub: HubClient, detector: str, name: str) -> pb.Round | None:
    """Looks at the newest rounds first, among which an open one is."""
    from alliance.v1 import federation_pb2 as pb

    request = pb.ListRoundsRequest(detector=detector, page_size=PAGE)
    while True:
        page = hub.call(request, pb.ListRoundsResponse)
        for one in page.rounds:
            if one.name == name:
                return one
        if not page.next_page_token:
            return None
        request.page_token = page.next_page_token


def _row(one: pb.Round) -> dict[str, object]:
    from alliance.v1 import federation_pb2 as pb

    mine = one.participants[0] if one.participants else None
    return {
        "round": one.name,
        "detector": one.detector,
        "number": one.number,
        "state": _state(one),
        "slot": pb.ParticipantState.Name(mine.state).removeprefix("PARTICIPANT_STATE_").lower() if mine else "",
        "reason": (mine.reason if mine else "") or one.reason,
    }


def _state(one: pb.Round) -> str:
    from alliance.v1 import federation_pb2 as pb

    return pb.RoundState.Name(one.state).removeprefix("ROUND_STATE_").lower()
