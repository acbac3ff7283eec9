"""Screens a file of listings block by block: read, look up, hand on. Nothing leaves but bucketed hit counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from alliance import schemes
from alliance.errors import AllianceError
from member_agent.catalog.model import Listing, RowError
from member_agent.fingerprinting.decode import ImageDecoder
from member_agent.fingerprinting.image import Probe
from member_agent.fingerprinting.text import TextItem
from member_agent.screening.bank_index import ImageBank, Query, TextBank, TextLimits
from member_agent.screening.judging import Judgement, Model
from member_agent.screening.model import Candidate, Result, Summary, flagged, matched
from member_agent.sharing.contents import BankContents
from member_agent.sharing.keyring import Keyring

# A fingerprint keeps its best listings within a block; files up to this size are one block.
BLOCK = 100_000
# Problems named in a summary; the rest is counted.
MAX_PROBLEMS = 1000
# A model's score from which a listing is listed without a match: more likely a risk than not.
LEAST_RISK = 50


class Screener:
    """Banks in memory and the way to look listings up in them; models, and the way to ask them.

    Args:
        models: all of them are asked about every listing, whose `cells` have their columns.
        least_risk: the score, 0 to 100, from which a model lists a listing that no fingerprint matches.
    """

    def __init__(
        self,
        contents: Sequence[BankContents],
        keyring: Keyring,
        *,
        decoder: Callable[[], ImageDecoder],
        limits: TextLimits,
        models: Sequence[Model] = (),
        least_risk: int = LEAST_RISK,
    ) -> None:
        self._decoder = decoder
        self._limits = limits
        self._models, self._least_risk = models, least_risk
        self._labels = sorted({name for one in contents for name in one.brands()})
        self._texts = [TextBank(one, keyring) for one in contents if one.state.scheme == schemes.TERMS.id]
        self._images = [ImageBank(one) for one in contents if one.state.scheme == schemes.PDQ.id]
        problems = [problem for one in contents for problem in one.problems]
        problems += [problem for bank in self._texts for problem in bank.problems]
        self.summary = Summary(
            fingerprints=sum(int(one.alive().sum()) for one in contents),
            versions={one.state.id: one.version for one in contents},
            models={one.name: one.version for one in models},
            problems=tuple(problems[:MAX_PROBLEMS]),
            problem_count=len(problems),
        )

    def run(
        self, listings: Iterable[Listing | RowError], *, progress: Callable[[Summary], None] = lambda summary: None
    ) -> Iterator[Result]:
        """Results in file order of their listings; `summary` is right once all are drawn."""
        source = iter(listings)
        while block := list(islice(source, BLOCK)):
            yield from self._block(block)
            progress(self.summary)

    def _block(self, block: list[Listing | RowError]) -> Iterator[Result]:
        good = [one for one in block if isinstance(one, Listing)]
        wrong = [f"row {e.row}, {e.field}: {e.message} [{e.reason}]" for e in block if isinstance(e, RowError)]
        probes, images, bad_images = self._probes(good) if self._images else ({}, 0, [])
        queries = [
            Query(
                listing=one.id,
                row=one.row,
                item=TextItem(title=one.title, brand=one.brand, model=one.model),
                probes=tuple(probes.get(at, ())),
            )
            for at, one in enumerate(good)
        ]
        found = [c for texts in self._texts for c in texts.candidates(queries, self._limits)]
        found += [c for pictures in self._images for c in pictures.candidates(queries)]
        judgement = Judgement(self._models, good, self._labels)
        places = {one.row: at for at, one in enumerate(good)}
        risky = judgement.risky(self._least_risk)
        judged = judgement.judged(sorted({*risky, *(places[c.row] for c in found)}))
        results = [matched(c, judged[places[c.row]]) for c in found]
        without = set(risky) - {places[c.row] for c in found}
        results += [flagged(good[at].id, good[at].row, judged[at]) for at in without]
        results.sort(key=lambda one: (one.row, -(one.match_score or 0), one.bank, one.fingerprint))
        self._count(good, found, images, [*wrong, *bad_images], judgement, len(risky))
        yield from results

    def _count(
        self,
        good: Sequence[Listing],
        found: Sequence[Candidate],
        images: int,
        wrong: list[str],
        judgement: Judgement,
        risks: int,
    ) -> None:
        before = self.summary
        unscored, unscored_count = judgement.problems(MAX_PROBLEMS - len(before.problems) - len(wrong))
        self.summary = replace(
            before,
            listings=before.listings + len(good),
            matches=before.matches + len({(c.row, c.listing) for c in found}),
            candidates=before.candidates + len(found),
            scored=before.scored + sum(judgement.is_scored(at) for at in range(len(good))),
            risks=before.risks + risks,
            images=before.images + images,
            problems=(*before.problems, *wrong, *unscored)[:MAX_PROBLEMS],
            problem_count=before.problem_count + len(wrong) + unscored_count,
        )

    def _probes(self, listings: Sequence[Listing]) -> tuple[dict[int, list[Probe]], int, list[str]]:
        """The probes of every listing's pictures; a picture that cannot be used is a problem of its row."""
        places: list[tuple[int, Path]] = [(at, p) for at, one in enumerate(listings) for p in one.image_paths]
        probes: dict[int, list[Probe]] = {}
        problems: list[str] = []
        with self._decoder() as workers:
            results = workers.fingerprint_files([path for _, path in places], mode="probe")
            for (at, path), (_, result) in zip(places, results, strict=True):
                if isinstance(result, AllianceError):
                    problems.append(f"row {listings[at].row}, {path.name}: {result.message} [{result.reason}]")
                else:
                    probes.setdefault(at, []).extend(result)
        return probes, len(places), problems
