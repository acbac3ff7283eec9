"""This member changes its own identity. The new keys are kept, sealed, before the hub hears of them.

Cut off at any point, the same command goes on: the same request again, then this agent's keys, then the group keys
that are wrapped to the new identity. Earlier sealing keys stay, for what was sealed to them on its way.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from alliance import canonical, tls
from alliance.errors import FailedPrecondition
from alliance.names import member_id
from alliance.v1 import enrolment_pb2 as pb
from member_agent import keystore
from member_agent.config import Home, Settings
from member_agent.hub_client import HubClient
from member_agent.identity import Identity, private_der
from member_agent.identity_chain import digest_of
from member_agent.keystore import Secrets


def require_nothing_waits(waiting: int) -> None:
    """What the former identity signed and the hub does not have yet would be refused. Raises: FailedPrecondition."""
    if waiting:
        raise FailedPrecondition(
            f"{waiting} items that the identity signed have not been sent",
            reason="OUTBOX_WAITS",
            remedy='run "alliance-agent sync" until nothing waits, then change the identity',
        )


def change(home: Home, current: Settings, held: Secrets, hub: HubClient) -> Secrets:
    """Tells the hub, then keeps the new identity as this agent's own. Raises: AllianceError."""
    phrase = home.passphrase(current)
    made = _prepared(home, current, held, phrase)
    if made.signing_key == held.signing_key:
        # Cut off after this agent took it over.
        return held
    hub.call(pb.ChangeIdentityRequest.FromString(made.pending), pb.ChangeIdentityResponse)
    # A certificate renewed since the request was made is the one to keep.
    changed = replace(
        held,
        signing_key=made.signing_key,
        sealing_key=made.sealing_key,
        former_sealing_keys=held.former_sealing_keys + held.sealing_key,
    )
    keystore.save(home.keys_file, changed, phrase)
    return changed


def finish(home: Home, wrap_own: Callable[[], None]) -> None:
    """Wraps the group keys to the new identity; only then is the change over."""
    wrap_own()
    home.changing_file.unlink(missing_ok=True)


def _prepared(home: Home, current: Settings, held: Secrets, phrase: bytes) -> Secrets:
    """The new identity of a change that was cut off, or another."""
    if home.changing_file.exists():
        return keystore.load(home.changing_file, phrase)
    member = member_id(current.hub_member)
    made = replace(
        held,
        signing_key=private_der(tls.new_channel_key()),
        sealing_key=X25519PrivateKey.generate().private_bytes_raw(),
    )
    former, new = Identity(member, held), Identity(member, made)
    signed = canonical.identity_change_bytes(
        current.hub_alliance, member, digest_of(former.public), digest_of(new.public)
    )
    request = pb.ChangeIdentityRequest(
        request_id=str(uuid.uuid4()),
        identity=pb.MemberIdentity(signing_key=new.public.signing_key, sealing_key=new.public.sealing_key),
        former_signature=former.sign(signed),
        signature=new.sign(signed),
    )
    made = made.with_pending(request.SerializeToString())
    keystore.save(home.changing_file, made, phrase)
    return made
