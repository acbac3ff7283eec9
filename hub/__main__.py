"""`alliance-hub`: errors become one line and an exit code (docs/reference/exit-codes.md)."""

from __future__ import annotations

import sys

from alliance.errors import AllianceError


def main() -> None:
    from hub.cli import app

    try:
        app()
    except AllianceError as error:
        print(f"error: {error} [{error.reason}]", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
