"""`alliance-hub`: errors become one line and an exit code (docs/reference/exit-codes.md)."""

from __future__ import annotations

from alliance import grpc_environment, output


def main() -> None:
    grpc_environment.prepare()
    output.run(_command_line)


def _command_line() -> None:
    from hub.cli import app

    app()


if __name__ == "__main__":
    main()
