"""Writes docs/reference/exit-codes.md from `alliance.errors`: `python scripts/exit_codes.py [--check]`.

`--check` writes nothing and exits with 1 where the page is not what would be written.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from alliance import errors
from alliance.status import CODES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "exit-codes.md"
INTRO = """\
# Exit codes

<!-- Written by scripts/exit_codes.py from alliance/errors.py; change the errors, then run it. -->

`alliance-hub` and `alliance-agent` share one error tree. An error is one line on standard error, `error: what is wrong;
what to do [REASON]`, and the exit code of its kind. The reason is stable and finer than the code: scripts that must
tell errors of a kind apart match it.

| code | error | gRPC status | meaning |
|---:|---|---|---|
| 0 | | `OK` | done |
| 1 | `AllianceError` | `INTERNAL` | unexpected; also: `doctor` found a problem, a question was answered with no |"""
OUTRO = "| 130 | | | interrupted with Ctrl-C |"


def written() -> str:
    kinds = [kind for kind in CODES if kind is not errors.AllianceError]
    rows = [
        f"| {kind.exit_code} | `{kind.__name__}` | `{CODES[kind].name}` | {_meaning(kind)} |"
        for kind in sorted(kinds, key=lambda kind: kind.exit_code)
    ]
    return "\n".join([INTRO, *rows, OUTRO]) + "\n"


def _meaning(kind: type[errors.AllianceError]) -> str:
    """What the tree in the module's docstring says of it; `InvalidInput` is also how a command line is misused."""
    found = re.search(rf"── {kind.__name__} +(.+)", errors.__doc__ or "")
    if found is None:
        raise LookupError(f"{kind.__name__} is not in the tree of alliance/errors.py")
    usage = "; also: the command line itself is wrong" if kind is errors.InvalidInput else ""
    return found[1].strip() + usage


def main(arguments: list[str]) -> int:
    if "--check" not in arguments:
        PAGE.write_text(written(), "utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != written():
        print("exit-codes.md is not what the errors say; run python scripts/exit_codes.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
