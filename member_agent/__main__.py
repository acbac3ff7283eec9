"""`alliance-agent`: errors become one line and an exit code (docs/reference/exit-codes.md)."""

from __future__ import annotations

from alliance import grpc_environment, output
from alliance.errors import LimitExceeded


def main() -> None:
    grpc_environment.prepare()
    output.run(_within_memory)


def _within_memory() -> None:
    from member_agent.cli import app

    try:
        app()
    except (MemoryError, ImportError) as error:
        # The loader's words where a library did not fit under the cap.
        if isinstance(error, ImportError) and "failed to map segment" not in str(error):
            raise
        raise LimitExceeded(
            "the agent needs more memory than it may have",
            reason="MEMORY_LIMIT",
            field="limits.memory_mb",
            remedy="raise it in agent.toml",
        ) from error


if __name__ == "__main__":
    main()
