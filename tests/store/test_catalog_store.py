"""The catalogue on a real SQLite file: importing, importing again, breaking off, reading."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alliance.errors import Corrupt, FailedPrecondition, InvalidInput, NotFound
from member_agent.catalog.model import (
    ChangeSeq,
    Field,
    ImportCounts,
    ImportReport,
    Origin,
    ProductId,
    ProductState,
    Progress,
    Resume,
    SqlQuery,
    source_name,
)
from member_agent.catalog.service import CatalogService

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
SHOP = source_name("shop")


class _PowerCut(Exception):
    pass


@pytest.fixture
def service(tmp_path: Path) -> Iterator[CatalogService]:
    with _open(tmp_path / "home") as opened:
        yield opened


def _open(home: Path, batch_rows: int = 2000) -> CatalogService:
    return CatalogService(home, lambda: NOW, batch_rows=batch_rows)


def _csv(path: Path, *rows: str, header: str = "id,title,brand,price") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def _import(
    service: CatalogService,
    path: Path,
    *,
    prune: bool = False,
    resume: Resume = Resume.AUTO,
    said: dict[Field, str] | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> ImportReport:
    plan = service.plan_import(Origin(path=path), source=SHOP, said=said)
    return service.run_import(plan, prune=prune, resume=resume, progress=progress)


def _titles(service: CatalogService) -> list[str]:
    return [product.title for product in service.products()]


def test_importing_again_writes_nothing(service: CatalogService, tmp_path: Path) -> None:
    path = _csv(tmp_path / "a.csv", "1,Shoe,Acme,9.90", "2,Boot,Acme,19.90")
    assert _import(service, path).counts == ImportCounts(rows=2, new=2)
    before = list(service.products())
    upto = service.changes().upto
    assert _import(service, path).counts == ImportCounts(rows=2, unchanged=2)
    assert list(service.products()) == before
    assert not list(service.changes(upto).changed)


def test_a_new_price_is_stored_and_is_no_change_to_publish(service: CatalogService, tmp_path: Path) -> None:
    _import(service, _csv(tmp_path / "a.csv", "1,Shoe,Acme,9.90", "2,Boot,Acme,19.90"))
    upto = service.changes().upto
    digests = [product.content_digest for product in service.products()]
    assert _import(service, _csv(tmp_path / "a.csv", "1,Shoe,Acme,8", "2,Boot,Acme,19.90")).counts.changed == 1
    assert [str(product.price) for product in service.products()] == ["8.0", "19.90"]
    assert [product.content_digest for product in service.products()] == digests
    assert not list(service.changes(upto).changed)


def test_what_vanished_is_reported_and_withdrawn_only_when_asked_to(service: CatalogService, tmp_path: Path) -> None:
    whole = _csv(tmp_path / "a.csv", "1,Shoe,,", "2,Boot,,", "3,Hat,,")
    part = _csv(tmp_path / "b.csv", "1,Shoe,,")
    _import(service, whole)
    upto = service.changes().upto
    for _ in range(2):
        report = _import(service, part)
        assert (report.counts.vanished, report.counts.withdrawn) == (2, 0)
        assert report.vanished_keys == ("2", "3")
        assert _titles(service) == ["Shoe", "Boot", "Hat"]
    assert _import(service, whole).counts == ImportCounts(rows=3, unchanged=3)
    assert service.sources()[0].missing == 0

    report = _import(service, part, prune=True)
    assert (report.counts.vanished, report.counts.withdrawn) == (2, 2)
    assert _titles(service) == ["Shoe"]
    assert [product.title for product in service.products(state=ProductState.WITHDRAWN)] == ["Boot", "Hat"]
    changes = service.changes(upto)
    assert (list(changes.changed), list(changes.withdrawn)) == ([], [2, 3])
    assert _import(service, part, prune=True).counts == ImportCounts(rows=1, unchanged=1)

    assert _import(service, whole).counts == ImportCounts(rows=3, unchanged=1, changed=2)
    back = service.changes(changes.upto)
    assert [product.id for product in back.changed] == [2, 3], "withdrawn products that came back are to be published"
    assert not list(back.withdrawn)


def test_a_broken_row_does_not_withdraw_its_product(service: CatalogService, tmp_path: Path) -> None:
    _import(service, _csv(tmp_path / "a.csv", "1,Shoe,,", "2,Boot,,", "3,Hat,,"))
    report = _import(service, _csv(tmp_path / "a.csv", "1,Shoe,,", "2,Boot"), prune=True)
    assert (report.counts.vanished, report.counts.withdrawn) == (1, 1)
    assert _titles(service) == ["Shoe", "Boot"]
    report = _import(service, _csv(tmp_path / "a.csv", "1,Shoe,,", '"2,Boot,,'), prune=True)
    assert (report.counts.vanished, report.counts.withdrawn, report.prune_held) == (1, 0, True)
    assert _titles(service) == ["Shoe", "Boot"]


def test_row_errors_are_in_a_file_and_gone_when_repaired(service: CatalogService, tmp_path: Path) -> None:
    path = _csv(tmp_path / "a.csv", "1,Shoe,,9", "2", ",Boot,,", "1,Hat,,", "5,Cap,,call us")
    report = _import(service, path)
    assert report.counts == ImportCounts(rows=5, new=2, rejected=3, warnings=1, unmatched=1)
    assert report.errors_file == tmp_path / "home" / "errors" / "shop.csv"
    assert report.errors_file.read_text().splitlines() == [
        "row,severity,field,reason,message",
        "3,rejected,,TOO_FEW_FIELDS,1 fields where the header has 4",
        "4,rejected,id,ID_MISSING,no value in column 'id'",
        "5,rejected,id,DUPLICATE_ID,row 2 has the id '1' already",
        "6,warning,price,PRICE_UNREADABLE,'call us' is not a price",
    ]
    assert _import(service, _csv(tmp_path / "a.csv", "1,Shoe,,", "5,Cap,,")).errors_file is None
    assert not (tmp_path / "home" / "errors" / "shop.csv").exists()


def test_a_rehearsal_counts_what_an_import_does_and_stores_nothing(service: CatalogService, tmp_path: Path) -> None:
    _import(service, _csv(tmp_path / "a.csv", "1,Shoe,,", "2,Boot,,", "3,Hat,,"))
    path = _csv(tmp_path / "a.csv", "1,Shoe,,", "2,Boots,,", "4,Cap,,", "4,Cap,,", "5")
    plan = service.plan_import(Origin(path=path), source=SHOP)
    before = list(service.products())
    rehearsed = service.rehearse(plan)
    assert list(service.products()) == before
    done = service.run_import(plan)
    assert rehearsed.counts == done.counts == ImportCounts(
        rows=5, new=1, changed=1, unchanged=1, rejected=2, vanished=1
    )  # fmt: skip
    assert rehearsed.vanished_keys == done.vanished_keys == ("3",)


def test_the_map_of_a_source_is_kept(service: CatalogService, tmp_path: Path) -> None:
    path = _csv(tmp_path / "a.csv", "1,Shoe", header="nr,was")
    with pytest.raises(InvalidInput, match="--column title=NAME"):
        service.plan_import(Origin(path=path), source=SHOP)
    _import(service, path, said={Field.TITLE: "was", Field.ID: "nr"})
    plan = service.plan_import(Origin(path=path), source=SHOP)
    assert not plan.needs_confirmation
    assert service.run_import(plan).counts.unchanged == 1
    with pytest.raises(InvalidInput) as caught:
        service.plan_import(Origin(path=_csv(tmp_path / "a.csv", "1,Shoe", header="nr,what")), source=SHOP)
    assert caught.value.reason == "COLUMN_MISSING"
    assert _titles(service) == ["Shoe"], "nothing was harmed"
    assert service.maps()[SHOP].columns == {Field.TITLE: "was", Field.ID: "nr"}


def test_a_file_of_the_wrong_encoding_harms_nothing(service: CatalogService, tmp_path: Path) -> None:
    path = _csv(tmp_path / "a.csv", "1,Shoe,,")
    _import(service, path)
    path.write_bytes(b"id,title,brand,price\n1,Sch\xfch,,\n")
    with pytest.raises(InvalidInput) as caught:
        _import(service, path, prune=True)
    assert caught.value.reason == "ENCODING_WRONG"
    assert _titles(service) == ["Shoe"]


def test_an_empty_export_withdraws_nothing(service: CatalogService, tmp_path: Path) -> None:
    _import(service, _csv(tmp_path / "a.csv", "1,Shoe,,"))
    with pytest.raises(InvalidInput) as caught:
        _import(service, _csv(tmp_path / "a.csv"), prune=True)
    assert caught.value.reason == "NO_ROWS"
    assert _titles(service) == ["Shoe"]


def _older(path: Path) -> Path:
    return _csv(path, *(f"{n},Title {n},Brand,{n}" for n in range(0, 40, 2)), "gone,Gone,,")


def _newer(path: Path) -> Path:
    rows = [f"{n},Title {n if n % 3 else -n},Brand,{n}" for n in range(40)]
    rows[7] = '7,"open'
    rows[11] = "4,again,,"
    return _csv(path, *rows)


def _state(service: CatalogService, report: ImportReport) -> object:
    errors = report.errors_file.read_text() if report.errors_file else ""
    return list(service.products()), list(service.changes().withdrawn), report.counts, errors


@settings(max_examples=12, deadline=None)
@given(cuts=st.sets(st.integers(1, 30), max_size=6), batch_rows=st.integers(3, 17))
def test_an_import_cut_off_anywhere_ends_as_one_that_was_not(
    cuts: set[int], batch_rows: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder_ = tmp_path_factory.mktemp("cut")
    old, new = _older(folder_ / "old.csv"), _newer(folder_ / "new.csv")
    with _open(folder_ / "whole", batch_rows) as service:
        _import(service, old)
        expected = _state(service, _import(service, new, prune=True))
    acknowledged = [0]

    def cut(progress: Progress) -> None:
        acknowledged.append(progress.rows)
        if len(acknowledged) - 1 in cuts:
            raise _PowerCut

    with _open(folder_ / "cut", batch_rows) as service:
        _import(service, old)
    while True:
        with _open(folder_ / "cut", batch_rows) as service:
            plan = service.plan_import(Origin(path=new), source=SHOP)
            assert plan.resumes_after == acknowledged[-1]
            try:
                report = service.run_import(plan, prune=True, progress=cut)
            except _PowerCut:
                continue
            assert report.resumed_after == plan.resumes_after
            assert _state(service, replace(report, resumed_after=0)) == expected
            break


def test_another_file_or_map_starts_anew_and_resume_can_be_insisted_on(service: CatalogService, tmp_path: Path) -> None:
    def cut(progress: Progress) -> None:
        raise _PowerCut

    path = _csv(tmp_path / "a.csv", "1,Shoe,,", "2,Boot,,")
    with pytest.raises(_PowerCut):
        _import(service, path, progress=cut)
    assert service.sources()[0].interrupted
    plan = service.plan_import(Origin(path=path), source=SHOP)
    assert plan.resumes_after == 3
    assert service.rehearse(plan).counts == ImportCounts(rows=2, unchanged=2)
    assert service.plan_import(Origin(path=path), source=SHOP, said={Field.BRAND: ""}).resumes_after == 0
    changed = _csv(tmp_path / "b.csv", "1,Shoe,,", "2,Boots,,")
    with pytest.raises(FailedPrecondition, match="leave out --resume"):
        _import(service, changed, resume=Resume.ONLY)
    report = _import(service, path, resume=Resume.NEVER)
    assert (report.resumed_after, report.counts) == (0, ImportCounts(rows=2, unchanged=2))
    assert not service.sources()[0].interrupted


def test_an_interrupted_query_starts_again(service: CatalogService, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as db:
        db.execute("CREATE TABLE goods (id, title)")
        db.executemany("INSERT INTO goods VALUES (?, ?)", [(n, f"Shoe {n}") for n in range(30)])
    db.close()
    origin = Origin(sql=SqlQuery(url=f"sqlite:///{tmp_path / 'shop.db'}", query="SELECT * FROM goods"))

    def cut(progress: Progress) -> None:
        raise _PowerCut

    with _open(tmp_path / "home", batch_rows=10) as small:
        with pytest.raises(_PowerCut):
            small.run_import(small.plan_import(origin, source=SHOP), progress=cut)
        report = small.run_import(small.plan_import(origin, source=SHOP))
    assert (report.resumed_after, report.counts) == (0, ImportCounts(rows=30, new=20, unchanged=10))
    with pytest.raises(InvalidInput, match="--source NAME"):
        service.plan_import(origin)


def test_pictures_of_a_folder_are_products(service: CatalogService, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "hat").mkdir(parents=True)
    (photos / "hat" / "1.jpg").write_bytes(b"one")
    (photos / "2.jpg").write_bytes(b"two")
    (photos / "3.jpg").write_bytes(b"")
    report = _import(service, photos)
    assert report.counts == ImportCounts(rows=3, new=2, rejected=1)
    assert [(one.source_key, one.category) for one in service.products()] == [("2.jpg", ""), ("hat/1.jpg", "hat")]
    upto = service.changes().upto
    (photos / "2.jpg").write_bytes(b"other")
    assert _import(service, photos).counts == ImportCounts(rows=3, changed=1, unchanged=1, rejected=1)
    assert [one.source_key for one in service.changes(upto).changed] == ["2.jpg"]


def test_a_manifest_describes_the_pictures_of_a_folder(service: CatalogService, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "1.jpg").write_bytes(b"one")
    (tmp_path / "list.csv").write_text("file,title,brand\n1.jpg,Hat,Acme\n2.jpg,Cap,Acme\n3.jpg,,\n")
    plan = service.plan_import(Origin(path=photos, manifest=tmp_path / "list.csv"))
    report = service.run_import(plan)
    assert report.source == "photos"
    assert report.counts == ImportCounts(rows=3, new=2, rejected=1, warnings=1)
    hat, cap = service.products()
    assert (hat.title, hat.brand, hat.image_paths) == ("Hat", "Acme", ((photos / "1.jpg").resolve(),))
    assert (cap.title, cap.image_paths) == ("Cap", ())


def test_changes_are_not_missed_by_a_reader_in_the_middle_of_an_import(tmp_path: Path) -> None:
    published: dict[int, str] = {}
    since = ChangeSeq(0)
    with _open(tmp_path / "home", batch_rows=7) as service, _open(tmp_path / "home") as reader:

        def publish(progress: Progress) -> None:
            nonlocal since
            changes = reader.changes(since)
            for product in changes.changed:
                assert published.get(product.id) != product.title, "published twice"
                published[product.id] = product.title
            for gone in changes.withdrawn:
                published.pop(gone, None)
            since = changes.upto

        for path in (_older(tmp_path / "old.csv"), _newer(tmp_path / "new.csv")):
            _import(service, path, prune=True, progress=publish)
            publish(Progress(rows=0, done=0, total=0))
            assert published == {product.id: product.title for product in service.products()}


def test_many_products_are_read_page_by_page(service: CatalogService, tmp_path: Path) -> None:
    _import(service, _csv(tmp_path / "a.csv", *(f"{n},Title {n},," for n in range(2_501))))
    assert [product.source_key for product in service.products(SHOP)] == [str(n) for n in range(2_501)]
    assert len({product.id for product in service.changes().changed}) == 2_501
    _import(service, _csv(tmp_path / "b.csv", "0,Title 0,,"), prune=True)
    assert len(set(service.changes().withdrawn)) == 2_500
    assert not list(service.products(source_name("other")))
    with pytest.raises(NotFound):
        service.product(ProductId(9_999))


def test_two_imports_at_once_are_refused(service: CatalogService, tmp_path: Path) -> None:
    path = _csv(tmp_path / "a.csv", "1,Shoe,,")

    def another(progress: Progress) -> None:
        with _open(tmp_path / "home") as second, pytest.raises(FailedPrecondition, match=r"holds catalog\.lock"):
            _import(second, path)

    assert _import(service, path, progress=another).counts.new == 1


def test_a_newer_schema_is_refused_and_a_stranger_s_file_too(tmp_path: Path) -> None:
    _open(tmp_path).close()
    with sqlite3.connect(tmp_path / "catalog.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(FailedPrecondition, match="upgrade"):
        _open(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "catalog.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(Corrupt, match="no SQLite database"):
        _open(tmp_path / "other")


def test_the_database_is_for_its_owner_and_durable(service: CatalogService, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert (home / "catalog.db").stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700
    with service._db.read() as db:  # the pragmas are per connection, so ask one of the service's own
        assert db.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert db.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2, "FULL"
        assert db.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1


def test_no_module_of_the_catalogue_can_reach_the_network_side() -> None:
    script = (
        "import pkgutil, sys, member_agent.catalog as c\n"
        "for m in pkgutil.walk_packages(c.__path__, 'member_agent.catalog.'): __import__(m.name)\n"
        "print([n for n in sys.modules if 'egress' in n or 'hub_client' in n or n.split('.')[0] in ('grpc', 'flwr')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
