"""bank: the banks of sealed fingerprints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from alliance.output import show, show_one
from hub.commands.context import JSON, client

if TYPE_CHECKING:
    from alliance.v1 import fingerprint_pb2 as pb

bank = typer.Typer(no_args_is_help=True, help="Create and list fingerprint banks.")


@bank.command("create")
def create(
    context: typer.Context,
    name: str,
    group: str = typer.Option(..., help="The audience: a sharing group."),
    scheme: str = typer.Option(..., help="pdq-256 (images) or terms-v1 (titles)."),
    tlp: str = typer.Option(
        "amber", help="The strictest TLP 2.0 label of its rows: clear, green, amber, amber_strict. Never changed."
    ),
    as_json: bool = JSON,
) -> None:
    """Create a bank: one scheme, one audience, one ordered log."""
    from alliance import audience
    from alliance.names import qualified
    from alliance.v1 import fingerprint_pb2 as pb

    label = pb.Tlp.Name(audience.ceiling(audience.tlp(tlp, field="--tlp"), field="--tlp"))
    with client(context) as hub:
        request = pb.CreateBankRequest(
            name=qualified("banks", name), group=qualified("groups", group), scheme=scheme, tlp=label
        )
        show_one(_row(hub.call(request, pb.CreateBankResponse).bank), as_json=as_json)


@bank.command("list")
def list_banks(context: typer.Context, as_json: bool = JSON) -> None:
    """List banks with audience, scheme and head."""
    from alliance.v1 import fingerprint_pb2 as pb

    with client(context) as hub:
        found = hub.pages(pb.ListBanksRequest(), pb.ListBanksResponse, lambda page: page.banks)
        show([_row(one) for one in found], as_json=as_json)


def _row(one: pb.Bank) -> dict[str, object]:
    from alliance import audience

    label = audience.ceiling(one.tlp).label
    return {"bank": one.name, "group": one.group, "tlp": label, "scheme": one.scheme, "entries": one.head_seq}
