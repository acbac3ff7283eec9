"""Reasons for scores: the buckets that features have, the strongest first, in words; a bad row says what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from member_agent.catalog.model import RowError
from member_agent.catalog.readers.records import Record, broken
from member_agent.training import reasons, urls
from member_agent.training.detector import settle
from member_agent.training.detectors.brand_attribution import BrandAttribution, brand_class
from member_agent.training.detectors.null import NullDetector
from member_agent.training.detectors.tabular_risk import TabularRisk
from member_agent.training.detectors.url_risk import UrlRisk
from member_agent.training.urls import Pieces

BITS = 16
URLS = ("https://PayPal.example.co.uk/a?b=1", "http://10.0.0.1/", "http://пример.example/ü", "a.b", "x" * 1000, "", "@")


def weights(url: str, **wanted: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """A model that knows pieces of this URL: text, with spaces for underscores, to weight."""
    found, made = Pieces(url, bits=BITS), np.zeros(1 << BITS, np.float32)
    texts = {found.text(at): int(found.buckets[at]) for at in range(len(found.buckets))}
    for text, weight in wanted.items():
        made[texts[text.replace("_", " ")]] = weight
    return made


@pytest.mark.parametrize("url", URLS)
def test_the_pieces_of_a_url_are_its_features_and_each_has_words(url: str) -> None:
    found = Pieces(url, bits=BITS)
    assert set(found.buckets.tolist()) == set(urls.features([url], bits=BITS).indices.tolist())
    texts = [found.text(at) for at in range(len(found.buckets))]
    assert all(text.isprintable() for text in texts)
    assert texts[-1].startswith("domain under: ")


def test_pieces_at_the_ends_of_host_and_url_say_so() -> None:
    found = Pieces("http://pay.example/x.php", bits=BITS)
    texts = {found.text(at) for at in range(len(found.buckets))}
    assert {
        '"pay"',
        '"pay" at the host\'s start',
        '"mple" at the host\'s end',
        '"php" at the URL\'s end',
        "slashes: 1",
        "last label: example",
    } <= texts


def test_the_strongest_pieces_come_first_with_what_they_add_to_the_logit() -> None:
    url = "http://pay-pal.example/login/x"
    model = weights(url, **{'"login"': 3.0, '"gin/"': 2.0, '"pal"': -4.0, "hyphens_in_the_host:_1": 1.0})
    said = reasons.of_url(url, model)
    share = 1 / np.sqrt(len(set(Pieces(url, bits=BITS).buckets.tolist())))
    assert said == [f'"login/" {5 * share:+.2f}', f'"pal" {-4 * share:+.2f}', f"hyphens in the host: 1 {share:+.2f}"]
    logit = float((urls.features([url], bits=BITS) @ model)[0])
    assert sum(float(text.rsplit(" ", 1)[1]) for text in said) == pytest.approx(logit, abs=0.02)


def test_neighbours_that_say_the_contrary_or_little_stay_apart() -> None:
    url = "http://a.example/login/x"
    said = reasons.of_url(url, weights(url, **{'"login"': 9.0, '"in/x"': -8.0, '"/log"': 0.9}))
    assert [text.rsplit(" ", 1)[0] for text in said] == ['"login"']


def test_no_more_than_five_reasons_are_given_and_no_piece_is_long() -> None:
    url = "http://a.example/" + "abcdefghijklmnopqrstuvwxyz0123456789" * 3
    said = reasons.of_url(url, np.ones(1 << BITS, np.float32))
    assert len(said) == reasons.NAMED
    assert max(len(text) for text in said) < 60


def test_a_model_that_learnt_nothing_gives_no_reasons() -> None:
    assert reasons.of_url("http://a.example/", np.zeros(1 << BITS, np.float32)) == []


def test_url_risk_explains_good_rows_and_names_what_is_wrong_with_bad_ones() -> None:
    code = UrlRisk()
    arrays = {"w": weights("http://a.example/login", **{'"login"': 9.0}), "b": np.zeros(1, np.float32)}
    given = [
        Record(2, {"link": "http://a.example/login"}),
        Record(3, {"link": "not a url"}),
        broken(4, "TOO_FEW_FIELDS", "1 field where the header has 2"),
    ]
    good, bad, torn = code.explain(arrays, given, {"url": "link"}, settle(code, {}), ())
    assert not isinstance(good, RowError)
    assert good[0].startswith('"login" +')
    assert isinstance(bad, RowError)
    assert (bad.row, bad.field, bad.reason) == (3, "url", "URL_UNREADABLE")
    assert isinstance(torn, RowError)
    assert torn.reason == "TOO_FEW_FIELDS"


def test_tabular_risk_names_the_members_own_columns_by_what_they_moved() -> None:
    code, columns = TabularRisk(), {"x1": "age", "x2": "sales", "x3": "refunds"}
    settings = settle(code, {"columns": 3.0})
    arrays = {
        "w": np.array([1.0, -2.0, 0.5], np.float32),
        "b": np.zeros(1, np.float32),
        # Means 0 and deviations 1, by statistics of which everybody has every column.
        "moments": np.array([[1.0] * 3, [0.0] * 3, [1.0] * 3]),
        "unit": np.ones(1),
    }
    cells = {"age": "1.5", "sales": "2", "refunds": ""}
    good, bad = code.explain(arrays, [Record(2, cells), Record(3, cells | {"age": "old"})], columns, settings, ())
    assert good == ["sales = 2 -4.00", "age = 1.5 +1.50"]
    assert isinstance(bad, RowError)
    assert (bad.row, bad.field, bad.reason) == (3, "x1", "NUMBER_UNREADABLE")


def test_brand_attribution_names_the_brands_it_was_told_of() -> None:
    code = BrandAttribution()
    settings = settle(code, {"bits": 8.0, "classes": 64.0})
    classes = {brand: brand_class(brand, settings) for brand in ("Acme", "Bolt")}
    assert len(set(classes.values())) == 2
    bias = np.zeros(64, np.float32)
    bias[classes["Acme"]], bias[classes["Bolt"]] = 6.0, 5.0
    arrays = {"w": np.zeros((256, 64), np.float32), "b": bias}
    rows = [Record(2, {"url": "http://a.example"}), Record(3, {"url": ""})]
    said, bad = code.explain(arrays, rows, {"url": "url"}, settings, ["Acme", "ACME", "Cord"])
    assert not isinstance(said, RowError)
    assert said[0] == "brand Acme 0.66"
    assert said[1] == f"a brand not known here (class {classes['Bolt']}) 0.24"
    assert len(said) == 3
    assert isinstance(bad, RowError)


def test_the_empty_detector_has_no_reasons() -> None:
    assert NullDetector().explain({}, [Record(2, {}), Record(3, {})], {}, {}, ()) == [(), ()]
