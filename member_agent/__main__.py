"""`alliance-agent`: errors become one line and an exit code (docs/reference/exit-codes.md)."""

from __future__ import annotations

from alliance import output


def main() -> None:
    from member_agent.cli import app

    output.run(app)


if __name__ == "__main__":
    main()
