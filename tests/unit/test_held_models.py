"""Which models are asked of a file: those whose columns it has, by what is said, trained on, known or named alike."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from alliance import canonical, tensors
from alliance.errors import InvalidInput
from alliance.names import Digest
from member_agent.catalog.listings import ListingFile, open_listings
from member_agent.commands.held_models import Opened, choose, parse_roles
from member_agent.training.detector import settle
from member_agent.training.detectors.tabular_risk import TabularRisk
from member_agent.training.detectors.url_risk import UrlRisk
from member_agent.training.models import Held
from member_agent.training.scorer import Scorer
from member_agent.training.trainer import Trainer

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
TRAINED: Mapping[str, Mapping[str, str]] = {"sellers": {"x1": "age", "x2": "sales", "label": "bad"}, "shops": {}}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """Models of two detectors that learnt nothing: of sellers by two columns, of shops by URL."""
    folder = tmp_path_factory.mktemp("models")
    with Trainer(timeout_seconds=20.0) as trainer:
        scorers = []
        for name, code, settings in (("sellers", TabularRisk(), {"columns": 2.0}), ("shops", UrlRisk(), {"bits": 8.0})):
            data = tensors.encode(code.initial(settle(code, settings)))
            digest = Digest(canonical.sha256(data))
            (folder / name).write_bytes(data)
            held = Held(
                detector=f"detectors/{name}", version=3, digest=digest, code=code.name, settings=settings, time=NOW
            )
            scorers.append((held, Scorer(trainer, held, folder / name, None, key=bytes(32)), TRAINED[name]))
        yield Opened(scorers=scorers, left_out={"detectors/lost": "gone"})


def listings(folder: Path, header: str) -> ListingFile:
    file = folder / "listings.csv"
    file.write_text(f"{header}\n{','.join('1' for _ in header.split(','))}\n")
    return open_listings(file, titled=False)


def test_models_whose_columns_are_there_are_asked_and_the_others_are_told(opened: Opened, tmp_path: Path) -> None:
    chosen = choose(opened, listings(tmp_path, "title,url,age,x2"), {}, insist=False)
    assert [(one.name, one.version[:2], dict(one.columns)) for one in chosen.models] == [
        ("detectors/sellers", "3-", {"x1": "age", "x2": "x2"}),
        ("detectors/shops", "3-", {"url": "url"}),
    ]
    assert chosen.columns == {"age", "x2", "url"}
    assert chosen.left_out == {"detectors/lost": "gone"}
    fewer = choose(opened, listings(tmp_path, "title,url,age"), {}, insist=False)
    assert [one.name for one in fewer.models] == ["detectors/shops"]
    assert fewer.left_out["detectors/sellers"] == "the file has no column for x2; name it: --role x2=COLUMN"


def test_a_role_said_for_one_detector_goes_before_one_said_for_all(opened: Opened, tmp_path: Path) -> None:
    file = listings(tmp_path, "title,a,b,c")
    roles = parse_roles(["url=a", "shops:url=b", "x1=b", "sellers:x2=c"])
    chosen = choose(opened, file, roles, insist=True)
    assert [dict(one.columns) for one in chosen.models] == [{"x1": "b", "x2": "c"}, {"url": "b"}]


@pytest.mark.parametrize(
    ("role", "reason"),
    [
        ("x9=a", "ROLE_UNKNOWN"),
        ("label=a", "ROLE_UNKNOWN"),
        ("other:url=a", "ROLE_UNKNOWN"),
        ("url=nope", "COLUMN_MISSING"),
        ("url=a", "COLUMN_UNSAID"),
    ],
)
def test_roles_that_do_not_fit_are_refused(opened: Opened, tmp_path: Path, role: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        choose(opened, listings(tmp_path, "title,a"), parse_roles([role]), insist=True)
    assert (raised.value.reason, raised.value.field) == (reason, "--role")
