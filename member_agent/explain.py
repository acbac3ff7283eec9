"""Why the hub accepts no connection: asked on the enrolment listener, which needs no certificate.

A client whose certificate TLS refuses sees a closed socket and no reason. The answer is the hub's word, good for a
remedy and for nothing else.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from alliance import canonical, channel
from alliance.v1 import enrolment_pb2 as pb
from member_agent import channel_key
from member_agent.clock import Clock, timestamp, utc_now
from member_agent.config import Home, Settings
from member_agent.hub_client import HubClient
from member_agent.keystore import Secrets
from member_agent.ledger import Ledger
from member_agent.recovery import enrolment_address

SECONDS = 10.0


def ask(home: Home, current: Settings, held: Secrets, ledger: Ledger, *, clock: Clock = utc_now) -> tuple[str, str]:
    """What is wrong with this agent's certificate and what to do; empty where the hub thinks it good.

    Raises: AllianceError where the hub does not answer, or refuses the question (a clock that is wrong, for one).
    """
    request = question(held, current, clock=clock)
    opened = channel.open_channel(enrolment_address(current), roots=home.ca_file.read_bytes(), proxy=current.hub_proxy)
    with HubClient(opened, ledger) as hub:
        answer = hub.call(request, pb.ExplainCertificateResponse, timeout=SECONDS)
    if answer.state == pb.CERTIFICATE_STATE_GOOD:
        return "", ""
    return f"the hub refuses this agent's certificate: {answer.explanation}", answer.remedy


def question(held: Secrets, current: Settings, *, clock: Clock) -> pb.ExplainCertificateRequest:
    """Signed with the certificate's own key, so that nobody asks about another's."""
    key = channel_key.of(held, current.keys_pkcs11_uri)
    now = timestamp(clock())
    micros = now.seconds * 1_000_000 + now.nanos // 1000
    signed = canonical.explain_bytes(current.hub_alliance, canonical.sha256(held.chain[0]), micros)
    return pb.ExplainCertificateRequest(
        certificate_chain=held.chain, request_time=now, signature=key.sign(signed, ec.ECDSA(hashes.SHA256()))
    )
