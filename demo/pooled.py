"""What one table of everyone's rows would have given: for comparison, and possible in the demo alone.

No party of an alliance has these rows together. The demo laid them out itself, so it may: in a process of its own, it
trains the detector that the members trained, by the agent's own trainer, on all their rows for as many rounds, and
judges the model on what each member held back. This is the one module of the demo that uses the agent's code and not
its command line (.importlinter), and none of the others imports it:

    python -m demo.pooled --detector NAME --metric NAME --rounds N --columns A,B --settings A=1,B=2 --rows FILE ...
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from alliance import output, tensors
from demo.world import write_table
from member_agent.training.detector import load, settle
from member_agent.training.trainer import Task, Trainer


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A detector, how it was trained, and a file of rows for each member; columns are named as their roles."""

    detector: str
    metric: str
    rounds: int
    columns: Sequence[str]
    settings: Sequence[str]
    rows: Sequence[Path]


def pooled(wanted: Wanted, folder: Path) -> float:
    """The metric of a model of all members' training rows: the mean over members, each on the rows it held back.

    A member's agent holds rows back by a hash of their group, or as the file says, so in one table the same rows are
    held back as in the members' own.

    Args:
        folder: where the table may be written.

    Raises:
        AllianceError: training failed.
    """
    table = write_table(folder / "everyone.csv", _rows(wanted.rows), wanted.columns)
    settings = {name: float(value) for name, value in (text.split("=") for text in wanted.settings)}
    code = load(wanted.detector)
    model: bytes | memoryview = tensors.encode(code.initial(settle(code, settings)))

    def task(path: Path, number: int) -> Task:
        columns = {name: name for name in wanted.columns}
        # Any key will do: nobody else has this model.
        key = bytes(32)
        return Task(detector=wanted.detector, path=path, columns=columns, settings=settings, number=number, key=key)

    with Trainer() as trainer:
        for number in range(1, wanted.rounds + 1):
            model = trainer.train(task(table, number), model).update
        # Round 0: a member's own model is judged beside, and is not wanted here.
        judged = [trainer.evaluate(task(path, 0), model).metrics for path in wanted.rows]
    return fmean(metrics[wanted.metric] for metrics in judged)


def _rows(paths: Sequence[Path]) -> Iterator[dict[str, str]]:
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)


def main() -> None:
    parser = argparse.ArgumentParser("python -m demo.pooled", description=__doc__)
    for name in ("detector", "metric", "columns", "settings"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--rows", type=Path, nargs="+", required=True)
    given = parser.parse_args()
    wanted = Wanted(
        detector=given.detector,
        metric=given.metric,
        rounds=given.rounds,
        columns=given.columns.split(","),
        settings=given.settings.split(","),
        rows=given.rows,
    )
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({"pooled": pooled(wanted, Path(folder))}))


if __name__ == "__main__":
    output.run(main)
