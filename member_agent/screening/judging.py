"""Models beside fingerprints: what each says of the listings of a block, and why of those that are shown.

Every listing is scored; reasons take longer, and are asked for only where a result will show them, or where a listing
could not be scored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from member_agent.catalog.model import Field, Listing, RowError
from member_agent.catalog.readers.records import Record
from member_agent.screening.model import Judged, model_score


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A detector's released model, and the columns of the file of listings it is asked about.

    Args:
        name: the detector's, "detectors/fake-shops".
        version: which release.
        is_risk: whether a score is a risk; else it is the share of the likeliest class.
        columns: role -> column.
        score: in [0, 1] for each row, None where it cannot be read.
        explain: reasons for each row, or what is wrong with it.
    """

    name: str
    version: str
    is_risk: bool
    columns: Mapping[str, str]
    score: Callable[[Sequence[Record], Mapping[str, str]], Sequence[float | None]]
    explain: Callable[[Sequence[Record], Mapping[str, str], Sequence[str]], Sequence[Sequence[str] | RowError]]

    @property
    def short(self) -> str:
        return self.name.partition("/")[2]


class Judgement:
    """All models' scores of some listings.

    Args:
        labels: what classes may be called, where a model knows them by a hash only.
    """

    def __init__(self, models: Sequence[Model], listings: Sequence[Listing], labels: Sequence[str]) -> None:
        self._models, self._labels = models, labels
        self._rows = [Record(one.row, one.cells) for one in listings]
        self._scores = [
            [None if value is None else model_score(value) for value in model.score(self._rows, model.columns)]
            for model in models
        ]

    def risk(self, at: int) -> int | None:
        """The greatest risk of a listing, 0 to 100; None where no model that judges risk could score it."""
        pairs = zip(self._models, self._scores, strict=True)
        return max((s for model, scores in pairs if model.is_risk and (s := scores[at]) is not None), default=None)

    def risky(self, least: int) -> list[int]:
        """Listings whose risk is at least so great."""
        return [at for at in range(len(self._rows)) if (risk := self.risk(at)) is not None and risk >= least]

    def is_scored(self, at: int) -> bool:
        return any(scores[at] is not None for scores in self._scores)

    def judged(self, places: Sequence[int]) -> dict[int, Judged]:
        """What models say of these listings, reasons included."""
        reasons: dict[int, list[str]] = {at: [] for at in places}
        for model, scores in zip(self._models, self._scores, strict=True):
            able = [at for at in places if scores[at] is not None]
            for at, told in zip(able, self._explained(model, able), strict=True):
                if not isinstance(told, RowError):
                    reasons[at] += [f"{model.short}: {text}" for text in told]
        return {at: self._judged(at, reasons[at]) for at in places}

    def problems(self, most: int) -> tuple[list[str], int]:
        """Rows that a model could not read, at most so many in words, and how many there are."""
        told: list[str] = []
        count = 0
        for model, scores in zip(self._models, self._scores, strict=True):
            unable = [at for at, score in enumerate(scores) if score is None]
            count += len(unable)
            named = unable[: max(0, most - len(told))]
            for at, error in zip(named, self._explained(model, named), strict=True):
                row = self._rows[at].number
                if isinstance(error, RowError):
                    told.append(
                        f"row {row}, {error.field}: {error.message} [{error.reason}], no score by {model.short}"
                    )
                else:
                    told.append(f"row {row}: no score by {model.short}")
        return told, count

    def _explained(self, model: Model, places: Sequence[int]) -> Sequence[Sequence[str] | RowError]:
        return model.explain([self._rows[at] for at in places], model.columns, self._labels) if places else ()

    def _judged(self, at: int, reasons: Sequence[str]) -> Judged:
        able = [
            (model, score)
            for model, scores in zip(self._models, self._scores, strict=True)
            if (score := scores[at]) is not None
        ]
        return Judged(
            risk=self.risk(at),
            models=tuple(f"{model.name} {model.version}" for model, _ in able),
            scores=tuple(score for _, score in able),
            reasons=tuple(reasons),
        )


def find_columns(
    roles: Iterable[str],
    *,
    said: Mapping[str, str],
    trained: Mapping[str, str],
    mapped: Mapping[Field, str],
    columns: Collection[str],
) -> dict[str, str]:
    """Which column of a file of listings has which of a model's roles, of those that can be told.

    Args:
        said: role -> column, as the user says; goes before all.
        trained: role -> column of the rows that this member trains on: the same name means the same.
        mapped: what is known of the file's columns: a role may be a field of listings, as `url` is.
        columns: all of the file's; a column may be named like the role.
    """
    found: dict[str, str] = {}
    for role in roles:
        field = mapped.get(Field(role)) if role in set(Field) else None
        candidates = (said.get(role), trained.get(role), field, role)
        column = next((name for name in candidates if name is not None and name in columns), None)
        if column is not None:
            found[role] = column
    return found
