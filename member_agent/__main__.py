"""`alliance-agent`: errors become one line and an exit code (docs/reference/exit-codes.md)."""

from __future__ import annotations

import errno

from alliance import grpc_environment, output
from alliance.errors import LimitExceeded


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
        raise LimitExceeded(
            "the agent needs more memory than it may have",
            reason="MEMORY_LIMIT",
            field="limits.memory_mb",
            remedy="raise it in agent.toml",
        ) from error


def _is_shortage(error: Exception) -> bool:
    """Whether something did not fit under the cap; a library says so in the loader's words, a file by its number."""
    if isinstance(error, ImportError):
        return "failed to map segment" in str(error) or "cannot allocate memory" in str(error).lower()
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


if __name__ == "__main__":
    main()
