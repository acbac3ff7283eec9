"""Joining, renewing, leaving: how this agent gets its keys and certificate.

`join` keeps the very request it sends, sealed, before it sends it: cut off at any point, the same command
with the same code finishes the same enrolment, and the single-use invitation is not lost.
"""

from __future__ import annotations

import datetime as dt
import os
import uuid
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from alliance import anchors, canonical, channel, settings, tls
from alliance.errors import AlreadyExists, Corrupt, InvalidInput, NotAuthenticated
from alliance.join_code import JoinCode
from alliance.names import member_id
from alliance.v1 import enrolment_pb2, membership_pb2
from member_agent import channel_key, keystore
from member_agent.config import Home, Settings
from member_agent.hub_client import HubClient
from member_agent.identity import Identity, private_der
from member_agent.keystore import Secrets
from member_agent.ledger import Ledger

# What the hub says to a member that is gone.
_GONE = ("CERTIFICATE_REVOKED", "NOT_IN_ALLIANCE")

Answer = enrolment_pb2.EnrolResponse | enrolment_pb2.EnrolAgentResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    member: str
    agent: str
    role: str
    # Of the member's identity: what it reads out to those who admit it.
    fingerprint: str
    ca_fingerprint: str


def join(home: Home, code: JoinCode, chosen: Settings | None = None) -> Joined:
    """Uses an invitation; `chosen` is what becomes of the settings, but for what the hub says.

    Raises: AlreadyExists, InvalidInput, NotPermitted, Unavailable, Corrupt; NotAuthenticated from a token.
    """
    if home.settings_file.exists():
        loaded, _ = home.load()
        raise AlreadyExists(
            f"this agent has joined as {loaded.hub_member}", reason="ALREADY_JOINED", remedy="use another --home"
        )
    home.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    chosen = chosen or Settings()
    chosen.validate()
    phrase = home.passphrase(chosen, create=makes_passphrase(chosen))
    held = _prepared(home, code, phrase, chosen)
    request = enrolment_pb2.EnrolRequest.FromString(held.pending)
    ca_pem = code.ca.public_bytes(serialization.Encoding.PEM)
    ledger = Ledger(home.ledger_file)
    try:
        with HubClient(channel.open_channel(code.address, roots=ca_pem, proxy=chosen.hub_proxy), ledger) as hub:
            answer = hub.call(request, enrolment_pb2.EnrolResponse)
    finally:
        ledger.close()
    if answer.member != code.member:
        raise wrong(f"the hub took this agent for one of {answer.member}")
    chosen = replace(chosen, hub_alliance=code.alliance, hub_member=code.member, hub_enrolment_address=code.address)
    key = channel_key.of(held, chosen.keys_pkcs11_uri).public_key()
    check(answer, ca_pem, key, alliance=code.alliance, member=code.member)
    return settle_in(home, chosen, held, answer, ca_pem, phrase)


def settle_in(home: Home, chosen: Settings, held: Secrets, answer: Answer, roots: bytes, phrase: bytes) -> Joined:
    """Makes a home an agent's, by an answer that was checked; `chosen` says alliance, member and where to enrol."""
    role = enrolment_pb2.MemberRole.Name(answer.role).removeprefix("MEMBER_ROLE_").lower()
    settled = replace(
        chosen,
        hub_address=answer.hub_address,
        hub_agent=answer.agent,
        hub_role=role,
        hub_log_key=answer.log_key.hex(),
    )
    keystore.save(home.keys_file, held.with_chain(tuple(answer.certificate_chain)), phrase)
    home.ca_file.write_bytes(roots)
    # The settings file is what makes a home an agent's: it comes last, whole.
    partial = home.settings_file.with_suffix(".partial")
    partial.write_text(settings.to_toml(settled))
    partial.rename(home.settings_file)
    home.pending_join_file.unlink(missing_ok=True)
    return Joined(
        member=chosen.hub_member,
        agent=answer.agent,
        role=role,
        fingerprint=Identity(member_id(chosen.hub_member), held).public.fingerprint,
        ca_fingerprint=tls.fingerprint(anchors.read_pem(roots)[0]),
    )


def makes_passphrase(chosen: Settings) -> bool:
    """Whether the passphrase is ours to make; one that was named must be there."""
    return not chosen.keys_passphrase_file.is_absolute()


def pending(home: Home, phrase: bytes, chosen: Settings) -> Secrets | None:
    """The keys of a join or recovery that was cut off. Raises: InvalidInput where it meant another place for them."""
    if not home.pending_join_file.exists():
        return None
    held = keystore.load(home.pending_join_file, phrase)
    if bool(held.token_key) != bool(chosen.keys_pkcs11_uri):
        raise InvalidInput(
            f"the one that was cut off {'has' if held.token_key else 'has not'} its channel key in a token",
            field="--pkcs11-uri",
            remedy=f"repeat it as it was, or remove {home.pending_join_file.name} to begin anew",
        )
    return held


