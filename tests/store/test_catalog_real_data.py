"""Catalogues that others collected, imported whole: dirty rows, odd quoting, thousands of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.data import folder
from member_agent.catalog.model import ImportCounts, Origin, source_name
from member_agent.catalog.service import CatalogService

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
SHOP = source_name("shop")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[CatalogService]:
    with CatalogService(tmp_path / "home", lambda: NOW) as opened:
        yield opened


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "rows", "new", "warnings"),
    [
        ("er_pyjedai/D8/walmart.csv", 2_554, 2_554, 0),
        ("er_pyjedai/D8/amazon.csv", 22_074, 22_074, 0),
        ("er_pyjedai/D3/amazon.csv", 1_354, 1_354, 0),
        ("er_pyjedai/D3/gp.csv", 3_039, 3_039, 0),
        ("er_pyjedai/D2/abt.csv", 1_076, 1_076, 0),
        ("er_pyjedai/D2/buy.csv", 1_076, 1_076, 0),
        ("catalogue_mens_shoes_gtin/7004_1_subset.csv", 6_380, 3_938, 2_699),
        ("clothing_cc0_images", 372, 372, 0),
    ],
)
def test_real_catalogues_are_imported(service: CatalogService, name: str, rows: int, new: int, warnings: int) -> None:
    data = folder()
    if data is None:
        pytest.skip("no real data here: set ALLIANCE_DATA")
    plan = service.plan_import(Origin(path=data / name), source=SHOP)
    counts = service.run_import(plan).counts
    assert counts == ImportCounts(rows=rows, new=new, rejected=rows - new, warnings=warnings)
    assert service.run_import(plan).counts.unchanged == new


@pytest.mark.realdata
def test_a_quoted_cell_of_a_real_listing_export_is_read_whole(service: CatalogService) -> None:
    data = folder()
    if data is None:
        pytest.skip("no real data here: set ALLIANCE_DATA")
    service.run_import(service.plan_import(Origin(path=data / "er_pyjedai" / "D8" / "amazon.csv"), source=SHOP))
    models = {product.source_key: product.model for product in service.products()}
    assert models["485"] == 'iPad 9.7"'
    assert models["12299"] == '2.5" Backup Ultra Portable Hard Drive'
