"""audit: look at the log and recompute it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

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


@audit.command("export")
def export(
    context: typer.Context,
    out: Path = typer.Option(..., "--out", help="A new folder."),
    as_json: bool = JSON,
) -> None:
    """Write the whole log with every member's statements, for an auditor who checks it without us."""
    from alliance import export as folder
    from alliance.checkpoint import Checkpoint, split_note
    from alliance.export import Witnessed
    from alliance.v1 import audit_pb2 as pb
    from alliance.v1 import membership_pb2

    with client(context) as hub:
        head = hub.call(pb.GetCheckpointRequest(), pb.GetCheckpointResponse)
        size = Checkpoint.parse(split_note(head.checkpoint)[0]).size
        members = {
            one.name: one.identity
            for one in hub.pages(
                membership_pb2.ListMembersRequest(), membership_pb2.ListMembersResponse, lambda page: page.members
            )
        }
        said = hub.pages(pb.ListCosignaturesRequest(), pb.ListCosignaturesResponse, lambda page: page.cosignatures)
        seen = [
            Witnessed(
                member=one.member,
                note=one.checkpoint,
                witness_key=one.witness_key,
                certificate=one.witness_certificate,
                signing_key=members[one.member].signing_key,
                sealing_key=members[one.member].sealing_key,
            )
            for one in said
            # One that came after the checkpoint is of leaves that are not in this export.
            if Checkpoint.parse(split_note(one.checkpoint)[0]).size <= size
        ]
        leaves = islice(hub.pages(pb.ListLeavesRequest(), pb.ListLeavesResponse, lambda page: page.leaves), size)
        count = folder.write(
            out, leaves=(leaf.data for leaf in leaves), checkpoint=head.checkpoint, key=head.log_key, seen=seen
        )
    show_one({"folder": str(out), "leaves": count, "root": head.root_hash.hex()}, as_json=as_json)