def _prepared(home: Home, code: JoinCode, phrase: bytes, chosen: Settings) -> Secrets:
    """The keys and request of this code: those of a join that was cut off, or new ones."""
    held = pending(home, phrase, chosen)
    if held is not None:
        if enrolment_pb2.EnrolRequest.FromString(held.pending).invitation_secret == code.secret:
            return held
        channel_key.discard(channel_key.of(held, chosen.keys_pkcs11_uri))
    made = Secrets(
        signing_key=private_der(tls.new_channel_key()),
        sealing_key=X25519PrivateKey.generate().private_bytes_raw(),
        data_key=os.urandom(32),
    )
    key = channel_key.make(chosen.keys_pkcs11_uri, made.data_key)
    identity = Identity(code.member, made)
    request = tls.certificate_request(key)
    public = identity.public
    signed = canonical.enrolment_bytes(
        code.alliance, code.member, canonical.sha256(request), public.signing_key, public.sealing_key
    )
    message = enrolment_pb2.EnrolRequest(
        request_id=str(uuid.uuid4()),
        invitation_secret=code.secret,
        certificate_request=request,
        identity=enrolment_pb2.MemberIdentity(signing_key=public.signing_key, sealing_key=public.sealing_key),
        identity_signature=identity.sign(signed),
    )
    made = channel_key.kept(made, key).with_pending(message.SerializeToString())
    keystore.save(home.pending_join_file, made, phrase)
    return made


def check(answer: Answer, roots: bytes, key: PublicKeyTypes, *, alliance: str, member: str) -> None:
    """The certificate is this agent's, for our key, from the pinned CA; the log's key is one. Raises: Corrupt."""
    try:
        Ed25519PublicKey.from_public_bytes(answer.log_key)
    except ValueError as error:
        raise wrong("the hub's answer has no log key") from error
    peer = check_chain(tuple(answer.certificate_chain), roots, alliance=alliance, key=key)
    if (peer.name, peer.agent) != (member, answer.agent):
        raise wrong(f"the hub's certificate is for {peer.name}, {peer.agent}")


def check_chain(chain: tuple[bytes, ...], roots: bytes, *, alliance: str, key: PublicKeyTypes) -> tls.Peer:
    """Whose certificate it is: for our key, issued from one of the pinned `roots` (PEM). Raises: Corrupt."""
    try:
        leaf = anchors.verify_chain(chain, anchors.read_pem(roots))
        peer = tls.peer_of(leaf, alliance=alliance)
    except (Corrupt, NotAuthenticated) as error:
        raise wrong(f"the hub's answer is not one of this alliance: {error}") from error
    if leaf.public_key() != key:
        raise wrong("the hub's certificate is not for this agent's key")
    return peer


def wrong(what: str) -> Corrupt:
    """Of an answer that no honest hub gives."""
    return Corrupt(what, reason="CERTIFICATE_WRONG", remedy="keep this agent's home as evidence, tell the operator")


def renew(home: Home, current: Settings, held: Secrets, hub: HubClient) -> Secrets:
    """A new certificate for a new key; the old pair works until this one is saved. Raises: AllianceError."""
    with channel_key.renewing(home):
        key = channel_key.make(current.keys_pkcs11_uri, held.data_key)
        try:
            request = enrolment_pb2.RenewCertificateRequest(
                request_id=str(uuid.uuid4()), certificate_request=tls.certificate_request(key)
            )
            answer = hub.call(request, enrolment_pb2.RenewCertificateResponse)
            chain = tuple(answer.certificate_chain)
            check_chain(chain, home.ca_file.read_bytes(), alliance=current.hub_alliance, key=key.public_key())
        except BaseException:
            channel_key.discard(key)
            raise
        renewed = channel_key.kept(held, key, chain)
        keystore.save(home.keys_file, renewed, home.passphrase(current))
    return renewed


def is_superseded(home: Home, current: Settings, held: Secrets) -> bool:
    """Whether another process of this agent has renewed the certificate since `held` was read."""
    return keystore.load(home.keys_file, home.passphrase(current)).chain != held.chain


def leave(home: Home, hub: HubClient) -> None:
    """Leaves the alliance: the hub tombstones what this member published. Raises: AllianceError.

    The hub revokes the certificate with it, so that a retry after a lost answer is refused: whoever has asked
    before, and is refused for that, has left.
    """
    asked_before = home.leaving_file.exists()
    home.leaving_file.touch()
    request = membership_pb2.LeaveAllianceRequest(request_id=str(uuid.uuid4()))
    try:
        hub.call(request, membership_pb2.LeaveAllianceResponse)
    except NotAuthenticated as error:
        if not asked_before:
            # It did not leave, it was put out.
            home.leaving_file.unlink()
        if not asked_before or error.reason not in _GONE:
            raise


def require_valid(held: Secrets, now: dt.datetime) -> None:
    """By this machine's clock the certificate has not run out. Raises: NotAuthenticated."""
    ended = certificate(held).not_valid_after_utc
    if now >= ended:
        raise NotAuthenticated(
            f"this agent's certificate expired at {ended:%Y-%m-%d %H:%M:%S} UTC",
            reason="CERTIFICATE_EXPIRED",
            remedy='run "alliance-agent renew"; "alliance-agent run" does it by itself',
        )


def certificate(held: Secrets) -> x509.Certificate:
    """The channel certificate in use."""
    return x509.load_der_x509_certificate(held.chain[0])
