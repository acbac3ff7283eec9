"""The main job of an alliance, played from invitations to a verified log by the command lines of hub and agents.

Two groups share two banks: titles go to members with products or listings, photos to those with pictures, and the
regulator is in neither. Nothing here reads a member's home or speaks the protocol: what a member knows, its own agent
prints. Only the scoring, at the end, and the model of pooled rows (`pooled`) put together what no single party could.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from alliance.errors import Unavailable
from demo.agent_cli import Agent, read_matches
from demo.at_the_hub import look
from demo.hub_cli import Hub
from demo.processes import Children
from demo.result import Learnt, Log, Member, Outcome, Screening
from demo.scoring import Pair, score_images, score_text
from demo.steps import Step, Steps
from demo.world import PHOTOS, TITLES, Training, World

_SCHEMES: Final = {TITLES: "terms-v1", PHOTOS: "pdq-256"}
# Each published title keeps its best listing only: one candidate a product for the marketplace to look at.
_ONE_EACH: Final = ("--per-fingerprint", "1")
# As many members found the alliance, and admit each other member, as `alliance-hub init` takes by default.
_FOUNDERS: Final = 2
_ROUNDS_SECONDS, _PAUSE_SECONDS = 120.0, 0.5
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """A hub and its members' agents; screenings write their results to the folder `results`."""

    world: World
    hub: Hub
    agents: Sequence[Agent]
    children: Children
    steps: Steps
    results: Path

    def side_by_side(self, title: str, jobs: Sequence[Callable[[], T]], told: Callable[[list[T]], str]) -> list[T]:
        """One step of several jobs, as many at a time as there are cores; `told` says what came of it."""
        with self.steps.step(title, len(jobs)) as step:

            def counted(job: Callable[[], T]) -> T:
                done = job()
                step.advance()
                return done

            done = self.children.together([partial(counted, job) for job in jobs])
            step.outcome = told(done)
        return done


def play(cast: Cast) -> Outcome:
    """Plays everything; hub and daemons are up when it returns. Raises: AllianceError."""
    _found(cast)
    _enrol(cast)
    published = _publish(cast)
    screenings = _screen(cast, published)
    learnt = _learn(cast)
    log = _verify(cast)
    return _judge(cast, published, screenings, learnt, log)


def _found(cast: Cast) -> None:
    hub = cast.hub
    with cast.steps.step("hub: certificate authority, database, service") as step:
        fingerprint = hub.init()
        cast.children.together([hub.serve])
        step.outcome = f"on {hub.address()}, CA {fingerprint[:17]}..."
    with cast.steps.step("hub: sharing groups and their banks") as step:
        for bank, scheme in _SCHEMES.items():
            hub.create_group(bank)
            hub.create_bank(bank, group=bank, scheme=scheme)
        step.outcome = ", ".join(f"banks/{bank} ({scheme})" for bank, scheme in _SCHEMES.items())


def _enrol(cast: Cast) -> None:
    """Members join with codes of their own, the first two admit the others, and all daemons get their groups' keys."""

    def enrol(agent: Agent) -> tuple[str, str]:
        fingerprint = agent.join(cast.hub.invite(agent.name, agent.plan.role))
        for group in agent.plan.groups:
            cast.hub.add_to_group(group, agent.name)
        return agent.name, fingerprint

    founders, others = cast.agents[:_FOUNDERS], cast.agents[_FOUNDERS:]
    founding = [partial(enrol, agent) for agent in founders]
    cast.side_by_side("members found it, by invitation", founding, lambda done: " and ".join(name for name, _ in done))
    joining = [partial(enrol, agent) for agent in others]
    newcomers = cast.side_by_side("others join by invitation", joining, lambda done: f"{len(done)} members")
    admitting = [partial(founder.admit, dict(newcomers)) for founder in founders]
    cast.side_by_side(
        "founders compare fingerprints and admit them",
        admitting,
        lambda done: f"{len(newcomers)} admissions, {len(done)} signatures each",
    )
    cast.children.together([agent.run for agent in cast.agents])
    waits = [agent.wait_for_keys for agent in cast.agents]
    cast.side_by_side("agents connect and exchange group keys", waits, lambda done: f"{len(done)} daemons, mutual TLS")
    cast.children.check()


