"""`alliance-hub demo`: lays a world out in a temporary folder, plays it, shows the result, cleans up.

However it ends, its processes end with it and its folder is removed; only after a failure the logs stay, and the error
says where.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from demo import generated_data, real_data, report, result
from demo.agent_cli import Agent
from demo.hub_cli import Hub
from demo.processes import Children
from demo.scenario import Cast, play
from demo.steps import Steps
from demo.world import World

_PLAIN_WIDTH = 110
_LOOK_SECONDS = 1.0


def run(*, data: Path | None, stop: bool, json_file: Path | None) -> int:
    """Runs the demo.

    Args:
        data: the folder of real data sets; None for generated data.
        stop: stop when the result is shown, rather than at Ctrl-C.
        json_file: where the result is written too.

    Returns:
        The exit status, 0: the figures are for the reader to judge.

    Raises:
        AllianceError: wrong arguments, a missing extra, or a process that failed.
        KeyboardInterrupt: stopped before there was a result.
    """
    target = result.writable(json_file) if json_file else None
    out, steps = _console(stderr=False), Steps(_console(stderr=True))
    with _handling(_interrupt), _stage() as (place, children):
        world = _lay_out(data, place / "files", steps)
        hub = Hub(home=place / "hub", children=children)
        agents = [Agent(plan=plan, home=place / "agents" / plan.name, children=children) for plan in world.members]
        cast = Cast(world=world, hub=hub, agents=agents, children=children, steps=steps, results=place / "results")
        outcome = play(cast)
        report.show(outcome, out)
        if target is not None:
            result.write(outcome, target)
            out.print(f"result written to {target}", markup=False, soft_wrap=True)
        if not stop:
            report.show_around(hub, place, out)
            _stay_up(children)
    return 0


def _lay_out(data: Path | None, folder: Path, steps: Steps) -> World:
    title = "real data, split among the members" if data else "GENERATED data for the members"
    with steps.step(title) as step:
        world = real_data.lay_out(data.resolve(), folder) if data else generated_data.lay_out(folder)
        step.outcome = f"{len(world.titles):,} products, {len(world.copies):,} altered pictures"
    return world


def _stay_up(children: Children) -> None:
    """Returns at Ctrl-C. Raises: AllianceError when a process has ended by itself."""
    try:
        while True:
            children.check()
            threading.Event().wait(_LOOK_SECONDS)
    except KeyboardInterrupt:
        return


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=_PLAIN_WIDTH)


@contextmanager
def _stage() -> Iterator[tuple[Path, Children]]:
    """A temporary folder and the processes that work in it; both go in the end, but for the logs after a failure."""
    place = Path(tempfile.mkdtemp(prefix="alliance-demo-"))
    children = Children(place)
    failed = False
    try:
        yield place, children
    except Exception:
        failed = True
        raise
    finally:
        with _handling(signal.SIG_IGN):
            children.stop()
            for path in place.iterdir():
                if not (failed and path == children.logs and any(path.iterdir())):
                    shutil.rmtree(path)
            if not any(place.iterdir()):
                place.rmdir()


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> Iterator[None]:
    """Handles requests to end like this while its body runs; signals reach the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(name, signal.signal(name, handler)) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    try:
        yield
    finally:
        for name, handled in before:
            signal.signal(name, handled)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
