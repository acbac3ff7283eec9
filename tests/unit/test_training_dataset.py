"""The split keeps a domain on one side, the figures of merit are those of their definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alliance.errors import FailedPrecondition
from member_agent.catalog.readers.records import Record
from member_agent.training import dataset, metrics
from member_agent.training.dataset import host, registrable_domain
from member_agent.training.detector import settle
from member_agent.training.detectors.url_risk import UrlRisk

SETTINGS = settle(UrlRisk(), {"bits": 8.0})
COLUMNS = {"url": "url", "label": "label"}


def read(values: list[tuple[str, str, str]], **more: str) -> dataset.Dataset:
    rows = [Record(n, {"url": u, "label": lab, "side": s}) for n, (u, lab, s) in enumerate(values, start=2)]
    return UrlRisk().read(rows, {**COLUMNS, **more}, SETTINGS)


def test_no_registrable_domain_is_on_both_sides_of_the_split() -> None:
    values = [(f"http://s{n}.shop{n % 50}.co.uk/{n}", str(n % 2), "") for n in range(500)]
    train, held_back = dataset.split(read(values))
    assert len(train) + len(held_back) == 500
    assert not set(train.groups.tolist()) & set(held_back.groups.tolist())
    assert 0.05 < len(held_back) / 500 < 0.5


def test_the_split_depends_on_a_row_alone_not_on_the_rows_around_it() -> None:
    values = [(f"http://shop{n}.example/", "1", "") for n in range(100)]
    whole, half = (set(dataset.split(read(v))[1].groups.tolist()) for v in (values, values[::2]))
    assert half
    assert half <= whole


def test_a_member_can_bring_its_own_split() -> None:
    values = [(f"http://shop{n}.example/", "1", "train" if n < 7 else "held-back") for n in range(10)]
    train, held_back = dataset.split(read(values, part="side"))
    assert (len(train), len(held_back)) == (7, 3)
    bad = read([("http://a.example", "1", "test")], part="side")
    assert [e.reason for e in bad.refused] == ["PART_UNKNOWN"]


def test_rows_that_leave_a_side_empty_are_no_data() -> None:
    for values in ([], [("http://a.example/1", "1", ""), ("http://a.example/2", "0", "")]):
        with pytest.raises(FailedPrecondition) as raised:
            dataset.split(read(values))
        assert raised.value.reason == "NO_DATA"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:x@Shop.Example.com:8443/a?b#c", "example.com"),
        ("shop.example.co.uk/a", "example.co.uk"),
        ("http://a.b.gouv.fr", "b.gouv.fr"),
        ("http://co.uk", "co.uk"),
        ("x.y.blogspot.com", "blogspot.com"),
        ("http://10.20.30.40/x", "10.20.30.40"),
        ("http://[2001:db8::1]:80/", "2001:db8::1"),
        ("localhost", "localhost"),
    ],
)
def test_registrable_domains(url: str, expected: str) -> None:
    assert registrable_domain(host(url)) == expected


def test_rows_are_read_from_a_members_own_file(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("Link;Verdict\nhttp://a.example/x;1\nhttp://b.example/;0\n", encoding="utf-8")
    data = UrlRisk().read(dataset.records(file), {"url": "Link", "label": "Verdict"}, SETTINGS)
    assert data.labels.tolist() == [1, 0]


def test_average_precision_treats_equal_scores_as_one_threshold() -> None:
    labels = np.array([1, 0, 1, 0, 0])
    assert metrics.average_precision(labels, np.array([0.9, 0.8, 0.7, 0.2, 0.1])) == pytest.approx((1 + 2 / 3) / 2)
    # A constant score finds the positives at their share, in whatever order the rows come.
    for order in ([0, 1, 2, 3, 4], [1, 3, 4, 0, 2]):
        assert metrics.average_precision(labels[order], np.full(5, 0.5)) == pytest.approx(0.4)
    assert metrics.average_precision(np.zeros(3, dtype=np.int64), np.arange(3.0)) == 0.0


def test_binary_figures_and_macro_f1_by_hand() -> None:
    found = metrics.binary(np.array([1, 1, 0, 0, 0]), np.array([0.9, 0.1, 0.6, 0.2, 0.3]))
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["f1"] == pytest.approx(0.5)
    assert found["false_positive_rate"] == pytest.approx(1 / 3)
    assert metrics.macro_f1(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])) == pytest.approx((2 / 3 + 4 / 5) / 2)
