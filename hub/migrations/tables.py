"""All tables of the hub in one metadata: importing every store registers them."""

from __future__ import annotations

from hub.approvals import store as approvals
from hub.audit import store as audit
from hub.blobs import store as blobs
from hub.federation import model_store as models
from hub.federation import round_store as rounds
from hub.federation import store as federation
from hub.fingerprints import store as fingerprints
from hub.keys import store as keys
from hub.membership import admission_store as admissions
from hub.membership import agent_store as agents
from hub.membership import identity_store as identities
from hub.membership import store as membership
from hub.pki import store as pki
from hub.policy import store as policy
from hub.runtime import idempotency
from hub.runtime.db import metadata

__all__ = [
    "admissions",
    "agents",
    "approvals",
    "audit",
    "blobs",
    "federation",
    "fingerprints",
    "idempotency",
    "identities",
    "keys",
    "membership",
    "metadata",
    "models",
    "pki",
    "policy",
    "rounds",
]
