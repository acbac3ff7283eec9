"""Files as they come: every reader gives all good rows, and one error for each bad one."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alliance.errors import InvalidInput, NotFound
from member_agent.catalog.model import Format, Origin, SqlQuery
from member_agent.catalog.readers.delimited import MAX_FIELD, MAX_RECORD, DelimitedReader, Dialect, sniff
from member_agent.catalog.readers.encoding import survey
from member_agent.catalog.readers.folder import FolderReader
from member_agent.catalog.readers.jsonl import JsonlReader
from member_agent.catalog.readers.opening import open_origin
from member_agent.catalog.readers.records import Reader
from member_agent.catalog.readers.sql import SqlReader

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
PLAIN = st.text("abc xyz", min_size=1, max_size=8).filter(lambda text: bool(text.strip()))


def _table(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _read(reader: Reader) -> tuple[list[dict[str, str]], list[tuple[int, str]]]:
    """(good rows, (row number, reason) of the bad)"""
    records = list(reader.records())
    good = [dict(record.cells) for record in records if record.error is None]
    return good, [(record.number, record.error.reason) for record in records if record.error]


@settings(max_examples=200)
@given(rows=st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=8), delimiter=st.sampled_from(",;\t|#"))
def test_what_a_csv_writer_writes_is_read_back(
    rows: list[tuple[str, str, str]], delimiter: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b", "c"), *rows])
    path = _table(tmp_path_factory.mktemp("csv") / "t.csv", out.getvalue())
    good, bad = _read(DelimitedReader(path, Dialect(delimiter=delimiter)))
    assert [tuple(row.values()) for row in good] == rows
    assert not bad


BROKEN = {
    "quote in the middle": ('7,"an inch is 2.54"cm,x', "BROKEN_QUOTE"),
    "quote left open": ('7,"never closed,x', "BROKEN_QUOTE"),
    "too few": ("7,x", "TOO_FEW_FIELDS"),
    "too many": ("7,x,y,z", "TOO_MANY_FIELDS"),
    "zero byte": ("7,\0,x", "NUL_BYTE"),
    "long field": ("7,x," + "y" * (MAX_FIELD + 1), "FIELD_TOO_LONG"),
    "long line": ("7," + "y" * (2 * MAX_RECORD + 5) + ",x", "FIELD_TOO_LONG"),
}


@settings(max_examples=100)
@given(
    lines=st.lists(st.one_of(st.tuples(PLAIN, PLAIN, PLAIN), st.sampled_from(list(BROKEN))), min_size=1, max_size=12)
)
def test_a_broken_row_costs_itself_only(
    lines: list[tuple[str, str, str] | str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = "\n".join(["a,b,c", *(BROKEN[line][0] if isinstance(line, str) else ",".join(line) for line in lines)])
    reader = DelimitedReader(_table(tmp_path_factory.mktemp("csv") / "t.csv", text), Dialect())
    good, bad = _read(reader)
    assert [tuple(row.values()) for row in good] == [line for line in lines if not isinstance(line, str)]
    expected = [(row, BROKEN[line][1]) for row, line in enumerate(lines, start=2) if isinstance(line, str)]
    assert bad == expected


def test_a_quote_left_open_does_not_swallow_quoted_rows_after_it(tmp_path: Path) -> None:
    text = 'a,b\n1,"open\n2,"x, y"\n3,"two\nlines"\n'
    good, bad = _read(DelimitedReader(_table(tmp_path / "t.csv", text), Dialect()))
    assert good == [{"a": "2", "b": "x, y"}, {"a": "3", "b": "two\nlines"}]
    assert bad == [(2, "BROKEN_QUOTE")]


def test_quotes_in_unquoted_fields_are_characters(tmp_path: Path) -> None:
    path = _table(tmp_path / "t.csv", 'a|b\n1|iPad 9.7"\n2|5" or 6"\n')
    good, bad = _read(DelimitedReader(path, Dialect(delimiter="|")))
    assert [row["b"] for row in good] == ['iPad 9.7"', '5" or 6"']
    assert not bad


def test_without_quoting_every_quote_is_a_character(tmp_path: Path) -> None:
    path = _table(tmp_path / "t.tsv", 'a\tb\n1\t"Best" phone\n2\t"open\n')
    good, bad = _read(DelimitedReader(path, Dialect(delimiter="\t", quote="")))
    assert [row["b"] for row in good] == ['"Best" phone', '"open']
    assert not bad


def test_blank_lines_count_as_rows_and_are_no_errors(tmp_path: Path) -> None:
    path = _table(tmp_path / "t.csv", "a,b\r\n1,x\r\n\r\n2\r\n")
    good, bad = _read(DelimitedReader(path, Dialect()))
    assert len(good) == 1
    assert bad == [(4, "TOO_FEW_FIELDS")]


def test_columns_of_one_name_are_told_apart_and_empty_ones_on_the_right_ignored(tmp_path: Path) -> None:
    reader = DelimitedReader(_table(tmp_path / "t.csv", "a,price,price,\n1,2,3,,,\n"), Dialect())
    assert reader.columns == ("a", "price", "price (2)", "column 4")
    assert _read(reader)[0] == [{"a": "1", "price": "2", "price (2)": "3", "column 4": ""}]


@pytest.mark.parametrize("header", ["\n1,2\n", ",,\n1,2,3\n", '"open\n1\n'])
def test_a_first_row_that_names_nothing_is_an_error(tmp_path: Path, header: str) -> None:
    with pytest.raises(InvalidInput, match="does not name the columns"):
        DelimitedReader(_table(tmp_path / "t.csv", header), Dialect())


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "#"])
def test_the_delimiter_is_recognised(tmp_path: Path, delimiter: str) -> None:
    rows = [["id", "title", "price"], ["1", "one, two; three", "9"], ["2", "x #4", "8"], ["3", "a", "7"]]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    assert sniff(_table(tmp_path / "t.csv", out.getvalue()), "utf-8") == delimiter


def test_an_unnamed_encoding_must_hold_for_the_whole_file(tmp_path: Path) -> None:
    rows = "id,title\n" + "1,plain\n" * 300_000  # longer than the chunk it is read in
    path = _table(tmp_path / "t.csv", rows.encode() + "2,Müller".encode("cp1252"))
    with pytest.raises(InvalidInput) as caught:
        survey(path, None)
    assert caught.value.reason == "ENCODING_WRONG"
    assert f"offset {len(rows) + 3} (line 300002)" in str(caught.value)
    assert "--encoding cp1252" in str(caught.value)


def test_a_character_cut_by_a_chunk_is_no_error_and_its_offset_is_right(tmp_path: Path) -> None:
    head = b"a" * ((1 << 20) - 1)
    assert survey(_table(tmp_path / "good", head + "é".encode()), None).encoding == "utf-8"
    with pytest.raises(InvalidInput, match=f"offset {len(head)} "):
        survey(_table(tmp_path / "bad", head + b"\xc3x"), None)


def test_a_named_encoding_costs_the_rows_it_cannot_read(tmp_path: Path) -> None:
    path = _table(tmp_path / "t.csv", b"id,title\n1,M\xc3\xbcller\n2,M\xfcller\n3,x\n")
    opened = open_origin(Origin(path=path, encoding="utf-8"), None)
    good, bad = _read(opened.reader)
    assert [row["title"] for row in good] == ["Müller", "x"]
    assert bad == [(3, "ENCODING_WRONG")]
    opened = open_origin(Origin(path=path, encoding="cp1252"), None)
    assert _read(opened.reader)[0][1]["title"] == "Müller"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030", "shift_jis"])
def test_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    path = _table(tmp_path / "t.csv", "id,タイトル\n1,運動靴\n".encode(encoding))
    marked = encoding in ("utf-8-sig", "utf-16")
    opened = open_origin(Origin(path=path, encoding=None if marked else encoding), None)
    assert _read(opened.reader)[0] == [{"id": "1", "タイトル": "運動靴"}]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "EMPTY_FILE"),
        (b"PK\x03\x04rest", "NOT_TEXT"),
        (b"PAR1rest", "NOT_TEXT"),
        ("id,title\n1,x\n".encode("utf-16-le"), "NOT_TEXT"),
    ],
)
def test_what_is_no_text_says_so(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_origin(Origin(path=_table(tmp_path / "t.csv", content)), None)
    assert caught.value.reason == reason


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    path = _table(tmp_path / "t.csv", "a,b\n1,2\n")
    for origin, reason in (
        (Origin(path=path, encoding="klingon"), "ENCODING_UNKNOWN"),
        (Origin(path=path, encoding="base64"), "ENCODING_UNKNOWN"),
        (Origin(path=path, delimiter="ab"), "DELIMITER_MALFORMED"),
        (Origin(path=_table(tmp_path / "t.xyz", "a\n")), "FORMAT_UNKNOWN"),
        (Origin(), "PATH_MISSING"),
    ):
        with pytest.raises(InvalidInput) as caught:
            open_origin(origin, None)
        assert caught.value.reason == reason
    with pytest.raises(NotFound):
        open_origin(Origin(path=tmp_path / "absent.csv"), None)


def test_json_lines_keep_numbers_and_flatten_one_level(tmp_path: Path) -> None:
    lines = [
        '{"id": 1.50, "offer": {"price": 12345678901234567890, "deep": {}}, "images": ["a.jpg", "b.jpg"], "x": null}',
        "[1]",
        '{"id": ',
        "",
        '{"id": true, "x": "\\ud800"}',
        '{"id": 2, "late": 1, "\\ud800": 1}',
    ]
    reader = JsonlReader(_table(tmp_path / "t.jsonl", "\n".join(lines)), "utf-8")
    assert reader.columns == ("id", "offer.price", "offer.deep", "images", "x", "late")
    good, bad = _read(reader)
    assert good[0] == {
        "id": "1.50", "offer.price": "12345678901234567890", "offer.deep": "", "images": "a.jpg\nb.jpg", "x": ""
    }  # fmt: skip
    assert (good[1]["id"], good[1]["late"]) == ("2", "1")
    assert bad == [(2, "JSON_NOT_AN_OBJECT"), (3, "JSON_MALFORMED"), (5, "ENCODING_WRONG")]


def test_an_endless_json_line_costs_itself_only(tmp_path: Path) -> None:
    path = _table(tmp_path / "t.jsonl", '{"id": 1}\n{"id": "' + "x" * (3 << 20) + '"}\n{"id": 3}\n' + "[" * 100_000)
    good, bad = _read(JsonlReader(path, "utf-8"))
    assert [row["id"] for row in good] == ["1", "3"]
    assert bad == [(2, "LINE_TOO_LONG"), (4, "JSON_MALFORMED")]


def test_a_json_array_is_told_what_to_become(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="jq"):
        JsonlReader(_table(tmp_path / "t.jsonl", json.dumps([{"id": 1}])), "utf-8")


def _database(path: Path) -> str:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE goods (sku INTEGER, name TEXT, price REAL)")
        db.executemany("INSERT INTO goods VALUES (?, ?, ?)", [(n, f"shoe 100% {n}", n / 4) for n in range(5)])
    db.close()
    return f"sqlite:///{path}"


def test_a_query_is_read_and_nothing_written(tmp_path: Path) -> None:
    url = _database(tmp_path / "shop 1%.db")
    reader = SqlReader(
        SqlQuery(url=url, query="SELECT sku, name, NULL AS brand FROM goods WHERE name LIKE 'shoe 100%'")
    )
    good, bad = _read(reader)
    assert reader.columns == ("sku", "name", "brand")
    assert good[1] == {"sku": "1", "name": "shoe 100% 1", "brand": ""}
    assert (len(good), bad) == (5, [])
    with pytest.raises(InvalidInput, match="readonly"):
        SqlReader(SqlQuery(url=url, query="DELETE FROM goods RETURNING sku"))


@pytest.mark.parametrize(
    ("url", "query", "reason"),
    [
        ("not a url", "SELECT 1", "SQL_URL_MALFORMED"),
        ("nosuchdialect://h/db", "SELECT 1", "SQL_DRIVER_MISSING"),
        ("mysql+pymysql://u:hunter2@h/db", "SELECT 1", "SQL_DRIVER_MISSING"),
        ("{}", "SELECT nothing FROM nowhere", "SQL_FAILED"),
        ("{}", "CREATE TEMP TABLE x (y)", "SQL_NOT_A_QUERY"),
        ("postgresql+psycopg://u:hunter2@127.0.0.1:1/db", "SELECT 1", "SQL_FAILED"),
    ],
)
def test_a_query_that_fails_says_why_and_keeps_the_password(tmp_path: Path, url: str, query: str, reason: str) -> None:
    here = _database(tmp_path / "shop.db")
    sql = SqlQuery(url=url.replace("{}", here), query=query)
    with pytest.raises(InvalidInput) as caught:
        SqlReader(sql)
    assert caught.value.reason == reason
    assert "hunter2" not in str(caught.value) + repr(sql)


def test_a_query_that_breaks_off_says_where(tmp_path: Path) -> None:
    url = _database(tmp_path / "shop.db")
    # the driver reads one row ahead, so the third is lost with the fourth
    sql = "SELECT sku, abs(CASE sku WHEN 3 THEN -9223372036854775808 ELSE sku END) AS name FROM goods"
    with pytest.raises(InvalidInput, match="broke off after 2 rows: integer overflow") as caught:
        list(SqlReader(SqlQuery(url=url, query=sql)).records())
    assert caught.value.reason == "SQL_FAILED"


def test_a_missing_sqlite_file_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        SqlReader(SqlQuery(url=f"sqlite:///{tmp_path / 'absent.db'}", query="SELECT 1"))
    assert not (tmp_path / "absent.db").exists()


def test_a_folder_gives_its_pictures_in_order(tmp_path: Path) -> None:
    for name in ("hat/2.JPG", "hat/1.png", "boot/x.webp", "top.jpg", ".hidden/a.jpg", "hat/.b.jpg", "readme.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "link.jpg").symlink_to("/etc/hostname")
    reader = FolderReader(tmp_path)
    rows, bad = _read(reader)
    assert [(row["file"], row["folder"]) for row in rows] == [
        ("boot/x.webp", "boot"), ("hat/1.png", "hat"), ("hat/2.JPG", "hat"), ("top.jpg", ""),
    ]  # fmt: skip
    assert not bad
    before = reader.digest
    (tmp_path / "top.jpg").write_bytes(b"xy")
    assert FolderReader(tmp_path).digest != before


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no pictures"):
        FolderReader(tmp_path)


def test_formats_are_known_by_name(tmp_path: Path) -> None:
    csv_, tsv = _table(tmp_path / "a.csv", "a;b\n1;2\n"), _table(tmp_path / "a.TSV", "a\tb\n1\t2\n")
    assert open_origin(Origin(path=csv_), None).dialect.delimiter == ";"
    assert open_origin(Origin(path=tsv), None).dialect.format is Format.TSV
    assert open_origin(Origin(path=tmp_path, manifest=csv_, format=Format.IMAGES), None).dialect.format is Format.CSV
