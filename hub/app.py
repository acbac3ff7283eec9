"""The only place where the hub's services are wired; `hub.serving` puts them behind listeners."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hub.audit.service import AuditService
from hub.blobs.files import BlobFiles
from hub.blobs.service import BlobService
from hub.config import Home, Settings
from hub.federation.detectors import DetectorService
from hub.federation.releases import ReleaseService
from hub.federation.service import RoundService
from hub.fingerprints.service import FingerprintService
from hub.keys.service import KeyService
from hub.membership.admissions import AdmissionService
from hub.membership.agents import AgentService
from hub.membership.enrolment import EnrolmentService
from hub.membership.identities import IdentityService
from hub.membership.operators import OperatorService
from hub.membership.service import MembershipService
from hub.migrations import require_current
from hub.pki.rotation import RotationService
from hub.pki.service import PkiService, load_log_key
from hub.policy.configured import configured
from hub.policy.service import PolicyService
from hub.runtime.clock import Clock, utc_now
from hub.runtime.db import Database, ProcessLock


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Every capability's service over one database."""

    db: Database
    pki: PkiService
    rotation: RotationService
    audit: AuditService
    policies: PolicyService
    membership: MembershipService
    enrolment: EnrolmentService
    admissions: AdmissionService
    agents: AgentService
    operators: OperatorService
    identities: IdentityService
    keys: KeyService
    blobs: BlobService
    fingerprints: FingerprintService
    detectors: DetectorService
    rounds: RoundService
    releases: ReleaseService


@contextmanager
def open_services(home: Home, settings: Settings, *, clock: Clock = utc_now) -> Iterator[Services]:
    """Wires the services; on SQLite, as the one hub process. Raises: FailedPrecondition."""
    db = Database(home.database_url(settings), pool_size=settings.server_workers + 2)
    lock = ProcessLock(home.lock_file) if db.is_sqlite else None
    try:
        require_current(db)
        yield _services(home, settings, db, clock)
    finally:
        db.close()
        if lock is not None:
            lock.release()


def _services(home: Home, settings: Settings, db: Database, clock: Clock) -> Services:
    phrase = home.passphrase(settings)
    life, overlap = (dt.timedelta(hours=n) for n in (settings.server_certificate_hours, settings.ca_overlap_hours))
    pki = PkiService(home.ca, alliance=settings.alliance_name, clock=clock, server=life, phrase=phrase)
    origin = f"{settings.alliance_name}/log"
    audit = AuditService(origin=origin, key=load_log_key(home.log_key_file, phrase), clock=clock)
    policies = PolicyService(initial=configured(settings), audit=audit, clock=clock)
    rotation = RotationService(pki=pki, audit=audit, clock=clock, overlap=overlap)
    admissions = AdmissionService(alliance=settings.alliance_name, audit=audit, clock=clock)
    membership = MembershipService(pki=pki, audit=audit, admissions=admissions, clock=clock)
    enrolment = EnrolmentService(
        alliance=settings.alliance_name,
        pki=pki,
        audit=audit,
        admissions=admissions,
        policies=policies,
        clock=clock,
    )
    agents = AgentService(alliance=settings.alliance_name, pki=pki, audit=audit, policies=policies, clock=clock)
    keys = KeyService(membership=membership, audit=audit, clock=clock)
    blobs = BlobService(
        BlobFiles(home.blobs),
        membership=membership,
        clock=clock,
        pending=(settings.limits_pending_megabytes << 20, dt.timedelta(hours=settings.limits_pending_hours)),
    )
    fingerprints = FingerprintService(
        membership=membership, keys=keys, blobs=blobs, audit=audit, policies=policies, clock=clock
    )
    detectors = DetectorService(membership=membership, blobs=blobs, audit=audit, policies=policies, clock=clock)
    rounds = RoundService(
        detectors=detectors, membership=membership, blobs=blobs, audit=audit, policies=policies, clock=clock
    )
    return Services(
        db=db,
        pki=pki,
        rotation=rotation,
        audit=audit,
        policies=policies,
        membership=membership,
        enrolment=enrolment,
        admissions=admissions,
        agents=agents,
        operators=OperatorService(pki=pki, audit=audit),
        identities=IdentityService(alliance=settings.alliance_name, audit=audit, clock=clock),
        keys=keys,
        blobs=blobs,
        fingerprints=fingerprints,
        detectors=detectors,
        rounds=rounds,
        releases=ReleaseService(detectors=detectors, rounds=rounds, blobs=blobs, audit=audit),
    )
