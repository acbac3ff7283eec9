"""Requests of a member that presents what is another's: right in every way but for one field."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.message import Message

from alliance import canonical, tls
from alliance.join_code import JoinCode
from alliance.names import BankId, GroupId, MemberId
from alliance.v1 import audit_pb2, federation_pb2, fingerprint_pb2, key_pb2, membership_pb2
from tests.kit.keys import Identity, Sealed, with_header
from tests.kit.member import RawMember, enrol_request


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Things of the others; or of nobody, of the same form."""

    group: GroupId
    bank: BankId
    blob: bytes
    batch: bytes
    detector: str
    round: str
    agent: str
    invited: MemberId


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """A member with a group, bank and key of its own, the member whose things it tries, and one of its requests."""

    me: RawMember
    other: RawMember
    alliance: str
    code: JoinCode
    group: GroupId
    bank: BankId
    waiting: RawMember
    head: audit_pb2.GetCheckpointResponse


def batch(stranger: Stranger, **fields: object) -> fingerprint_pb2.PublishBatchRequest:
    """A batch of the stranger's own but for some fields."""
    header = with_header(stranger.me.seal(stranger.bank, b"x"), **fields).header
    return fingerprint_pb2.PublishBatchRequest(batch=stranger.me.signed(header))


def tombstone(stranger: Stranger, *, bank: BankId, publisher: MemberId, digest: bytes) -> Message:
    header = fingerprint_pb2.BatchHeader(bank=bank, digest=digest)
    made = stranger.me.tombstone(Sealed(header=header, data=b""))
    made.publisher = publisher
    return fingerprint_pb2.WithdrawRowsRequest(tombstone=made)


def wrap(stranger: Stranger, *, group: GroupId, recipient: RawMember | None = None, epoch: int = 1) -> key_pb2.KeyWrap:
    """A wrap that the stranger signed, of a secret that it made up."""
    to = recipient or stranger.me
    secret = stranger.me.secrets.get((group, epoch), bytes(canonical.EPOCH_SECRET_SIZE))
    return stranger.me.wrap(to.name, to.identity.sealing_key, group, epoch, secret)


def wraps(stranger: Stranger, **fields: object) -> key_pb2.AddWrapsRequest:
    """A wrap of the stranger's own group and epoch but for some fields."""
    made = wrap(stranger, group=stranger.group)
    for name, value in fields.items():
        setattr(made, name, value)
    return key_pb2.AddWrapsRequest(wraps=[made])


def epoch(stranger: Stranger, *, group: GroupId, number: int = 2, **wrap_fields: object) -> key_pb2.CreateEpochRequest:
    """The next epoch of a group, with one wrap that differs."""
    request, _ = stranger.me.epoch_request(group, [stranger.me], epoch=number)
    for name, value in wrap_fields.items():
        setattr(request.wraps[0], name, value)
    return request


def wrap_of_another_group(stranger: Stranger, names: Names) -> key_pb2.CreateEpochRequest:
    request = epoch(stranger, group=stranger.group)
    request.wraps[0].group = names.group
    return request


def epoch_signed_by_another(stranger: Stranger, names: Names) -> key_pb2.CreateEpochRequest:
    request = epoch(stranger, group=stranger.group)
    request.signature = stranger.other.epoch_request(stranger.group, [], epoch=2)[0].signature
    return request


def commitment_of_another(stranger: Stranger, names: Names) -> key_pb2.CreateEpochRequest:
    request = epoch(stranger, group=stranger.group)
    request.commitment = stranger.other.epoch_request(names.group, [], epoch=2)[0].commitment
    return request


def proposal(stranger: Stranger, name: str, group: GroupId, initial: bytes = b"") -> Message:
    spec = federation_pb2.DetectorSpec(
        code="test",
        arrays=[federation_pb2.ArraySpec(name="w", dtype="float32", shape=[2])],
        metrics=["accuracy"],
        aggregation="STRATEGY_FED_AVG",
        max_examples=10,
    )
    return federation_pb2.ProposeDetectorRequest(name=name, group=group, spec=spec, initial_digest=initial)


def result(round_name: str, digest: bytes = bytes(32)) -> Message:
    return federation_pb2.SubmitResultRequest(
        round=round_name, kind="TASK_KIND_TRAIN", update_digest=digest, update_size=10, examples=1
    )


def admission(stranger: Stranger, member: RawMember, signer: RawMember) -> membership_pb2.AdmitMemberRequest:
    keys = member.identity
    digest = canonical.identity_digest(keys.signing_key, keys.sealing_key)
    signed = canonical.admission_bytes(stranger.alliance, member.name, "brand", digest)
    return membership_pb2.AdmitMemberRequest(member=member.name, identity_digest=digest, signature=signer.sign(signed))


def other_s_digest(stranger: Stranger, names: Names) -> Message:
    request = admission(stranger, stranger.waiting, stranger.me)
    keys = stranger.other.identity
    request.identity_digest = canonical.identity_digest(keys.signing_key, keys.sealing_key)
    return request


def cosignature(stranger: Stranger, **fields: bytes) -> Message:
    """What another member said about the head, sent as the stranger's own."""
    made = audit_pb2.Cosignature(
        tree_size=stranger.head.tree_size,
        root_hash=stranger.head.root_hash,
        witness_key=bytes(32),
        witness_certificate=stranger.other.sign(b"certified"),
        signature=bytes(64),
    )
    made.cosign_time.seconds = 1_700_000_000
    return audit_pb2.AddCosignatureRequest(cosignature=made)


def returning(stranger: Stranger, member: RawMember, agent: str, *, name: MemberId | None = None) -> Message:
    """Signed by the stranger, whoever is named."""
    request = stranger.me.agent_request(stranger.alliance, agent=agent)
    request.member = name or member.name
    return request


def enrolling(stranger: Stranger, *, signing: bool = False, sealing: bool = False, secret: bytes = b"") -> Message:
    """An enrolment by the stranger's invitation with another member's public keys, signed with what it has."""
    own, other = Identity.generate(), stranger.other.identity
    request = enrol_request(stranger.code, replace(own, sealing=other.sealing if sealing else own.sealing), _key())
    if signing:
        request.identity.signing_key = other.signing_key
    request.invitation_secret = secret or request.invitation_secret
    return request


def enrolling_signed_by_another(stranger: Stranger, names: Names) -> Message:
    request = enrol_request(stranger.code, Identity.generate(), _key())
    request.identity_signature = stranger.other.sign(request.certificate_request)
    return request


def explaining(stranger: Stranger, names: Names) -> Message:
    """About another's certificate, signed with the stranger's own key."""
    made = stranger.me.explain_request(stranger.alliance)
    made.certificate_chain[:] = stranger.other.chain
    return made


def changed(stranger: Stranger, *, signing: bool = False, sealing: bool = False) -> Message:
    """The stranger's identity changed to one with another's public key, signed with what it has."""
    own, other = Identity.generate(), stranger.other.identity
    made = stranger.me.change_request(
        stranger.alliance, replace(own, sealing=other.sealing if sealing else own.sealing)
    )
    if signing:
        made.identity.signing_key = other.signing_key
    return made


def borrowed_signature(stranger: Stranger, field: str) -> Message:
    made = stranger.me.change_request(stranger.alliance, Identity.generate())
    setattr(made, field, stranger.other.sign(b"something else"))
    return made


def _key() -> ec.EllipticCurvePrivateKey:
    return tls.new_channel_key()
