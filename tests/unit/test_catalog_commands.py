"""`alliance-agent catalog` as its users type it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from alliance.errors import AllianceError
from member_agent.catalog.commands import app

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*arguments: str | Path, failing: bool = False, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(app, [str(one) for one in arguments], obj={"home": tmp_path / "home"}, input=stdin)
        assert (result.exit_code != 0) == failing, result.output
        return result

    return run


def _json(result: Result) -> Any:
    return json.loads(result.stdout)


def _error(result: Result) -> AllianceError:
    assert isinstance(result.exception, AllianceError), result.exception
    return result.exception


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    path = tmp_path / "My Feed (1).csv"
    path.write_text("sku,name,brand,price\n1,Shoe,Acme,9.90\n2,Boot,Acme\n3,Hat,Acme,7\n")
    return path


def test_guessed_columns_are_shown_and_need_a_yes(run: Run, feed: Path) -> None:
    refused = run("import", feed, failing=True)
    assert _error(refused).reason == "MAP_UNCONFIRMED"
    assert "--yes" in str(_error(refused))
    assert "sku" in refused.stderr
    assert "Shoe" in refused.stderr
    assert _json(run("list", "--json")) == []
    done = run("import", feed, "--yes")
    assert "my-feed-1: 3 rows" in done.stdout
    assert "new 2, changed 0, unchanged 0, rejected 1, warnings 0" in done.stdout
    assert "my-feed-1.csv" in done.stderr
    assert "unchanged 2" in run("import", feed).stdout, "the map was kept"


def test_everything_is_there_as_json(run: Run, feed: Path) -> None:
    dry = _json(run("import", feed, "--dry-run", "--json"))
    assert (dry["dry_run"], dry["new"], dry["rejected"]) == (True, 2, 1)
    assert dry["map"]["columns"] == {"id": "sku", "title": "name", "brand": "brand", "price": "price"}
    assert _json(run("sources", "--json")) == []
    done = _json(run("import", feed, "--yes", "--source", "shop", "--json"))
    assert Path(done["errors_file"]).read_text().splitlines()[1].startswith("3,rejected,,TOO_FEW_FIELDS,")
    (source,) = _json(run("sources", "--json"))
    assert (source["name"], source["active"], source["interrupted"]) == ("shop", 2, False)
    (first, second) = _json(run("list", "--source", "shop", "--json"))
    assert (first["title"], first["price"], second["source_key"]) == ("Shoe", "9.90", "3")
    assert _json(run("show", str(first["id"]), "--json")) == first
    assert _json(run("maps", "--json"))["shop"]["delimiter"] == ","


def test_reads_are_text_otherwise(run: Run, feed: Path) -> None:
    run("import", feed, "--yes", "--source", "shop")
    assert "Shoe" in run("list").stdout
    assert "shop" in run("sources").stdout
    assert ["title", "Shoe"] in [line.split() for line in run("show", "1").stdout.splitlines()]
    assert run("maps").stdout == "shop: id=sku, title=name, brand=brand, price=price\n"


def test_titles_are_text_and_not_markup(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,title\n1,[/x] [red]:smile:\n")
    run("import", path, "--yes")
    assert "[/x] [red]:smile:" in run("list").stdout
    assert "[/x] [red]:smile:" in run("show", "1").stdout


def test_vanished_products_are_withdrawn_with_prune(run: Run, feed: Path, tmp_path: Path) -> None:
    errors = tmp_path / "bad.csv"
    run("import", feed, "--yes", "--source", "shop", "--errors", errors)
    assert errors.exists()
    feed.write_text("sku,name,brand,price\n1,Shoe,Acme,9.90\n")
    assert "vanished 1 (3): still active; withdraw them with --prune" in run("import", feed, "--source", "shop").stdout
    assert "would be withdrawn" in run("import", feed, "--source", "shop", "--prune", "--dry-run").stdout
    assert "vanished 1: withdrawn" in run("import", feed, "--source", "shop", "--prune").stdout
    assert [one["title"] for one in _json(run("list", "--withdrawn", "--json"))] == ["Hat"]


def test_columns_encoding_and_delimiter_can_be_said(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('nr~was\n1~"Schöne" Schuhe\n'.encode("cp1252"))
    assert _error(run("import", path, failing=True)).reason == "ENCODING_WRONG"
    options = ["--encoding", "cp1252", "--delimiter", "~", "--no-quotes"]
    assert _error(run("import", path, *options, failing=True)).reason == "TITLE_UNMAPPED"
    run("import", path, *options, "--column", "title=was", "--column", "id=nr", "--yes")
    assert _json(run("show", "1", "--json"))["title"] == '"Schöne" Schuhe'
    saved = tmp_path / "home" / "maps" / "a.toml"
    other = tmp_path / "b.csv"
    other.write_bytes("nr~was\n1~Hüte\n".encode("cp1252"))
    run("import", other, "--map", saved)
    assert [one["title"] for one in _json(run("list", "--source", "b", "--json"))] == ["Hüte"]


def test_a_query_s_url_is_never_an_argument(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "s.db") as db:
        db.execute("CREATE TABLE goods AS SELECT 1 AS id, 'Shoe' AS title")
    db.close()
    query = ("--sql", "SELECT * FROM goods", "--source", "erp", "--yes", "--json")
    assert _error(run("import", *query, failing=True)).reason == "SQL_URL_MISSING"
    (tmp_path / "url").write_text(f"sqlite:///{tmp_path / 's.db'}\n")
    assert _json(run("import", *query, "--sql-url-file", tmp_path / "url"))["new"] == 1
    monkeypatch.setenv("ERP_URL", f"sqlite:///{tmp_path / 's.db'}")
    assert _json(run("import", *query, "--sql-url-env", "ERP_URL"))["unchanged"] == 1


def test_resuming_can_be_insisted_on_or_ruled_out(run: Run, feed: Path) -> None:
    assert _error(run("import", feed, "--yes", "--resume", failing=True)).reason == "NOTHING_TO_RESUME"
    assert "new 2" in run("import", feed, "--yes", "--restart").stdout


def test_wrong_arguments_have_errors_of_their_own(run: Run, feed: Path, tmp_path: Path) -> None:
    for arguments, reason in (
        (["import", tmp_path / "absent.csv"], "FILE_UNREADABLE"),
        (["import"], "PATH_MISSING"),
        (["import", feed, "--source", "../x"], "SOURCE_NAME_MALFORMED"),
        (["import", feed, "--column", "x"], "COLUMN_OPTION_MALFORMED"),
        (["import", feed, "--column", "title=nmae"], "COLUMN_MISSING"),
        (["import", feed, "--images", tmp_path / "absent"], "FILE_UNREADABLE"),
        (["show", "77"], "NOT_FOUND"),
        (["list", "--source", "nobody"], "NOT_FOUND"),
    ):
        assert _error(run(*arguments, failing=True)).reason == reason


def test_an_import_of_which_nothing_is_left_is_an_error(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,title\n1\n2\n")
    assert _error(run("import", path, "--yes", failing=True)).reason == "ALL_REJECTED"


def test_asking_for_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "import member_agent.catalog.commands\n"
        "print([n for n in ('sqlalchemy', 'numpy', 'PIL', 'pyarrow', 'hypothesis') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
