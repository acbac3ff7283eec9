"""What models add to a screening: the score rule, reasons only where they show, and columns found by their roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from alliance.errors import InvalidInput
from alliance.names import BankId
from member_agent.catalog.model import Field, Listing, RowError
from member_agent.catalog.readers.records import Record
from member_agent.commands.held_models import parse_roles
from member_agent.screening.judging import Judgement, Model, find_columns
from member_agent.screening.model import Candidate, Judged, flagged, hits, matched, model_score

LISTINGS = [Listing(row=row, id=f"L{row}", cells={"p": text}) for row, text in enumerate(("0.9", "0.2", "", "0.5"), 2)]
CANDIDATE = Candidate(
    listing="L3",
    row=3,
    score=70,
    reasons=("title alike",),
    fingerprint=f"{bytes(32).hex()}:4",
    bank=BankId("banks/titles"),
    marks="genuine",
    brand="acme",
    publisher="members/acme",
    version="1-00",
    tlp="amber",
)


class Asked:
    """A model whose score is the number in the row's cell; it counts the rows that it explains."""

    def __init__(self, name: str, *, is_risk: bool = True, less: float = 0.0) -> None:
        self.explained: list[int] = []
        self._less = less
        self.model = Model(
            name=f"detectors/{name}",
            version="4-0a1b",
            is_risk=is_risk,
            columns={"url": "p"},
            score=self._score,
            explain=self._explain,
        )

    def _score(self, rows: Sequence[Record], columns: Mapping[str, str]) -> list[float | None]:
        cells = [row.cells[columns["url"]] for row in rows]
        return [float(cell) - self._less if cell else None for cell in cells]

    def _explain(
        self, rows: Sequence[Record], columns: Mapping[str, str], labels: Sequence[str]
    ) -> list[Sequence[str] | RowError]:
        self.explained += [row.number for row in rows]
        return [
            (f"cell {row.cells['p']}", *labels)
            if row.cells["p"]
            else RowError(row=row.number, field="url", reason="EMPTY", message="an empty cell")
            for row in rows
        ]


def test_a_result_has_the_greatest_score_and_all_reasons_of_match_and_models() -> None:
    judged = Judged(risk=90, models=("detectors/a 4-0a1b",), scores=(90,), reasons=("a: because",))
    both = matched(CANDIDATE, judged)
    assert (both.score, both.match_score, both.model_scores) == (90, 70, (90,))
    assert both.reasons == ("title alike", "a: because")
    assert (both.publisher, both.models) == ("members/acme", ("detectors/a 4-0a1b",))
    assert matched(CANDIDATE, Judged(risk=10)).score == 70
    assert matched(CANDIDATE, Judged()).score == 70
    alone = flagged("L2", 2, judged)
    assert (alone.score, alone.match_score, alone.fingerprint, alone.version) == (90, None, "", "")
    assert sum(hits([both, alone]).values()) == 1


def test_a_probability_is_told_in_whole_percents() -> None:
    assert [model_score(value) for value in (-0.1, 0.0, 0.496, 0.5, 1.0, 1.2)] == [0, 0, 50, 50, 100, 100]


def test_reasons_are_asked_for_only_where_they_are_shown() -> None:
    one, other = Asked("one"), Asked("other", less=0.1)
    judgement = Judgement([one.model, other.model], LISTINGS, ["Acme"])
    assert [judgement.risk(at) for at in range(4)] == [90, 20, None, 50]
    assert judgement.risky(50) == [0, 3]
    assert judgement.risky(0) == [0, 1, 3]
    assert (one.explained, other.explained) == ([], [])
    judged = judgement.judged([0, 1])
    assert (one.explained, other.explained) == ([2, 3], [2, 3])
    assert judged[0] == Judged(
        risk=90,
        models=("detectors/one 4-0a1b", "detectors/other 4-0a1b"),
        scores=(90, 80),
        reasons=("one: cell 0.9", "one: Acme", "other: cell 0.9", "other: Acme"),
    )


def test_a_model_that_tells_classes_apart_gives_reasons_and_no_risk() -> None:
    whose, risk = Asked("whose", is_risk=False), Asked("risk", less=0.2)
    judgement = Judgement([whose.model, risk.model], LISTINGS, [])
    assert [judgement.risk(at) for at in range(4)] == [70, 0, None, 30]
    judged = judgement.judged([0])[0]
    assert (judged.risk, judged.scores) == (70, (90, 70))
    assert judged.reasons == ("whose: cell 0.9", "risk: cell 0.9")
    assert Judgement([whose.model], LISTINGS, []).risky(0) == []


def test_rows_that_cannot_be_scored_are_told_up_to_a_number_and_all_are_counted() -> None:
    one, other = Asked("one"), Asked("other")
    judgement = Judgement([one.model, other.model], [*LISTINGS, *LISTINGS[2:3]], [])
    told, count = judgement.problems(3)
    assert count == 4
    assert told == [
        "row 4, url: an empty cell [EMPTY], no score by one",
        "row 4, url: an empty cell [EMPTY], no score by one",
        "row 4, url: an empty cell [EMPTY], no score by other",
    ]
    assert judgement.problems(0) == ([], 4)
    assert [judgement.is_scored(at) for at in range(5)] == [True, True, False, True, False]


def test_without_models_nothing_is_scored() -> None:
    judgement = Judgement([], LISTINGS, [])
    assert judgement.risky(0) == []
    assert judgement.judged([1]) == {1: Judged()}
    assert judgement.problems(10) == ([], 0)


def test_columns_are_those_said_then_those_trained_on_then_those_known_then_those_named_like_the_role() -> None:
    mapped, columns = {Field.URL: "page", Field.TITLE: "name"}, ("page", "link", "x1", "x2", "name")

    def found(said: Mapping[str, str], trained: Mapping[str, str]) -> dict[str, str]:
        return find_columns(("url", "x1"), said=said, trained=trained, mapped=mapped, columns=columns)

    assert found({}, {}) == {"url": "page", "x1": "x1"}
    assert found({}, {"url": "link", "x1": "elsewhere"}) == {"url": "link", "x1": "x1"}
    assert found({"url": "name"}, {"url": "link"}) == {"url": "name", "x1": "x1"}
    assert find_columns(("x3",), said={}, trained={}, mapped=mapped, columns=columns) == {}


def test_roles_are_parsed_for_all_detectors_or_for_one() -> None:
    assert parse_roles(["url=the link", "fake-shops:x1 = a=b"]) == {
        ("", "url"): "the link",
        ("detectors/fake-shops", "x1"): "a=b",
    }
    for wrong in ("url", "=link", "url=", ":url=link"):
        with pytest.raises(InvalidInput) as raised:
            parse_roles([wrong])
        assert raised.value.field == "--role"
