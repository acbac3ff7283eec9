"""ca: which authorities there are, and how one takes over from another; `sign` works where the offline root is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from alliance.output import show, show_one
from hub.commands.approvals import decided
from hub.commands.context import JSON, client

if TYPE_CHECKING:
    from alliance.v1 import pki_pb2

ca = typer.Typer(no_args_is_help=True, help="The certificate authorities: show, rotate, renew under an offline root.")
OVERLAP = typer.Option(0, help="Seconds of announcement, and at least of overlap. [default: ca.overlap_hours]")


@ca.command("show")
def ca_show(context: typer.Context, as_json: bool = JSON) -> None:
    """List the authorities that are trusted, the active one first."""
    from alliance.v1 import pki_pb2 as pb

    with client(context) as hub:
        found = hub.call(pb.GetTrustBundleRequest(), pb.GetTrustBundleResponse)
    show([_row(one) for one in found.authorities], as_json=as_json)


@ca.command("rotate")
def ca_rotate(context: typer.Context, overlap: int = OVERLAP, as_json: bool = JSON) -> None:
    """Make a new authority. It is announced, issues after the overlap, and then takes over by itself."""
    from alliance.v1 import pki_pb2 as pb

    with client(context) as hub:
        made = decided(hub, pb.RotateCaRequest(overlap_seconds=overlap), pb.RotateCaResponse)
    show_one(_row(made.authority), as_json=as_json)


@ca.command("request")
def ca_request(
    context: typer.Context,
    out: Path = typer.Option(..., help="Where the request is written, PEM."),
    as_json: bool = JSON,
) -> None:
    """Make a key for a new issuing authority, and the request that the offline root signs."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    from alliance.v1 import pki_pb2 as pb

    with client(context) as hub:
        made = hub.call(pb.RequestCaRequest(), pb.RequestCaResponse)
    request = x509.load_der_x509_csr(made.certificate_request)
    out.write_bytes(request.public_bytes(serialization.Encoding.PEM))
    show_one({"request": str(out)}, as_json=as_json)


@ca.command("sign")
def ca_sign(
    request: Path = typer.Argument(help='What "ca request" wrote.', dir_okay=False, exists=True),
    root: Path = typer.Option(..., help="The folder of the root.", file_okay=False, exists=True),
    out: Path = typer.Option(..., help='What "ca install" takes, PEM.'),
    passphrase_file: Path | None = typer.Option(None, help="The root's passphrase, where it is not in its folder."),
    new_root: Path | None = typer.Option(None, help="Make a new root in this folder, which the old one vouches for."),
    as_json: bool = JSON,
) -> None:
    """Sign a request. Needs the root's folder and no hub: run it where the root is kept."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    from alliance import anchors, tls
    from alliance.errors import InvalidInput
    from hub.pki import offline
    from hub.runtime.clock import utc_now

    try:
        der = x509.load_pem_x509_csr(request.read_bytes()).public_bytes(serialization.Encoding.DER)
    except ValueError as error:
        raise InvalidInput(
            f"{request.name} is no certificate request", field="request", remedy='give what "ca request" wrote'
        ) from error
    signer, now = offline.read(root, passphrase_file=passphrase_file), utc_now()
    successor = offline.create(new_root, signer.alliance, now) if new_root else None
    signed = offline.sign(der, signer, now, successor=successor)
    out.write_bytes(anchors.to_pem(signed))
    until = signed[0].not_valid_after_utc.isoformat()
    show_one({"signed": str(out), "until": until, "root": tls.fingerprint(signed[1])}, as_json=as_json)


@ca.command("install")
def ca_install(
    context: typer.Context,
    file: Path = typer.Argument(help='What "ca sign" wrote.', dir_okay=False, exists=True),
    overlap: int = OVERLAP,
    as_json: bool = JSON,
) -> None:
    """Install what the offline root signed. Under the same root it issues at once; a new root is announced first."""
    from cryptography.hazmat.primitives import serialization

    from alliance import anchors
    from alliance.v1 import pki_pb2 as pb

    ders = [one.public_bytes(serialization.Encoding.DER) for one in anchors.read_pem(file.read_bytes())]
    with client(context) as hub:
        made = decided(hub, pb.InstallCaRequest(certificates=ders, overlap_seconds=overlap), pb.InstallCaResponse)
    show_one(_row(made.authority), as_json=as_json)


@ca.command("retire")
def ca_retire(
    context: typer.Context,
    name: str = typer.Argument(help="An outgoing authority."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    as_json: bool = JSON,
) -> None:
    """Retire an outgoing authority before its time, and revoke its certificates that are still in use."""
    from alliance.names import qualified
    from alliance.v1 import pki_pb2 as pb

    if not yes:
        typer.confirm("retire it now? who still uses its certificates must be invited anew", abort=True, err=True)
    with client(context):
        pass  # renews this operator's own certificate, lest it be revoked with the rest
    with client(context) as hub:
        done = decided(hub, pb.RetireCaRequest(name=qualified("authorities", name)), pb.RetireCaResponse)
    show_one({**_row(done.authority), "revoked": done.revoked}, as_json=as_json)


def _row(one: pki_pb2.Authority) -> dict[str, object]:
    import datetime as dt

    from cryptography import x509

    from alliance import tls
    from alliance.v1 import pki_pb2 as pb

    issuer = x509.load_der_x509_certificate(one.issuer)
    since = one.phase_time.ToDatetime(tzinfo=dt.UTC)
    return {
        "authority": one.name,
        "phase": pb.AuthorityPhase.Name(one.phase).removeprefix("AUTHORITY_PHASE_").lower(),
        "since": since.isoformat() if one.phase_time.seconds else "init",
        "overlap_seconds": one.overlap_seconds,
        "issues_until": issuer.not_valid_after_utc.isoformat(),
        "live_certificates": one.live_certificates,
        "root_fingerprint": tls.fingerprint(x509.load_der_x509_certificate(one.anchor)),
    }
