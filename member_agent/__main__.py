"""`alliance-agent`: errors become one line and an exit code (docs/reference/exit-codes.md)."""

from __future__ import annotations

import errno

from alliance import grpc_environment, output
from member_agent.limits import out_of_memory


def main() -> None:
    grpc_environment.prepare()
    output.run(_within_memory)


def _within_memory() -> None:
    from member_agent.cli import app

    try:
        app()
    except (MemoryError, ImportError, OSError) as error:
        if not _is_shortage(error):
            raise
        raise out_of_memory() from error


def _is_shortage(error: Exception) -> bool:
    """Whether something did not fit under the cap; a library says so in the loader's words, a file by its number."""
    if isinstance(error, ImportError):
        return "failed to map segment" in str(error) or "cannot allocate memory" in str(error).lower()
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


if __name__ == "__main__":
    main()
