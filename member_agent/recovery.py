"""Back by the member identity: an agent whose certificate ran out, and a new machine for one that was lost.

`recover` keeps the very request it sends, sealed, before it sends it, as `join` does: cut off at any point, the same
command finishes the same enrolment.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import replace

from alliance import canonical, channel, tls
from alliance.errors import AlreadyExists, FailedPrecondition, InvalidInput
from alliance.names import member_id
from alliance.v1 import enrolment_pb2 as pb
from member_agent import channel_key, enrolment, keystore
from member_agent.backup import Backup
from member_agent.clock import Clock, timestamp, utc_now
from member_agent.config import Home, Settings
from member_agent.enrolment import Joined
from member_agent.hub_client import HubClient
from member_agent.identity import Identity
from member_agent.keystore import Secrets
from member_agent.ledger import Ledger


def backup_of(home: Home, current: Settings, held: Secrets) -> Backup:
    """All that brings this member back, whatever becomes of this machine. Raises: FailedPrecondition."""
    return Backup(
        member=member_id(current.hub_member),
        alliance=current.hub_alliance,
        signing_key=held.signing_key,
        sealing_key=held.sealing_key,
        former_sealing_keys=held.former_sealing_keys,
        ca=home.ca_file.read_bytes(),
        log_key=bytes.fromhex(current.hub_log_key),
        hub_address=current.hub_address,
        enrolment_address=enrolment_address(current),
    )


def come_back(home: Home, current: Settings, held: Secrets, ledger: Ledger, *, clock: Clock = utc_now) -> Secrets:
    """A new certificate for this very agent, proved by the member identity. Raises: NotPermitted, Unavailable, Corrupt.

    The old pair stays until the new one is saved; a lost answer is one certificate of this agent more, for a key
    that nobody has. The old key is not needed: also a lost token is got over this way.
    """
    identity = Identity(member_id(current.hub_member), held)
    roots = home.ca_file.read_bytes()
    with channel_key.renewing(home):
        key = channel_key.make(current.keys_pkcs11_uri, held.data_key)
        try:
            csr = tls.certificate_request(key)
            request = _request(identity, current.hub_alliance, current.hub_agent, csr, clock=clock)
            opened = channel.open_channel(enrolment_address(current), roots=roots, proxy=current.hub_proxy)
            with HubClient(opened, ledger) as hub:
                answer = hub.call(request, pb.EnrolAgentResponse)
            enrolment.check(answer, roots, key.public_key(), alliance=current.hub_alliance, member=current.hub_member)
            if answer.agent != current.hub_agent or answer.log_key.hex() != current.hub_log_key:
                raise enrolment.wrong("the hub answered for another agent, or shows another log than before")
        except BaseException:
            channel_key.discard(key)
            raise
        returned = channel_key.kept(held, key, tuple(answer.certificate_chain))
        keystore.save(home.keys_file, returned, home.passphrase(current))
    return returned


def recover(home: Home, backup: Backup, chosen: Settings | None = None, *, clock: Clock = utc_now) -> Joined:
    """Makes an empty home a new agent of the member; `chosen` is what becomes of the settings.

    Raises: AlreadyExists, InvalidInput, NotPermitted, Unavailable, Corrupt; NotAuthenticated from a token.
    """
    if home.settings_file.exists():
        raise AlreadyExists("this home has an agent", reason="ALREADY_JOINED", remedy="use another --home")
    home.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    chosen = chosen or Settings()
    chosen.validate()
    phrase = home.passphrase(chosen, create=enrolment.makes_passphrase(chosen))
    ledger = Ledger(home.ledger_file)
    try:
        opened = channel.open_channel(backup.enrolment_address, roots=backup.ca, proxy=chosen.hub_proxy)
        with HubClient(opened, ledger) as hub:
            held, answer = _enrolled(hub, home, backup, phrase, chosen, clock)
    finally:
        ledger.close()
    chosen = replace(
        chosen,
        hub_alliance=backup.alliance,
        hub_member=backup.member,
        hub_enrolment_address=backup.enrolment_address,
    )
    key = channel_key.of(held, chosen.keys_pkcs11_uri).public_key()
    enrolment.check(answer, backup.ca, key, alliance=backup.alliance, member=backup.member)
    if answer.log_key != backup.log_key:
        raise enrolment.wrong("the hub shows another log than the one the backup was made under")
    return enrolment.settle_in(home, chosen, held, answer, backup.ca, phrase)


def _enrolled(
    hub: HubClient, home: Home, backup: Backup, phrase: bytes, chosen: Settings, clock: Clock
) -> tuple[Secrets, pb.EnrolAgentResponse]:
    """The request of a recovery that was cut off, or a new one; one that the hub never saw in time is made anew."""
    held = enrolment.pending(home, phrase, chosen)
    if held is not None and held.signing_key == backup.signing_key:
        try:
            return held, hub.call(pb.EnrolAgentRequest.FromString(held.pending), pb.EnrolAgentResponse)
        except InvalidInput as error:
            if error.reason != "REQUEST_EXPIRED":
                raise
    if held is not None:
        channel_key.discard(channel_key.of(held, chosen.keys_pkcs11_uri))
    made = Secrets(
        signing_key=backup.signing_key,
        sealing_key=backup.sealing_key,
        former_sealing_keys=backup.former_sealing_keys,
        data_key=os.urandom(32),
    )
    key = channel_key.make(chosen.keys_pkcs11_uri, made.data_key)
    request = _request(Identity(backup.member, made), backup.alliance, "", tls.certificate_request(key), clock=clock)
    held = channel_key.kept(made, key).with_pending(request.SerializeToString())
    keystore.save(home.pending_join_file, held, phrase)
    return held, hub.call(request, pb.EnrolAgentResponse)


def _request(identity: Identity, alliance: str, agent: str, csr: bytes, *, clock: Clock) -> pb.EnrolAgentRequest:
    now, member = timestamp(clock()), identity.public.member
    request = pb.EnrolAgentRequest(
        request_id=str(uuid.uuid4()), member=member, agent=agent, certificate_request=csr, request_time=now
    )
    micros = now.seconds * 1_000_000 + now.nanos // 1000
    signed = canonical.agent_request_bytes(alliance, member, agent, request.request_id, canonical.sha256(csr), micros)
    request.identity_signature = identity.sign(signed)
    return request


def enrolment_address(current: Settings) -> str:
    """Raises: FailedPrecondition."""
    if not current.hub_enrolment_address:
        raise FailedPrecondition(
            "where to enrol is not known",
            reason="ENROLMENT_ADDRESS_MISSING",
            field="hub.enrolment_address",
            remedy="set it in agent.toml; the operator knows it",
        )
    return current.hub_enrolment_address