def _publish(cast: Cast) -> dict[str, int]:
    """Members import their own files and publish fingerprints of them. Returns how many are in each bank."""
    with_data = [agent for agent in cast.agents if agent.plan.catalogue or agent.plan.photos]
    cast.side_by_side(
        "members import their own products",
        [agent.import_all for agent in with_data],
        lambda rows: f"{sum(rows):,} rows and pictures",
    )
    published = cast.side_by_side(
        "members publish sealed fingerprints",
        [agent.publish_all for agent in with_data],
        lambda done: f"{sum(sum(one.values()) for one in done):,} fingerprints",
    )
    total: Counter[str] = Counter()
    for by_bank in published:
        total.update(by_bank)
    return dict(total)


def _screen(cast: Cast, published: dict[str, int]) -> list[Screening]:
    """Marketplaces fetch the banks they share and screen their own listings, on their own machines."""
    work = [(agent, TITLES, agent.plan.listings) for agent in cast.agents if agent.plan.listings]
    work += [(agent, PHOTOS, agent.plan.offers) for agent in cast.agents if agent.plan.offers]
    syncs = [partial(agent.sync, bank, published[bank]) for agent, bank, _ in work]
    cast.side_by_side("marketplaces sync the banks they share", syncs, lambda rows: f"{sum(rows):,} fingerprints")

    def screen(agent: Agent, bank: str, table: Path) -> Screening:
        file = cast.results / f"{agent.name}-{bank}.jsonl"
        done = agent.screen(table, file, bank, *(_ONE_EACH if bank == TITLES else ()))
        return Screening(
            member=agent.name,
            bank=bank,
            listings=done["listings"],
            matches=done["matches"],
            pairs=done["candidates"],
            file=file,
        )

    screenings = cast.side_by_side(
        "marketplaces screen their listings, at home",
        [partial(screen, *one) for one in work],
        lambda done: f"{sum(one.listings for one in done):,} listings",
    )
    marketplaces = {agent.name: agent for agent, _, _ in work}
    cast.side_by_side(
        "marketplaces report hits, in buckets",
        [agent.send_waiting for agent in marketplaces.values()],
        lambda done: f"by {len(done)} marketplaces",
    )
    return screenings


def _learn(cast: Cast) -> list[Learnt]:
    """Members propose and join detectors, the hub runs their rounds by schedule, and each member sees its gain.

    Beside it, as only the demo can, stands a model of all their rows in one place.
    """
    agents = {agent.name: agent for agent in cast.agents}
    trainings = cast.world.trainings
    takers = [(agents[name], training) for training in trainings for name in training.files]

    def propose(training: Training) -> None:
        agents[next(iter(training.files))].propose(training)
        cast.hub.approve(training.detector)

    def join() -> int:
        cast.children.together([partial(propose, training) for training in trainings])
        return len(cast.children.together([partial(agent.train_with, training) for agent, training in takers]))

    names = ", ".join(training.detector for training in trainings)
    with cast.steps.step("members propose and join detectors") as step:
        step.outcome = f"{names}: {join()} consents"
    with cast.steps.step("members train by schedule", sum(training.rounds for training in trainings)) as step:
        cast.children.together([partial(_run_rounds, cast.hub, training, step) for training in trainings])
        step.outcome = f"{sum(training.rounds for training in trainings)} rounds"
    gains = cast.side_by_side(
        "members look at what they gained",
        [partial(agent.gain, training) for agent, training in takers],
        lambda found: f"{sum(one.federated > one.local for one in found)} of {len(found)} results better than alone",
    )
    by_taker = {(training.detector, agent.name): gain for (agent, training), gain in zip(takers, gains, strict=True)}
    with cast.steps.step("demo only: all members' rows in one place") as step:
        reached = {training.detector: _pooled(cast.children, training) for training in trainings}
        step.outcome = ", ".join(f"{name} {figure:.3f}" for name, figure in reached.items()) + ", for comparison"
    return [
        Learnt(
            detector=training.detector,
            source=training.source,
            rounds=training.rounds,
            metric=training.metric,
            gains={name: by_taker[training.detector, name] for name in training.files},
            pooled=reached[training.detector],
        )
        for training in trainings
    ]


