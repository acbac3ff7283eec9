"""Writes docs/reference/access.md from the access table: `python scripts/access_table.py [--check]`.

`--check` writes nothing and exits with 1 where the page is not what would be written.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

from hub.runtime.access import TABLE, Listener
from hub.runtime.caller import CONSOLE, MEMBERS, Who
from tests.kit.foreign import ROWS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "access.md"
INTRO = """\
# Who may call what

<!-- Written by scripts/access_table.py from hub/runtime/access.py; change the table, then run it. -->

The one table of the hub (`hub/runtime/access.py`). A call that has no row is refused, and so is a caller without a
mark. What a row cannot say, the service that owns the resource checks: whether the caller is in the bank's group,
whether the batch is its own.

- **Listener**: `main` takes nothing but mutual TLS; `enrolment` asks for no client certificate and knows nobody.
- **Suspended**: whether a suspended member may still call. A member that was expelled or left may call nothing.
- **Waiting**: whether a member may call that has enrolled and that not enough members have admitted yet.
- **Two admins**: asked for as `two_admins` in the policy says, by default where there are two: one proposes, another
  approves ([how](../how-to/two-admins.md)). Of `IssueOperatorCertificate`, only for a new admin.
- **Rate**: calls per second of one caller, ten of them at once, where an RPC has a rate of its own besides
  `limits.calls_per_second`.
- **Refused** with `ROLE_NOT_PERMITTED`, `MEMBER_SUSPENDED`, `NOT_ADMITTED`, `APPROVAL_NEEDED`,
  `WRONG_LISTENER` or `NO_ACCESS_RULE`."""
FOREIGN = """
## Another member's resource

What a row cannot say: every field by which a member names something, and what it gets that presents another's there
(it is active, and in a group of its own). `tests/contract/test_hub_matrix_resources.py` finds the fields in the
contract, sends each, and fails where one is missing. But where *tells* says why, the answer is the very answer for
what nobody has: nothing is learned of what there is.
"""
ORDER = [who for who in Who if who in MEMBERS] + [who for who in Who if who in CONSOLE]


def written() -> str:
    return "\n".join([INTRO, *_tables(), FOREIGN, *_foreign()]) + "\n"


def _tables() -> Iterator[str]:
    head = [
        "RPC",
        "listener",
        *(who.value.replace("_", " ") for who in ORDER),
        "anyone",
        "suspended",
        "waiting",
        "two admins",
        "rate",
    ]
    for service, names in itertools.groupby(TABLE, key=lambda name: name.partition("/")[0]):
        yield from ("", f"## {service}", "", _row(head), _row(["---", "---", *[":-:"] * (len(head) - 2)]))
        yield from (_row(_cells(name)) for name in names)


def _foreign() -> Iterator[str]:
    yield from (_row(["RPC", "field", "presents", "gets", "tells"]), _row(["---"] * 5))
    for name, row in ROWS.items():
        rpc, _, field = name.partition(" ")
        gets = f"`{row.refusal}`" if row.refusal else row.instead
        yield _row([f"`{rpc}`", f"`{field}`", row.presents, gets, row.told])


def _cells(name: str) -> list[str]:
    rule = TABLE[name]
    listener = f"**{rule.listener}**" if rule.listener is not Listener.MAIN else str(rule.listener)
    who = [_mark(permitted=who in rule.who) for who in (*ORDER, Who.ANONYMOUS)]
    states = (
        _mark(permitted=rule.while_suspended),
        _mark(permitted=rule.while_unadmitted),
        _mark(permitted=rule.two_admins is not None),
    )
    return [f"`{name.partition('/')[2]}`", listener, *who, *states, f"{rule.rate:g}" if rule.rate else ""]


def _mark(*, permitted: bool) -> str:
    return "✓" if permitted else ""


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: list[str]) -> int:
    if "--check" not in arguments:
        PAGE.write_text(written(), "utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != written():
        print("access.md is not what the table says; run python scripts/access_table.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
