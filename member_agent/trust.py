"""This agent's trust anchors: how `ca.pem` follows the hub's certificate authorities, and what is refused.

A new anchor is taken over only where a pinned one vouches for it (`alliance.anchors`) and the verified log says that
it was added; one is dropped only where the log says that it was retired. A hub that swaps or drops anchors otherwise
changes nothing here and is an alarm.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from alliance import anchors, sealed_file
from alliance.errors import Corrupt
from alliance.v1 import pki_pb2 as pb
from member_agent import enrolment
from member_agent.audit_log import AuditLog
from member_agent.config import Home
from member_agent.hub_client import HubClient
from member_agent.keystore import Secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """`changed`: the anchors are others now; `renew`: the agent's certificate is not from the authority that issues."""

    changed: bool
    renew: bool


def update(home: Home, held: Secrets, log: AuditLog, hub: HubClient) -> Looked:
    """Asks the hub for its authorities and follows them. Raises: Corrupt, with the anchors as they were."""
    told = hub.call(pb.GetTrustBundleRequest(), pb.GetTrustBundleResponse).authorities
    change = anchors.changes(read(home), told)
    for anchor in change.added:
        _require_logged(log, hub, anchors.ADDED, anchor)
    for anchor in change.dropped:
        _require_logged(log, hub, anchors.RETIRED, anchor)
    if not change.is_none:
        sealed_file.write(home.ca_file, anchors.to_pem(change.anchors))
    issuing = [one.issuer for one in told if one.phase == pb.AUTHORITY_PHASE_ACTIVE]
    if len(issuing) != 1:
        raise Corrupt(f"{len(issuing)} authorities issue", reason="ANCHOR_FORGED", remedy="tell the alliance")
    by_active = anchors.issued(enrolment.certificate(held), x509.load_der_x509_certificate(issuing[0]))
    return Looked(changed=not change.is_none, renew=not by_active)


def read(home: Home) -> list[x509.Certificate]:
    """The anchors that are pinned now. Raises: Corrupt."""
    return anchors.read_pem(home.ca_file.read_bytes())


def _require_logged(log: AuditLog, hub: HubClient, event: str, anchor: x509.Certificate) -> None:
    """Raises: Corrupt, LOG_MISSING where the log says nothing, LOG_FORKED where it says something else."""
    log.require(hub, event=event, subject=anchors.name_of(anchor), digest=anchors.digest_of(anchor))
