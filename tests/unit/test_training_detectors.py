"""Detectors on generated rows: they learn, agree with their specification, repeat themselves, and name bad rows."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from alliance import tensors
from alliance.errors import InvalidInput, NotFound
from alliance.tensors import Arrays
from member_agent.catalog.readers.records import Record, broken
from member_agent.training import dataset, detector, urls
from member_agent.training.dataset import Dataset
from member_agent.training.detector import Detector, Settings, settle
from member_agent.training.detectors.brand_attribution import BrandAttribution, brand_class
from member_agent.training.detectors.null import NullDetector
from member_agent.training.detectors.tabular_risk import TabularRisk
from member_agent.training.detectors.url_risk import UrlRisk

URLS = {"url": "link", "label": "verdict"}
TABLE = {"x1": "age", "x2": "sales", "label": "bad"}
ALL: list[tuple[Detector, Settings]] = [
    (UrlRisk(), {"bits": 12.0}),
    (TabularRisk(), {"columns": 2.0}),
    (BrandAttribution(), {"bits": 10.0, "classes": 8.0}),
]


def rows(*columns: str, values: Sequence[tuple[str, ...]]) -> list[Record]:
    return [Record(n, dict(zip(columns, row, strict=True))) for n, row in enumerate(values, start=2)]


def generated_urls(count: int, labels: Mapping[str, str], seed: int = 1) -> list[Record]:
    """URLs of a word for each label, among random letters."""
    rng = np.random.default_rng(seed)
    words = list(labels)
    made = []
    for _ in range(count):
        word = words[int(rng.integers(len(words)))]
        noise = "".join(map(chr, rng.integers(97, 123, size=10)))
        made.append((f"https://{noise}.example/{word}/{noise[::-1]}", labels[word]))
    return rows("link", "verdict", values=made)


def generated_table(count: int, seed: int = 1) -> list[Record]:
    """Risk falls with age and rises with sales, whose scales differ by four orders; a tenth of the ages is missing."""
    rng = np.random.default_rng(seed)
    age, sales = rng.normal(50, 10, count), rng.normal(200_000, 50_000, count)
    bad = (sales - 200_000) / 50_000 - (age - 50) / 10 > 0
    made = [
        ("" if n % 10 == 0 else repr(float(a)), repr(float(s)), str(int(b)))
        for n, (a, s, b) in enumerate(zip(age, sales, bad, strict=True))
    ]
    return rows("age", "sales", "bad", values=made)


def taught(code: Detector, data: Dataset, settings: Settings, rounds: int = 4) -> Arrays:
    arrays = code.initial(settings)
    for number in range(rounds):
        arrays = code.train(arrays, data, settings, np.random.default_rng(number)).arrays
    return arrays


@pytest.mark.parametrize(("code", "given"), ALL, ids=lambda value: getattr(value, "name", ""))
def test_initial_and_trained_arrays_are_the_specified_ones(code: Detector, given: Settings) -> None:
    settings = settle(code, given)
    data = generated(code, settings)
    trained = code.train(code.initial(settings), data, settings, np.random.default_rng(0))
    assert tensors.specs_of(code.initial(settings)) == code.specs(settings)
    assert tensors.specs_of(trained.arrays) == code.specs(settings)
    assert trained.examples == len(data)


@pytest.mark.parametrize(("code", "given"), ALL, ids=lambda value: getattr(value, "name", ""))
def test_equal_seeds_give_equal_arrays_and_others_do_not(code: Detector, given: Settings) -> None:
    settings = {**settle(code, given), "batch": 8.0}
    data = generated(code, settings)
    start = taught(code, data, settings, rounds=1)
    once, again, other = (
        code.train(start, data, settings, np.random.default_rng(seed)).arrays["w"] for seed in (5, 5, 6)
    )
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


@pytest.mark.parametrize(("code", "given"), ALL, ids=lambda value: getattr(value, "name", ""))
def test_every_detector_learns_what_is_in_its_rows(code: Detector, given: Settings) -> None:
    settings = {**settle(code, given), "rate": 0.3, "batch": 8.0}
    train, held_back = dataset.split(generated(code, settings))
    before = code.evaluate(code.initial(settings), held_back, settings)
    after = code.evaluate(taught(code, train, settings), held_back, settings)
    assert list(after) == list(code.metrics)
    assert after[code.metrics[0]] > max(0.9, before[code.metrics[0]])


@pytest.mark.parametrize(("code", "given"), ALL, ids=lambda value: getattr(value, "name", ""))
def test_the_proximal_term_holds_weights_near_the_model(code: Detector, given: Settings) -> None:
    settings = {**settle(code, given), "batch": 8.0, "rate": 0.05}
    data = generated(code, settings)
    start = taught(code, data, settings, rounds=1)
    moved = [
        float(
            np.abs(code.train(start, data, {**settings, **mu}, np.random.default_rng(1)).arrays["w"] - start["w"]).sum()
        )
        for mu in ({}, {detector.PROXIMAL_MU: 100.0})
    ]
    assert moved[1] < moved[0]


@pytest.mark.parametrize(("code", "given"), ALL, ids=lambda value: getattr(value, "name", ""))
def test_a_blend_answers_halfway_between_two_models(code: Detector, given: Settings) -> None:
    settings = {**settle(code, given), "batch": 8.0}
    data = generated(code, settings)
    shared = taught(code, data.take(np.arange(200)), settings, rounds=2)
    own = taught(code, data.take(np.arange(200, 300)), settings, rounds=5)
    same, blended = code.blend(own, own), code.blend(shared, own)
    assert tensors.specs_of(blended) == code.specs(settings)
    assert all(np.allclose(same[name], own[name], atol=1e-6) for name in own)
    given_rows = given_for(code)
    one, two, mean = (logits(code, arrays, given_rows, settings) for arrays in (shared, own, blended))
    assert np.abs(one - two).max() > 0.1
    assert np.allclose(mean, (one + two) / 2, atol=1e-4)


def test_a_table_s_blend_before_there_are_statistics_is_of_the_own_ones() -> None:
    code = TabularRisk()
    settings = {**settle(code, {"columns": 2.0}), "batch": 8.0}
    own = taught(code, generated(code, settings), settings)
    blended = code.blend(code.initial(settings), own)
    assert np.array_equal(blended["moments"], own["moments"])
    assert np.allclose(blended["w"], own["w"] / 2)


def given_for(code: Detector) -> list[Record]:
    """Rows that can be read whole: a table's missing cell means each model's own mean."""
    if isinstance(code, TabularRisk):
        return rows("age", "sales", values=[("30", "300000"), ("50", "200000"), ("61", "120000")])
    return generated_urls(20, {"paypal": "1", "shoes": "0"}, seed=3)


def logits(code: Detector, arrays: Arrays, given: list[Record], settings: Settings) -> NDArray[np.float64]:
    """Log odds, or of many classes those beside the first."""
    columns = {role: {**URLS, **TABLE}[role] for role in code.roles(settings) if role != "label"}
    found = code.score(arrays, given, columns, settings)
    if found.shape[1] == 1:
        return np.log(found / (1 - found))
    return np.log(found[:, 1:] / found[:, :1])


def generated(code: Detector, settings: Settings) -> Dataset:
    if isinstance(code, TabularRisk):
        return code.read(generated_table(300), TABLE, settings)
    labels = (
        {"paypal": "1", "shoes": "0"} if isinstance(code, UrlRisk) else {"acme": "Acme", "bolt": "Bolt", "cord": "Cord"}
    )
    return code.read(generated_urls(300, labels), URLS, settings)


def test_a_model_given_as_read_only_bytes_is_not_written_to() -> None:
    code, settings = UrlRisk(), settle(UrlRisk(), {"bits": 8.0})
    data = tensors.encode(code.initial(settings))
    arrays = tensors.decode(data, code.specs(settings))
    trained = code.train(arrays, generated(code, settings), settings, np.random.default_rng(0))
    assert not np.array_equal(trained.arrays["w"], arrays["w"])
    assert tensors.encode(dict(arrays)) == data


def test_urls_that_cannot_be_read_are_refused_with_their_row_and_the_others_count() -> None:
    given = [
        *rows(
            "link",
            "verdict",
            values=[("http://a.example/x", "1"), ("", "1"), ("http://b.example", "maybe"), ("a b.c", "0")],
        ),
        broken(9, "TOO_FEW_FIELDS", "1 fields where the header has 2"),
    ]
    data = UrlRisk().read(given, URLS, settle(UrlRisk(), {"bits": 8.0}))
    assert len(data) == 1
    assert [(e.row, e.reason) for e in data.refused] == [
        (3, "URL_UNREADABLE"),
        (4, "LABEL_UNKNOWN"),
        (5, "URL_UNREADABLE"),
        (9, "TOO_FEW_FIELDS"),
    ]
    assert data.refusals == 4


def test_numbers_that_cannot_be_read_are_refused_with_column_and_reason() -> None:
    given = rows("age", "sales", "bad", values=[("1", "?", "1"), ("x", "1", "1"), ("1", "1e99", "1"), ("1", "2", "3")])
    data = TabularRisk().read(given, TABLE, settle(TabularRisk(), {"columns": 2.0}))
    assert np.array_equal(data.features, [[1.0, np.nan]], equal_nan=True)
    assert [(e.row, e.field, e.reason) for e in data.refused] == [
        (3, "x1", "NUMBER_UNREADABLE"),
        (4, "x2", "NUMBER_TOO_LARGE"),
        (5, "label", "LABEL_UNKNOWN"),
    ]


@pytest.mark.parametrize(
    ("columns", "reason"), [({"url": "link"}, "COLUMN_UNMAPPED"), ({**URLS, "url": "nope"}, "COLUMN_MISSING")]
)
def test_a_column_map_that_does_not_fit_is_refused_as_a_whole(columns: Mapping[str, str], reason: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        UrlRisk().read(generated_urls(3, {"x": "1"}), columns, settle(UrlRisk(), {}))
    assert raised.value.reason == reason


def test_scores_come_in_the_order_of_rows_and_are_missing_where_a_row_is_unreadable() -> None:
    code, settings = UrlRisk(), {**settle(UrlRisk(), {"bits": 12.0}), "rate": 0.3}
    arrays = taught(code, generated(code, settings), settings)
    given = rows("link", values=[("http://x.example/paypal/y",), ("",), ("http://x.example/shoes/y",)])
    scores = code.score(arrays, given, {"url": "link"}, settings)
    assert scores.shape == (3, 1)
    assert scores[0, 0] > 0.5 > scores[2, 0]
    assert np.isnan(scores[1, 0])
    table = TabularRisk()
    wanted = settle(table, {"columns": 2.0})
    risks = table.score(
        taught(table, generated(table, wanted), wanted),
        rows("age", "sales", values=[("30", "300000"), ("?", "x"), ("70", "100000")]),
        {"x1": "age", "x2": "sales"},
        wanted,
    )
    assert risks[0, 0] > 0.5 > risks[2, 0]
    assert np.isnan(risks[1, 0])


def test_brands_are_classes_by_name_and_salt_moves_them() -> None:
    settings = settle(BrandAttribution(), {})
    assert brand_class("ACME  Shoes", settings) == brand_class("acme shoes", settings)
    classes = {salt: brand_class("acme", {**settings, "salt": float(salt)}) for salt in range(20)}
    assert len(set(classes.values())) > 10
    assert all(0 <= found < settings["classes"] for found in classes.values())


def test_hashed_features_do_not_change_from_one_release_to_the_next() -> None:
    found = urls.features(["https://PayPal.example.co.uk/a?b=1", "http://10.0.0.1/"], bits=16)
    assert [len(row.indices) for row in found] == FEATURES
    assert [int(row.indices.sum()) for row in found] == SUMS
    assert np.allclose(found.multiply(found).sum(axis=1), 1.0)
    # One at a time or many at once, in this case or that, with a scheme or without: the same features.
    alone = urls.features(["paypal.example.co.uk/a?b=1"], bits=16)
    assert (alone != found[0]).nnz == 0


FEATURES = [90, 36]
SUMS = [3112553, 1184648]


def test_a_url_too_long_or_empty_or_not_ascii_is_hashed_without_a_fault() -> None:
    given = ["x" * 100_000, "", "http://пример.example/ü", "a.b", "http://[2001:db8::1]:80/x"]
    found = urls.features(given, bits=10)
    assert found.shape == (5, 1024)
    assert np.isfinite(found.data).all()


def test_the_entry_points_we_ship_are_the_detectors_of_those_names() -> None:
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = project["project"]["entry-points"][detector.GROUP]
    assert {name: detector.load_path(path).name for name, path in shipped.items()} == {name: name for name in shipped}
    assert set(shipped) == {code.name for code, _ in ALL}


def test_detectors_are_found_by_path_and_unknown_ones_are_not_installed() -> None:
    assert isinstance(detector.load_path("member_agent.training.detectors.null:NullDetector"), NullDetector)
    for missing in ("member_agent.nowhere:X", "member_agent.training.detectors.null:Missing"):
        with pytest.raises(NotFound):
            detector.load_path(missing)
    # What the hub names is an installed name and never a path.
    with pytest.raises(NotFound) as raised:
        detector.load("member_agent.training.detectors.null:NullDetector")
    assert raised.value.reason == "CODE_NOT_INSTALLED"


def test_a_setting_that_a_detector_has_not_is_refused_but_those_of_strategies_pass() -> None:
    assert settle(UrlRisk(), {"proximal-mu": 0.1, "server-round": 3.0})["proximal-mu"] == 0.1
    with pytest.raises(InvalidInput) as raised:
        settle(UrlRisk(), {"columns": 3.0})
    assert raised.value.reason == "SETTING_UNKNOWN"
