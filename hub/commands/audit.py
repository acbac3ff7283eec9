"""audit: look at the log and recompute it."""

from __future__ import annotations

import typer

from alliance.output import show_one
from hub.commands.context import JSON, client

audit = typer.Typer(no_args_is_help=True, help="The Merkle log of every exchange.")
VERIFY_TIMEOUT = 600.0


@audit.command("verify")
def verify(context: typer.Context, as_json: bool = JSON) -> None:
    """Recompute every leaf, node and the signed root at the hub; a difference is named and exits with 11."""
    from alliance.v1 import audit_pb2 as pb

    with client(context) as hub:
        found = hub.call(pb.VerifyLogRequest(), pb.VerifyLogResponse, timeout=VERIFY_TIMEOUT)
    show_one(
        {"verified": True, "size": found.tree_size, "root": found.root_hash.hex(), "pending": found.pending},
        as_json=as_json,
    )


@audit.command("head")
def head(context: typer.Context, as_json: bool = JSON) -> None:
    """Print the newest signed checkpoint."""
    from alliance.v1 import audit_pb2 as pb

    with client(context) as hub:
        found = hub.call(pb.GetCheckpointRequest(), pb.GetCheckpointResponse)
    if as_json:
        row: dict[str, object] = {
            "size": found.tree_size,
            "root": found.root_hash.hex(),
            "checkpoint": found.checkpoint,
        }
        show_one(row, as_json=True)
    else:
        typer.echo(found.checkpoint, nl=False)
