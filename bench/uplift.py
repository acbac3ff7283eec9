"""uplift: what a member gains by federating, on its own held-back rows: alone, federated, blended, pooled beside.

8 members that differ (domains dealt by a Dirichlet of concentration 1 for each label or brand), no registrable domain
in two members nor in training and held back. url-risk on PhishStorm, and brand-attribution on JPCERT's list, trained
on months before 2023 and held back from 2023 on. FedAvg, with settings chosen on training rows (months) alone; alone
and pooled train as long, with the same settings. Blended is the member's own mean of the shared model and its own
(`Learner.blended`), which it screens with, as `alliance-agent uplift` shows it. URLs are hashed without a key, as
nobody here keeps anything from anybody. Standard errors are of the paired difference, by a bootstrap over domains.
--quick takes every 12th domain; of JPCERT's every 16th, otherwise every 2nd; the targets for the worst member and
beside pooled are for the full size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from alliance.tensors import Arrays
from bench import data, phishing
from bench.figure import Figure
from bench.simulation import Plan, federate, pooled, records
from hub.federation.model import StrategyName
from member_agent.training.dataset import Dataset, split
from member_agent.training.detector import Detector
from member_agent.training.detectors.brand_attribution import BrandAttribution, brand_class
from member_agent.training.detectors.url_risk import UrlRisk
from member_agent.training.learner import Learner

MEMBERS, CONCENTRATION, SEED, RESAMPLES = 8, 1.0, 7, 100
_COLUMNS = {"url": "url", "label": "label", "part": "part"}
# The models held beside the member's own, and how the names of their figures begin.
_JUDGED = {"federated": "", "blended": "blended_"}
_PUBLISHED = "Marchal et al. 2014, rows split at random"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One member's held-back figures by model; by model, the standard error of its first figure less that of alone."""

    rows: int
    figures: Mapping[str, Mapping[str, float]]
    errors: Mapping[str, float]


def run(*, quick: bool) -> Iterator[Figure]:
    folder = data.folder()
    if folder is None:
        raise SystemExit("uplift reads real data: set ALLIANCE_DATA")
    rows = phishing.phishstorm(folder / "phishstorm_urlset")
    rows = phishing.thin(rows, 12) if quick else rows
    plan = Plan(strategy=StrategyName.FED_AVG, rounds=20, train_settings={"rate": 0.5})
    found = _compare(UrlRisk(), rows, plan)
    yield from _gains("phishstorm", "pr_auc", found, plan)
    yield from _phishstorm(found, rows, plan)
    brands = phishing.jpcert(folder / "jpcert_phishurl", brands=20, first_held_back="202301")
    brands = phishing.thin(brands, 16) if quick else phishing.thin(brands, 2)
    plan = Plan(strategy=StrategyName.FED_AVG, rounds=20, train_settings=_brand_settings(brands))
    yield from _gains("jpcert", "accuracy", _compare(BrandAttribution(), brands, plan), plan)


def _brand_settings(rows: Sequence[phishing.Labelled]) -> dict[str, float]:
    """With the first salt that keeps the brands in classes of their own, as a proposer would choose it."""
    brands = {row.label for row in rows}
    settings = {**BrandAttribution.settings, "bits": 14.0, "classes": 64.0, "batch": 256.0, "rate": 0.3}
    while len({brand_class(brand, settings) for brand in brands}) < len(brands):
        settings["salt"] += 1
    return settings


def _compare(detector: Detector, rows: Sequence[phishing.Labelled], plan: Plan) -> list[Compared]:
    dealt = phishing.deal(rows, members=MEMBERS, concentration=CONCENTRATION, seed=SEED)
    learners = []
    for seed, mine in enumerate(dealt):
        given = records(["url", "label", "part"], [(r.url, r.label, r.part) for r in mine])
        read = partial(detector.read, given, _COLUMNS)
        learners.append(Learner(detector, read, seed=seed, alone_rounds=plan.rounds))
    shared = federate(detector, learners, plan)
    joined = pooled(detector, [learner.data(plan.train_settings)[0] for learner in learners], plan)
    return [_compared(learner, shared, joined, plan) for learner in learners]


def _compared(learner: Learner, shared: Arrays, joined: Arrays, plan: Plan) -> Compared:
    settings = {**learner.detector.settings, **plan.train_settings}
    held_back = learner.data(plan.train_settings)[1]
    own, mine = learner.alone(plan.train_settings), learner.blended(shared, plan.train_settings)
    models = {"alone": own, "federated": shared, "blended": mine, "pooled": joined}

    def judge(arrays: Arrays, rows: Dataset = held_back) -> dict[str, float]:
        return learner.detector.evaluate(arrays, rows, settings)

    first = learner.detector.metrics[0]
    sampled = [{name: judge(arrays, rows)[first] for name, arrays in models.items()} for rows in _resampled(held_back)]
    return Compared(
        rows=len(held_back),
        figures={name: judge(arrays) for name, arrays in models.items()},
        errors={name: float(np.std([one[name] - one["alone"] for one in sampled])) for name in models},
    )


