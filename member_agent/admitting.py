"""A member admits another: what it would sign, looked up in the log and shown first, then the signature itself."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from alliance import admission, canonical
from alliance.errors import FailedPrecondition, NotFound
from alliance.names import Digest, MemberId
from alliance.v1 import membership_pb2 as pb
from member_agent.directory import Directory
from member_agent.hub_client import HubClient
from member_agent.identity import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Who waits, as the log has it; `fingerprint` is what both sides read out."""

    member: MemberId
    role: str
    identity: Digest
    signers: tuple[MemberId, ...]
    needed: int

    @property
    def fingerprint(self) -> str:
        return admission.fingerprint(self.identity)


def candidate(directory: Directory, hub: HubClient, member: MemberId) -> Candidate:
    """Raises: NotFound; FailedPrecondition, for one that waits for nothing; Corrupt."""
    directory.refresh(hub)
    register = directory.register()
    entry = register.members.get(member)
    if entry is None or entry.gone:
        raise NotFound(
            f"{member} has not enrolled, or has gone",
            reason="MEMBER_NOT_FOUND",
            field="member",
            remedy='see "alliance-agent member list"',
        )
    if entry.admitted:
        raise FailedPrecondition(f"{member} is admitted already", reason="ALREADY_ADMITTED", field="member")
    return Candidate(
        member=member, role=entry.role, identity=entry.identity, signers=entry.signers, needed=register.needed
    )


def sign(hub: HubClient, identity: Identity, alliance: str, wanted: Candidate) -> pb.Member:
    """Signs name, role and identity, and hands the signature to the hub. Raises: AllianceError."""
    signed = canonical.admission_bytes(alliance, wanted.member, wanted.role, wanted.identity)
    request = pb.AdmitMemberRequest(
        request_id=str(uuid.uuid4()),
        member=wanted.member,
        identity_digest=wanted.identity,
        signature=identity.sign(signed),
    )
    return hub.call(request, pb.AdmitMemberResponse).member
