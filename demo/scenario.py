"""The main job of an alliance, played from invitations to a verified log by the command lines of hub and agents.

Two groups share two banks: titles go to members with products or listings, photos to those with pictures, and the
regulator is in neither. Nothing here reads a member's home or speaks the protocol: what a member knows, its own agent
prints. Only the scoring, at the end, puts together what no single party could.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from demo.agent_cli import Agent, read_matches
from demo.at_the_hub import look
from demo.hub_cli import Hub
from demo.processes import Children
from demo.result import Log, Member, Outcome, Screening
from demo.scoring import Pair, score_images, score_text
from demo.steps import Steps
from demo.world import World

TITLES: Final = "titles"
PHOTOS: Final = "photos"
_SCHEMES: Final = {TITLES: "terms-v1", PHOTOS: "pdq-256"}
# Each published title keeps its best listing only: one candidate a product for the marketplace to look at.
_ONE_EACH: Final = ("--per-fingerprint", "1")
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
    log = _verify(cast)
    return _judge(cast, published, screenings, log)


def _found(cast: Cast) -> None:
    hub = cast.hub
    with cast.steps.step("hub: certificate authority, database, service") as step:
        fingerprint = hub.init()
        hub.serve()
        step.outcome = f"on {hub.address()}, CA {fingerprint[:17]}..."
    with cast.steps.step("hub: sharing groups and their banks") as step:
        for bank, scheme in _SCHEMES.items():
            hub.create_group(bank)
            hub.create_bank(bank, group=bank, scheme=scheme)
        step.outcome = ", ".join(f"banks/{bank} ({scheme})" for bank, scheme in _SCHEMES.items())


def _enrol(cast: Cast) -> None:
    """Every member joins with a code of its own, is added to its groups, and its daemon gets their keys."""

    def enrol(agent: Agent) -> None:
        agent.join(cast.hub.invite(agent.name, agent.plan.role))
        for group in _groups(agent):
            cast.hub.add_to_group(group, agent.name)

    jobs = [partial(enrol, agent) for agent in cast.agents]
    cast.side_by_side("members join by invitation", jobs, lambda done: f"{len(done)} members")
    for agent in cast.agents:
        agent.run()
    waits = [agent.wait_for_keys for agent in cast.agents]
    cast.side_by_side("agents connect and exchange group keys", waits, lambda done: f"{len(done)} daemons, mutual TLS")
    cast.children.check()


def _groups(agent: Agent) -> list[str]:
    return [TITLES] * agent.plan.shares_titles + [PHOTOS] * agent.plan.shares_photos


def _publish(cast: Cast) -> dict[str, int]:
    """Members import their own files and publish fingerprints of them. Returns how many are in each bank."""
    with_products = [(agent, agent.plan.catalogue) for agent in cast.agents if agent.plan.catalogue]
    with_photos = [(agent, agent.plan.photos) for agent in cast.agents if agent.plan.photos]
    imports = [partial(agent.import_catalogue, table) for agent, table in with_products]
    imports += [partial(agent.import_photos, folder) for agent, folder in with_photos]
    cast.side_by_side("members import their own products", imports, lambda rows: f"{sum(rows):,} rows and pictures")

    banks = [TITLES] * len(with_products) + [PHOTOS] * len(with_photos)
    jobs = [partial(agent.publish, TITLES, "products") for agent, _ in with_products]
    jobs += [partial(agent.publish, PHOTOS, "photos") for agent, _ in with_photos]
    rows = cast.side_by_side("members publish sealed fingerprints", jobs, lambda rows: f"{sum(rows):,} fingerprints")
    total: Counter[str] = Counter()
    for bank, count in zip(banks, rows, strict=True):
        total[bank] += count
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

    jobs = [partial(screen, *one) for one in work]
    return cast.side_by_side(
        "marketplaces screen their listings", jobs, lambda done: f"{sum(one.listings for one in done):,} listings"
    )


def _verify(cast: Cast) -> Log:
    """The regulator recomputes the log of every exchange."""
    with cast.steps.step("regulator verifies the log") as step:
        (regulator,) = (agent for agent in cast.agents if agent.plan.role == "regulator")
        seen = regulator.verify_log()
        step.outcome = f"{seen['size']:,} entries, root {seen['root'][:16]}..."
    return Log(size=seen["size"], verified=seen["verified"], root=seen["root"])


def _judge(cast: Cast, published: dict[str, int], screenings: Sequence[Screening], log: Log) -> Outcome:
    """Puts together what the parties found, asks each what left it, and looks at the hub's disk."""
    world = cast.world
    with cast.steps.step("scoring against what is known to be true") as step:
        titles = _pairs(cast, [one for one in screenings if one.bank == TITLES and one.member == world.scored])
        pictures = _pairs(cast, [one for one in screenings if one.bank == PHOTOS])
        text, images = score_text(titles, world.true_pairs), score_images(pictures, world.copies)
        step.outcome = f"{len(world.true_pairs):,} true pairs, {len(world.copies):,} pictures"
    sent = cast.side_by_side(
        "agents sum up what left them",
        [agent.egress for agent in cast.agents],
        lambda all_of_them: f"{sum(sum(one.values()) for one in all_of_them):,} bytes",
    )
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
        log=log,
        at_the_hub=at_the_hub,
        seconds=cast.steps.seconds,
    )


def _pairs(cast: Cast, screenings: Sequence[Screening]) -> list[Pair]:
    """Matches by the publishers' own product keys; each publisher knows only what is behind its own fingerprints."""
    banks = {one.bank for one in screenings}
    products: dict[str, str] = {}
    for agent in cast.agents:
        for bank in banks & set(_groups(agent)):
            products |= agent.published(bank)
    return [Pair(products[match.fingerprint], match.listing) for one in screenings for match in read_matches(one.file)]