def _pooled(children: Children, training: Training) -> float:
    """What a model of all members' rows in one place reaches, by a process that is the demo's own."""
    wanted = ("--detector", training.detector, "--metric", training.metric, "--rounds", str(training.rounds))
    how = ("--columns", ",".join(training.columns), "--settings", ",".join(training.settings))
    rows = ("--rows", *map(str, training.files.values()))
    return float(children.ask("pooled", "demo.pooled", *wanted, *how, *rows)["pooled"])


def _run_rounds(hub: Hub, training: Training, step: Step) -> None:
    """Schedules a detector's rounds and follows each to its release."""
    hub.schedule(training.detector, rounds=training.rounds, quorum=len(training.files))
    until = time.monotonic() + _ROUNDS_SECONDS
    followed = 0
    while followed < training.rounds:
        numbers = hub.rounds(training.detector)[followed:]
        if not numbers and time.monotonic() > until:
            raise Unavailable(f"a round of {training.detector} did not start", remedy="see the log of the hub")
        for number in numbers:
            hub.watch(training.detector, number, partial(step.now, training.detector))
            step.advance()
            followed += 1
        if not numbers:
            time.sleep(_PAUSE_SECONDS)


def _verify(cast: Cast) -> Log:
    """The regulator recomputes the log of every exchange."""
    with cast.steps.step("regulator verifies the log") as step:
        (regulator,) = (agent for agent in cast.agents if agent.plan.role == "regulator")
        seen = regulator.verify_log()
        step.outcome = f"{seen['size']:,} entries, root {seen['root'][:16]}..."
    return Log(size=seen["size"], verified=seen["verified"], root=seen["root"])


def _judge(
    cast: Cast, published: dict[str, int], screenings: Sequence[Screening], learnt: Sequence[Learnt], log: Log
) -> Outcome:
    """Asks each member what left it and what its fingerprints are of, scores the matches, looks at the hub's disk."""
    world = cast.world
    sent = cast.side_by_side(
        "members sum up what left them",
        [agent.egress for agent in cast.agents],
        lambda all_of_them: f"{sum(sum(one.values()) for one in all_of_them):,} bytes",
    )
    publishers = [(agent, bank) for agent in cast.agents for bank, _ in agent.sources()]
    own = cast.side_by_side(
        "publishers look up the products behind matches",
        [partial(agent.published, bank) for agent, bank in publishers],
        lambda found: f"{sum(map(len, found)):,} fingerprints",
    )
    products = {one.fingerprint: one.product for rows in own for one in rows}

    def pairs(bank: str, member: str) -> list[Pair]:
        files = [one.file for one in screenings if (one.bank, one.member) == (bank, member)]
        return [Pair(products[match.fingerprint], match.listing) for file in files for match in read_matches(file)]

    with cast.steps.step("scoring against what is known to be true") as step:
        text = score_text(pairs(TITLES, world.scored), world.true_pairs)
        images = score_images(pairs(PHOTOS, world.scored), world.copies)
        step.outcome = f"{len(world.true_pairs):,} true pairs, {len(world.copies):,} pictures"
    with cast.steps.step("looking for titles on the hub's disk") as step:
        at_the_hub = look(cast.hub.home, world.titles)
        step.outcome = f"{at_the_hub.found} of {at_the_hub.sought} found in {at_the_hub.size:,} bytes"
    return Outcome(
        generated=world.generated,
        source=world.source,
        members=[
            Member(name=agent.name, role=agent.plan.role, holds=agent.plan.holds, sent=by_type)
            for agent, by_type in zip(cast.agents, sent, strict=True)
        ],
        published=published,
        screenings=screenings,
        text=text,
        images=images,
        matched=sum(one.matched for rows in own for one in rows),
        learnt=learnt,
        log=log,
        at_the_hub=at_the_hub,
        seconds=cast.steps.seconds,
    )
