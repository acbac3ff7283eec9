"""What the demo shows and writes of an outcome."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console

from alliance.errors import InvalidInput
from demo import report, result
from demo.agent_cli import Gain
from demo.at_the_hub import AtTheHub, look
from demo.result import Learnt, Log, Member, Outcome, Screening
from demo.scoring import ImageScore, TextScore

TRANSFORMS = ("reencoded", "resized", "cropped", "padded", "flipped")
OUTCOME = Outcome(
    generated=True,
    source="GENERATED titles",
    members=[
        Member(name=f"m{n}", role=role, holds=f"{n} things", sent={"sealed batch": 10 * n, "session": 1})
        for n, role in enumerate(("brand", "brand", "brand", "association", "marketplace", "regulator"))
    ],
    published={"titles": 30, "photos": 12},
    screenings=[
        Screening(member="m4", bank="titles", listings=100, matches=20, pairs=24, file=Path("a.jsonl")),
        Screening(member="m4", bank="photos", listings=50, matches=7, pairs=9, file=Path("b.jsonl")),
    ],
    text=TextScore(true_pairs=10, candidates=24, found=9),
    images=ImageScore(
        found=dict.fromkeys(TRANSFORMS, 3) | {"cropped": 2},
        copies=dict.fromkeys(TRANSFORMS, 3),
        strangers=15,
        false_matches=1,
    ),
    matched=17,
    learnt=[
        Learnt(
            detector="url-risk",
            source="GENERATED URLs",
            rounds=3,
            metric="pr_auc",
            gains={
                "m0": Gain(local=0.81, federated=0.93456, blended=0.9, rows=120),
                "m1": Gain(local=0.9, federated=0.85, blended=0.91, rows=7),
            },
            pooled=0.94567,
        )
    ],
    log=Log(size=42, verified=True, root="ab" * 32),
    at_the_hub=AtTheHub(files=3, size=999, sought=30, found=0, sample=bytes(range(64)), sample_of="blobs/complete/ab"),
    seconds=12.34,
)


def shown(outcome: Outcome) -> str:
    text = StringIO()
    report.show(outcome, Console(file=text, width=160))
    return text.getvalue()


def test_the_document_keeps_to_its_schema() -> None:
    document = result.document(OUTCOME)
    jsonschema.validate(document, json.loads(result.SCHEMA.read_text()), jsonschema.Draft202012Validator)
    assert document["fingerprints_published"] == 42
    assert document["listings_screened"] == 150
    assert document["matches"] == 27
    assert document["text"] == {"pc": 0.9, "pq": 0.375, "candidates": 24}
    assert document["images"]["recall"] == round(14 / 15, 4)
    assert document["images"]["by_transform"]["cropped"] == round(2 / 3, 4)
    assert document["egress"] == {"bytes": 156, "by_type": {"sealed batch": 150, "session": 6}}
    assert document["federation"] == {
        "url-risk": {
            "rounds": 3,
            "metric": "pr_auc",
            "members": {
                "members/m0": {"local": 0.81, "federated": 0.9346, "blended": 0.9},
                "members/m1": {"local": 0.9, "federated": 0.85, "blended": 0.91},
            },
            "pooled": 0.9457,
        }
    }
    assert document["members"][0] == {"name": "members/m0", "role": "brand"}


@pytest.mark.parametrize("missing", ["text", "images", "federation", "audit", "egress", "generated"])
def test_the_schema_misses_what_is_missing(missing: str) -> None:
    document = result.document(OUTCOME)
    del document[missing]
    with pytest.raises(jsonschema.ValidationError, match=missing):
        jsonschema.validate(document, json.loads(result.SCHEMA.read_text()), jsonschema.Draft202012Validator)


def test_generated_data_is_called_so_in_every_heading() -> None:
    text = shown(OUTCOME)
    for heading in ("members", "what was found", "altered pictures found again"):
        assert f"GENERATED data: {heading}" in text
    learnt = [replace(one, source="URLs") for one in OUTCOME.learnt]
    assert "GENERATED" not in shown(replace(OUTCOME, generated=False, source="real data in here", learnt=learnt))


def test_the_report_says_what_the_hub_has() -> None:
    text = shown(OUTCOME)
    assert "999 bytes in 3 files" in text
    assert "Of 30 product titles looked for in them, 0 were found." in text
    assert "00010203 04050607" in text


def test_a_log_that_does_not_verify_is_not_called_verified() -> None:
    assert "NOT VERIFIED" in shown(replace(OUTCOME, log=replace(OUTCOME.log, verified=False)))


def test_the_report_says_who_gained_and_who_lost() -> None:
    lines = [line.split() for line in shown(OUTCOME).splitlines() if "│ url-risk" in line]
    cells = [[word for word in line if word != "│"] for line in lines]
    assert cells == [
        ["url-risk", "m0", "pr_auc", "120", "0.810", "0.935", "+0.125", "0.900"],
        ["url-risk", "m1", "pr_auc", "7", "0.900", "0.850", "-0.050", "0.910"],
        ["url-risk", "mean", "pr_auc", "0.855", "0.892", "+0.037", "0.905"],
        ["url-risk", "all", "rows", "in", "one", "place*", "pr_auc", "0.946", "+0.091"],
    ]
    assert "url-risk: GENERATED URLs, 3 rounds" in shown(OUTCOME)
    assert "* for comparison, by the demo itself" in shown(OUTCOME)


def test_titles_at_the_hub_are_found(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "sealed").write_bytes(b"\x00" * 400)
    (tmp_path / "hub.db").write_bytes(b"...Draper Infrared Transmitter..." + "Überzug für Möbel".encode())
    seen = look(tmp_path, ["Draper Infrared Transmitter", "Epson Projector Lamp", "Überzug für Möbel", "short"])
    assert (seen.found, seen.sought, seen.files, seen.sample_of) == (2, 3, 2, "blobs/sealed")
    assert seen.sample == b"\x00" * 96


def test_a_result_goes_only_where_it_can_be_written(tmp_path: Path) -> None:
    assert result.writable(tmp_path / "demo.json") == tmp_path / "demo.json"
    for bad in (tmp_path, tmp_path / "none" / "demo.json"):
        with pytest.raises(InvalidInput, match="--json: cannot write"):
            result.writable(bad)