def _resampled(rows: Dataset) -> Iterator[Dataset]:
    """Bootstrap samples of whole domains, for rows of one domain are not independent."""
    order = np.argsort(rows.groups, kind="stable")
    _, starts = np.unique(rows.groups[order], return_index=True)
    blocks: list[NDArray[np.int64]] = np.split(order, starts[1:])
    rng = np.random.default_rng(SEED)
    for _ in range(RESAMPLES):
        yield rows.take(np.concatenate([blocks[b] for b in rng.integers(0, len(blocks), len(blocks))]))


def _gains(name: str, metric: str, found: Sequence[Compared], plan: Plan) -> Iterator[Figure]:
    about = f"{plan.strategy}, {plan.rounds} rounds"
    alone, joined = _each(found, "alone", metric), _each(found, "pooled", metric)
    for model, prefix in _JUDGED.items():
        ours, errors = _each(found, model, metric), np.array([one.errors[model] for one in found])
        shown = ", ".join(
            f"{a:.4f} -> {f:.4f} (+-{error:.4f}, {one.rows:,} rows)"
            for a, f, error, one in zip(alone, ours, errors, found, strict=True)
        )
        yield Figure(
            name=f"uplift_{name}_{prefix}{metric}",
            ours=float((ours - alone).mean()),
            unit=f"{metric}, {model} less alone, mean of {len(found)} members",
            target=0.0,
            judged="ours",
            method=f"{about}; members alone -> {model}: {shown}",
        )
        yield Figure(
            name=f"uplift_{name}_{prefix}worst_member",
            ours=_worst(found, model, metric),
            unit=f"standard errors, {model} less alone, worst member",
            target=-1.0,
            full_only=True,
            judged="ours",
            method=f"{metric}; paired bootstrap over domains, {RESAMPLES} samples; one model of all members' training "
            f"rows: {_worst(found, 'pooled', metric):.2f}",
        )
        yield Figure(
            name=f"uplift_{name}_{prefix}of_pooled",
            ours=float(ours.mean()),
            peer=float(joined.mean()),
            peer_name="one model of all members' training rows",
            unit=metric,
            target=0.98,
            full_only=True,
            method=f"{about}, {model}; mean of members' held-back rows; alone {alone.mean():.4f}",
        )
        for other in [m for m in found[0].figures[model] if m != metric]:
            yield Figure(
                name=f"uplift_{name}_{prefix}{other}",
                ours=float(_each(found, model, other).mean()),
                peer=float(_each(found, "alone", other).mean()),
                peer_name="alone",
                unit=other,
                method=f"{model}, mean of members; pooled {_each(found, 'pooled', other).mean():.4f}",
            )


def _worst(found: Sequence[Compared], model: str, metric: str) -> float:
    """Of the member that it suits least: how much better than alone, in standard errors."""
    errors = np.array([one.errors[model] for one in found])
    return float(((_each(found, model, metric) - _each(found, "alone", metric)) / np.maximum(errors, 1e-9)).min())


def _each(found: Sequence[Compared], model: str, metric: str) -> NDArray[np.float64]:
    return np.array([one.figures[model][metric] for one in found])


def _phishstorm(found: Sequence[Compared], rows: Sequence[phishing.Labelled], plan: Plan) -> Iterator[Figure]:
    """Beside the published figures, whose folds split rows at random: our members' as they are, and a split alike."""
    weights = np.array([one.rows for one in found])
    alike = _at_random(rows, plan)
    for metric, published in (("accuracy", 0.9491), ("false_positive_rate", 0.0144)):
        each = _each(found, "federated", metric)
        yield Figure(
            name=f"uplift_phishstorm_all_rows_{metric}",
            ours=float(np.average(each, weights=weights)),
            peer=published,
            peer_name=_PUBLISHED,
            unit=metric,
            method="federated, members weighted by held-back rows; threshold 0.5; no domain both trained on and judged",
        )
        yield Figure(
            name=f"uplift_phishstorm_random_split_{metric}",
            ours=alike[metric],
            peer=published,
            peer_name=_PUBLISHED,
            unit=metric,
            method="one model of all members' rows, a quarter held back at random, as published; threshold 0.5",
        )


def _at_random(rows: Sequence[phishing.Labelled], plan: Plan) -> dict[str, float]:
    detector = UrlRisk()
    settings = {**detector.settings, **plan.train_settings}
    given = records(["url", "label", "row"], [(r.url, r.label, str(n)) for n, r in enumerate(rows)])
    train, held_back = split(detector.read(given, {"url": "url", "label": "label", "group": "row"}, settings))
    return detector.evaluate(pooled(detector, [train], plan), held_back, settings)
