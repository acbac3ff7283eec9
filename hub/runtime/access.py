"""Who may call what: the one table. An RPC that is not in it is refused, and a test fails.

`docs/reference/access.md` is generated from it. What a row cannot say (is the caller in the bank's group?
is the batch its own?) is checked by the service that owns the resource.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from google.protobuf.message import Message

from alliance.errors import AllianceError, NotAuthenticated, NotPermitted
from alliance.tls import Peer
from alliance.v1 import enrolment_pb2
from hub.runtime.caller import CONSOLE, MEMBERS, Caller, Who


class Listener(StrEnum):
    """The enrolment port asks for no client certificate; the main port takes nothing else."""

    MAIN = "main"
    ENROLMENT = "enrolment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    who: frozenset[Who]
    listener: Listener = Listener.MAIN
    # A suspended member may still say hello (to learn that it is suspended) and leave.
    while_suspended: bool = False
    # A member that nobody admitted yet may see who could admit it, read the log, and leave.
    while_unadmitted: bool = False
    # Of which requests two admins are asked for (hub/approvals; hub/policy says when).
    two_admins: Callable[[Message], bool] | None = None
    # A rate of its own, per caller and second, for what costs all others much; 0: counted among all calls only.
    rate: float = 0.0

    def check(self, caller: Caller, listener: Listener) -> None:
        """Raises: NotAuthenticated, NotPermitted."""
        if listener is not self.listener:
            raise NotPermitted(
                f"served on the {self.listener} listener only",
                reason="WRONG_LISTENER",
                remedy=f"dial the {self.listener} address",
            )
        if Who.ANONYMOUS in self.who:
            return
        if caller.who is Who.ANONYMOUS:
            raise NotAuthenticated("a member's or operator's certificate is needed", remedy="join the alliance first")
        if caller.who not in self.who:
            raise NotPermitted(f"the role {caller.who} may not call this", reason="ROLE_NOT_PERMITTED")
        if not caller.active and not self.while_suspended:
            raise NotPermitted(
                "the member is suspended", reason="MEMBER_SUSPENDED", remedy="ask the operator of the hub"
            )
        if not caller.admitted and not self.while_unadmitted:
            raise NotPermitted(
                f"{caller.name} waits to be admitted",
                reason="NOT_ADMITTED",
                remedy=f'ask members to run "alliance-agent member admit {caller.name}"; '
                '"alliance-agent member list" says how many',
            )


_OPERATORS = frozenset({Who.OPERATOR, Who.ADMIN})
_ADMIN = frozenset({Who.ADMIN})
_EVERYONE = MEMBERS | CONSOLE


def _any_request(request: Message) -> bool:
    return True


def _new_admin(request: Message) -> bool:
    return (
        isinstance(request, enrolment_pb2.IssueOperatorCertificateRequest)
        and request.role == enrolment_pb2.CONSOLE_ROLE_ADMIN
    )


TABLE: Mapping[str, Rule] = {
    "alliance.v1.EnrolmentService/Enrol": Rule(who=frozenset({Who.ANONYMOUS}), listener=Listener.ENROLMENT),
    "alliance.v1.EnrolmentService/EnrolAgent": Rule(who=frozenset({Who.ANONYMOUS}), listener=Listener.ENROLMENT),
    "alliance.v1.EnrolmentService/ExplainCertificate": Rule(
        who=frozenset({Who.ANONYMOUS}), listener=Listener.ENROLMENT
    ),
    "alliance.v1.EnrolmentService/RenewCertificate": Rule(who=MEMBERS, while_unadmitted=True),
    "alliance.v1.EnrolmentService/ListAgents": Rule(who=MEMBERS, while_unadmitted=True),
    "alliance.v1.EnrolmentService/RevokeAgent": Rule(who=MEMBERS, while_unadmitted=True),
    "alliance.v1.EnrolmentService/ChangeIdentity": Rule(who=MEMBERS),
    "alliance.v1.EnrolmentService/ListIdentityChanges": Rule(who=_EVERYONE, while_unadmitted=True),
    "alliance.v1.EnrolmentService/IssueOperatorCertificate": Rule(who=_ADMIN, two_admins=_new_admin),
    "alliance.v1.ConsoleService/ListOperators": Rule(who=CONSOLE),
    "alliance.v1.ConsoleService/RevokeOperator": Rule(who=_ADMIN, two_admins=_any_request),
    "alliance.v1.ConsoleService/ProposeAction": Rule(who=_ADMIN),
    "alliance.v1.ConsoleService/ApproveAction": Rule(who=_ADMIN),
    "alliance.v1.ConsoleService/RejectAction": Rule(who=_ADMIN),
    "alliance.v1.ConsoleService/ListActions": Rule(who=CONSOLE),
    "alliance.v1.ConsoleService/GetPolicy": Rule(who=CONSOLE),
    "alliance.v1.ConsoleService/UpdatePolicy": Rule(who=_ADMIN, two_admins=_any_request),
    "alliance.v1.MembershipService/Handshake": Rule(who=_EVERYONE, while_suspended=True, while_unadmitted=True),
    "alliance.v1.MembershipService/Watch": Rule(who=MEMBERS, while_unadmitted=True),
    "alliance.v1.MembershipService/CreateInvitation": Rule(who=_OPERATORS),
    "alliance.v1.MembershipService/ListMembers": Rule(who=_EVERYONE, while_unadmitted=True),
    "alliance.v1.MembershipService/GetMember": Rule(who=_EVERYONE, while_unadmitted=True),
    "alliance.v1.MembershipService/SuspendMember": Rule(who=_OPERATORS),
    "alliance.v1.MembershipService/ReinstateMember": Rule(who=_OPERATORS),
    "alliance.v1.MembershipService/ExpelMember": Rule(who=_ADMIN, two_admins=_any_request),
    "alliance.v1.MembershipService/LeaveAlliance": Rule(who=MEMBERS, while_suspended=True, while_unadmitted=True),
    "alliance.v1.MembershipService/AdmitMember": Rule(who=MEMBERS),
    "alliance.v1.MembershipService/CreateGroup": Rule(who=_OPERATORS),
    "alliance.v1.MembershipService/AddGroupMember": Rule(who=_OPERATORS),
    "alliance.v1.MembershipService/ListGroups": Rule(who=_EVERYONE),
    "alliance.v1.KeyService/GetGroupKey": Rule(who=MEMBERS),
    # Every other member seals anew under it.
    "alliance.v1.KeyService/CreateEpoch": Rule(who=MEMBERS, rate=1.0),
    "alliance.v1.KeyService/AddWraps": Rule(who=MEMBERS),
    "alliance.v1.BlobService/GetUpload": Rule(who=MEMBERS),
    "alliance.v1.BlobService/UploadBlob": Rule(who=MEMBERS),
    "alliance.v1.BlobService/DownloadBlob": Rule(who=MEMBERS),
    "alliance.v1.FingerprintService/CreateBank": Rule(who=_OPERATORS),
    "alliance.v1.FingerprintService/ListBanks": Rule(who=_EVERYONE),
    "alliance.v1.FingerprintService/PublishBatch": Rule(who=MEMBERS),
    "alliance.v1.FingerprintService/WithdrawRows": Rule(who=MEMBERS),
    "alliance.v1.FingerprintService/ListEntries": Rule(who=MEMBERS),
    "alliance.v1.FingerprintService/ListSegments": Rule(who=MEMBERS),
    "alliance.v1.FingerprintService/ReportHits": Rule(who=MEMBERS),
    "alliance.v1.FingerprintService/ListHits": Rule(who=MEMBERS),
    "alliance.v1.AuditService/GetCheckpoint": Rule(who=_EVERYONE, while_unadmitted=True),
    "alliance.v1.AuditService/ListLeaves": Rule(who=_EVERYONE, while_unadmitted=True),
    "alliance.v1.AuditService/GetInclusionProof": Rule(who=_EVERYONE, while_unadmitted=True),
    "alliance.v1.AuditService/GetConsistencyProof": Rule(who=_EVERYONE, while_unadmitted=True),
    "alliance.v1.AuditService/AddCosignature": Rule(who=MEMBERS),
    "alliance.v1.AuditService/ListCosignatures": Rule(who=_EVERYONE, while_unadmitted=True),
    "alliance.v1.AuditService/VerifyLog": Rule(who=CONSOLE),
    "alliance.v1.FederationService/ProposeDetector": Rule(who=MEMBERS | _OPERATORS),
    "alliance.v1.FederationService/ApproveDetector": Rule(who=_OPERATORS),
    "alliance.v1.FederationService/ListDetectors": Rule(who=_EVERYONE),
    "alliance.v1.FederationService/JoinDetector": Rule(who=MEMBERS),
    "alliance.v1.FederationService/LeaveDetector": Rule(who=MEMBERS),
    "alliance.v1.FederationService/CreateSchedule": Rule(who=_OPERATORS),
    "alliance.v1.FederationService/ListSchedules": Rule(who=CONSOLE),
    "alliance.v1.FederationService/PauseSchedule": Rule(who=_OPERATORS),
    "alliance.v1.FederationService/ResumeSchedule": Rule(who=_OPERATORS),
    "alliance.v1.FederationService/TriggerRound": Rule(who=_OPERATORS),
    "alliance.v1.FederationService/CancelRound": Rule(who=_OPERATORS),
    "alliance.v1.FederationService/ListRounds": Rule(who=_EVERYONE),
    "alliance.v1.FederationService/GetRound": Rule(who=_EVERYONE),
    "alliance.v1.FederationService/GetTask": Rule(who=MEMBERS),
    "alliance.v1.FederationService/SubmitResult": Rule(who=MEMBERS),
    "alliance.v1.FederationService/GetModel": Rule(who=_EVERYONE),
    "alliance.v1.FederationService/ListModels": Rule(who=CONSOLE),
    "alliance.v1.FederationService/PromoteModel": Rule(who=_ADMIN, two_admins=_any_request),
    "alliance.v1.FederationService/SetModelRelease": Rule(who=_ADMIN, two_admins=_any_request),
    "alliance.v1.PkiService/GetTrustBundle": Rule(who=_EVERYONE, while_unadmitted=True),
    "alliance.v1.PkiService/RotateCa": Rule(who=_ADMIN, two_admins=_any_request),
    "alliance.v1.PkiService/RequestCa": Rule(who=_ADMIN),
    "alliance.v1.PkiService/InstallCa": Rule(who=_ADMIN, two_admins=_any_request),
    "alliance.v1.PkiService/RetireCa": Rule(who=_ADMIN, two_admins=_any_request),
    "alliance.v1.PkiService/RenewOperatorCertificate": Rule(who=CONSOLE),
    "grpc.health.v1.Health/Check": Rule(who=_EVERYONE, while_suspended=True, while_unadmitted=True),
    "grpc.health.v1.Health/Watch": Rule(who=_EVERYONE, while_suspended=True, while_unadmitted=True),
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Rule(who=CONSOLE),
}


def rule(method: str) -> Rule:
    """`alliance.v1.KeyService/AddWraps` to its rule. Raises: NotPermitted where the table has none."""
    try:
        return TABLE[method]
    except KeyError:
        raise NotPermitted("no rule permits this call", reason="NO_ACCESS_RULE") from None


def require(method: str, listener: Listener, peer: Peer, found: Caller | AllianceError, now: dt.datetime) -> Caller:
    """The certificate's validity, what was found of its holder, and the table, in that order.

    Raises: NotAuthenticated, NotPermitted.
    """
    peer.require_valid(now)
    if isinstance(found, AllianceError):
        raise found
    rule(method).check(found, listener)
    return found
