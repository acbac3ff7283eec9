"""What `screen` does with models: opens those held in the training process, and finds their columns in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from alliance.errors import AllianceError, FailedPrecondition, InvalidInput
from alliance.names import qualified
from member_agent.app import Agent
from member_agent.catalog.listings import ListingFile
from member_agent.screening.judging import Model, find_columns
from member_agent.training.models import Held
from member_agent.training.scorer import Scorer


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Models that can be asked, with the columns that their detectors are trained on, and why the others cannot."""

    scorers: Sequence[tuple[Held, Scorer, Mapping[str, str]]] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Models to ask of one file, the columns they need, and why others are not asked, by detector."""

    models: list[Model]
    left_out: dict[str, str]

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(column for model in self.models for column in model.columns.values())


Roles = dict[tuple[str, str], str]
"""(detector, or "" for every one; role) -> column."""


def parse_roles(texts: Sequence[str]) -> Roles:
    """Parses `[DETECTOR:]ROLE=COLUMN` options. Raises: InvalidInput."""
    found: Roles = {}
    for text in texts:
        head, equals, column = text.partition("=")
        detector, colon, role = head.rpartition(":")
        if not (equals and role.strip() and column.strip()) or (colon and not detector.strip()):
            raise InvalidInput(
                f"{text[:80]!r} gives no role a column",
                field="--role",
                remedy="write ROLE=COLUMN or DETECTOR:ROLE=COLUMN, such as url=link",
            )
        name = qualified("detectors", detector.strip()) if colon else ""
        found[name, role.strip()] = column.strip()
    return found


def open_models(agent: Agent, stack: ExitStack, names: Sequence[str], *, as_released: bool) -> Opened:
    """Opens the models of these detectors, or all held; the training process lives as long as `stack`.

    Args:
        as_released: the shared models as they are, not this member's blends.

    Raises:
        FailedPrecondition: MODEL_NOT_HELD for one that is named.
        AllianceError: one that is named cannot be opened; others are left out.
    """
    named = dict.fromkeys(qualified("detectors", name) for name in names)
    wanted = (
        agent.models.wanted(named, as_released=as_released) if named else agent.models.held(as_released=as_released)
    )
    if not wanted:
        return Opened()
    trainer = stack.enter_context(agent.trainer())
    scorers: list[tuple[Held, Scorer, Mapping[str, str]]] = []
    left_out: dict[str, str] = {}
    for held in wanted:
        consent = agent.models.consent(held.detector)
        try:
            key = agent.feature_keys.of(consent, held.settings)
            scorer = Scorer(trainer, held, agent.models.path(held), consent, key=key)
        except AllianceError as error:
            if names:
                raise
            left_out[held.detector] = f"{error} [{error.reason}]"
        else:
            scorers.append((held, scorer, consent.columns if consent else {}))
    return Opened(scorers=scorers, left_out=left_out)


def choose(opened: Opened, file: ListingFile, roles: Roles, *, insist: bool) -> Chosen:
    """The models whose columns the file has.

    Args:
        insist: whether each must be asked, or one may be left out.

    Raises:
        InvalidInput: COLUMN_MISSING; COLUMN_UNSAID where a model that must be asked has a role without a column;
            ROLE_UNKNOWN for a role that no model has.
    """
    chosen = Chosen(models=[], left_out=dict(opened.left_out))
    known = {name for _, scorer, _ in opened.scorers for name in scorer.roles}
    for (detector, role), column in roles.items():
        if role not in known or (detector and detector not in {held.detector for held, _, _ in opened.scorers}):
            raise InvalidInput(
                f"no model that is asked has a role {role!r}",
                reason="ROLE_UNKNOWN",
                field="--role",
                remedy=f"roles are {', '.join(sorted(known)[:30]) or 'none, for no model is held'}",
            )
        if column not in file.columns:
            raise InvalidInput(
                f"there is no column {column!r} (there are: {', '.join(file.columns[:30])})",
                reason="COLUMN_MISSING",
                field="--role",
                remedy="name one of those",
            )
    for held, scorer, trained in opened.scorers:
        said = {role: column for (name, role), column in roles.items() if name in ("", held.detector)}
        said |= {role: column for (name, role), column in roles.items() if name == held.detector}
        columns = find_columns(scorer.roles, said=said, trained=trained, mapped=file.mapped, columns=file.columns)
        missing = [name for name in scorer.roles if name not in columns]
        if not missing:
            chosen.models.append(_model(held, scorer, columns))
            continue
        what = f"the file has no column for {', '.join(missing[:5])}{' and others' if len(missing) > 5 else ''}"
        remedy = f"name it: --role {missing[0]}=COLUMN"
        if insist:
            raise InvalidInput(f"{held.detector}: {what}", reason="COLUMN_UNSAID", field="--role", remedy=remedy)
        chosen.left_out[held.detector] = f"{what}; {remedy}"
    return chosen


def require_any(chosen: Chosen) -> None:
    """Raises: FailedPrecondition where nothing is left to screen with."""
    if not chosen.models:
        raise FailedPrecondition(
            "no model can be asked", reason="MODEL_NOT_HELD", field="--no-banks", remedy='see "alliance-agent sync"'
        )


def _model(held: Held, scorer: Scorer, columns: Mapping[str, str]) -> Model:
    return Model(
        name=held.detector,
        version=held.label,
        is_risk=scorer.is_risk,
        columns=columns,
        score=scorer.score,
        explain=scorer.explain,
    )
