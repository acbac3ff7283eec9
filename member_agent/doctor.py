"""Why does it not work? Checks from the inside out: files, certificate, clock, network, hub; each with its remedy.

The local certificate comes first, because a client with a bad one sees nothing but a closed socket.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509

from alliance import release, tls
from alliance.errors import AllianceError, InvalidInput, NotAuthenticated, NotPermitted, Unavailable
from member_agent import channel_key, enrolment, explain, keystore, token_key
from member_agent.app import Agent, open_agent
from member_agent.clock import utc_now
from member_agent.config import Home
from member_agent.outbox import State

SKEW = dt.timedelta(minutes=2)
SECONDS = 5.0
# What the hub refused for good, and what to do about it; the worst first.
_REFUSED = {
    "WithdrawRowsRequest": "tell the operator: other members still have what was to be withdrawn",
    "PublishBatchRequest": '"alliance-agent publish" makes refused batches anew',
}
# OpenSSL's words for a certificate that is not valid yet, or no more.
_TIMES = (9, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """An empty problem means it is well."""

    check: str
    problem: str = ""
    remedy: str = ""
    found: str = ""


def examine(home: Home) -> Iterator[Check]:
    """Every check that can be made; without keys the rest is not tried."""
    try:
        settings, _ = home.load()
        yield Check(check="settings", found=str(home.settings_file))
        keystore.load(home.keys_file, home.passphrase(settings))
        yield Check(check="keys open", found=settings.hub_member)
    except AllianceError as error:
        yield Check(check="settings and keys", problem=error.message, remedy=error.remedy)
        return
    with open_agent(home) as agent:
        checks: tuple[tuple[str, Callable[[Agent], Check]], ...] = (
            ("certificate", _certificate),
            ("channel key", _channel_key),
            ("proxy", _proxy),
            ("hub reachable", _reachable),
            ("tls inspection", _inspection),
            ("hub answers", _hub),
            ("outbox", _outbox),
        )
        for name, check in checks:
            try:
                yield check(agent)
            except AllianceError as error:
                yield Check(check=name, problem=error.message, remedy=error.remedy)


def _certificate(agent: Agent) -> Check:
    certificate = enrolment.certificate(agent.secrets)
    peer = tls.peer_of(certificate, alliance=agent.settings.hub_alliance)
    peer.require_valid(utc_now())
    ca = x509.load_pem_x509_certificate(agent.home.ca_file.read_bytes())
    left = peer.not_after - utc_now()
    return Check(check="certificate", found=f"{left.days} days left; CA {tls.fingerprint(ca)[:23]}...")


def _channel_key(agent: Agent) -> Check:
    """There, and the certificate's own; a token is opened for it."""
    key = channel_key.of(agent.secrets, agent.settings.keys_pkcs11_uri)
    if isinstance(key, token_key.TokenKey):
        token_key.require(key)
    if key.public_key() != enrolment.certificate(agent.secrets).public_key():
        return Check(
            check="channel key",
            problem="the channel key is not the certificate's",
            remedy='run "alliance-agent renew"',
        )
    return Check(check="channel key", found=channel_key.where(agent.secrets, agent.settings))


def _proxy(agent: Agent) -> Check:
    proxy = _proxy_in_force(agent)
    if not proxy:
        return Check(check="proxy", found="none")
    target = urlsplit(proxy)
    try:
        socket.create_connection((target.hostname or "", target.port or 3128), timeout=SECONDS).close()
    except OSError as error:
        return Check(check="proxy", problem=f"no answer at {proxy}: {error}", remedy="mend hub.proxy or https_proxy")
    return Check(check="proxy", found=proxy)


def _reachable(agent: Agent) -> Check:
    host, _, port = agent.settings.hub_address.rpartition(":")
    if _proxy_in_force(agent):
        return Check(check="hub reachable", found="through the proxy; see the next lines")
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS).close()
    except OSError as error:
        return Check(
            check="hub reachable",
            problem=f"cannot connect to {agent.settings.hub_address}: {error}",
            remedy="check the address, the firewall (outbound TCP), and that the hub is up",
        )
    return Check(check="hub reachable", found=agent.settings.hub_address)


def _inspection(agent: Agent) -> Check:
    """Whose certificate answers: the alliance's CA, or a middlebox's?"""
    host, _, port = agent.settings.hub_address.rpartition(":")
    if _proxy_in_force(agent):
        return Check(check="tls inspection", found="not looked at behind a proxy; the pinned CA decides")
    try:
        der, version = _shake(host, int(port), roots="")  # only looked at: nothing is sent over it
    except OSError as error:
        return Check(
            check="tls inspection", problem=f"no TLS at the hub's address: {error}", remedy="check the address"
        )
    certificate = x509.load_der_x509_certificate(der)
    try:
        _shake(host, int(port), roots=agent.home.ca_file.read_text())
    except ssl.SSLCertVerificationError as error:
        if error.verify_code not in _TIMES:
            issuer = certificate.issuer.rfc4514_string()
            return Check(
                check="tls inspection",
                problem=f"the answer comes from {issuer}, not from the alliance's CA ({error.verify_message})",
                remedy="exempt the hub from TLS inspection; the pinned CA will not be replaced",
            )
    if not certificate.not_valid_before_utc <= utc_now() < certificate.not_valid_after_utc:
        return Check(
            check="tls inspection",
            problem=f"the hub's certificate is valid from {certificate.not_valid_before_utc} to "
            f"{certificate.not_valid_after_utc}, this clock says {utc_now():%Y-%m-%d %H:%M:%S}",
            remedy="synchronise the clock (NTP)",
        )
    return Check(check="tls inspection", found=f"{version}, issued by the pinned CA")


def _shake(host: str, port: int, *, roots: str) -> tuple[bytes, str]:
    """The certificate and TLS version of one handshake, verified under `roots` (PEM) where given. Raises: OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if roots else ssl.CERT_NONE
    if roots:
        context.load_verify_locations(cadata=roots)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, port), timeout=SECONDS) as raw,
        context.wrap_socket(raw, server_hostname=host) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b"", secured.version() or ""


def _hub(agent: Agent) -> Check:
    try:
        with agent.connect() as hub:
            answer = hub.handshake()
    except (NotAuthenticated, NotPermitted, Unavailable) as error:
        # A certificate that TLS refuses gets a closed socket for an answer: the other listener says why.
        return _explained(agent, error)
    skew = answer.hub_time.ToDatetime(tzinfo=dt.UTC) - utc_now()
    if abs(skew) > SKEW:
        return Check(
            check="hub answers",
            problem=f"this clock is {abs(skew).total_seconds():.0f} s {'behind' if skew > dt.timedelta() else 'ahead'}",
            remedy="synchronise the clock (NTP)",
        )
    return Check(
        check="hub answers", found=f"{answer.alliance}, version {answer.hub_version}, this agent {release.VERSION}"
    )


def _explained(agent: Agent, error: AllianceError) -> Check:
    """Why there was no connection, if it is the certificate; else what was seen of it."""
    try:
        problem, remedy = explain.ask(agent.home, agent.settings, agent.secrets, agent.ledger)
    except InvalidInput as refused:
        problem, remedy = refused.message, refused.remedy
    except AllianceError:
        problem, remedy = "", ""
    return Check(check="hub answers", problem=problem or error.message, remedy=remedy or error.remedy)


def _outbox(agent: Agent) -> Check:
    """A refused batch is made anew by publishing, a refused withdrawal is the operator's to explain; hits are lost."""
    failed = list(agent.outbox.items(State.FAILED))
    waiting = f"{agent.outbox.count(State.WAITING)} waiting"
    for message, remedy in _REFUSED.items():
        if refused := [item for item in failed if item.message == message]:
            problem = f"{len(refused)} items refused, the first: {refused[0].problem}"
            return Check(check="outbox", problem=problem, remedy=remedy)
    return Check(check="outbox", found=f"{waiting}, {len(failed)} refused for good" if failed else waiting)


def _proxy_in_force(agent: Agent) -> str:
    """The proxy gRPC will use: the setting, else the environment's; `no_proxy` exempts the hub from either."""
    host = agent.settings.hub_address.rpartition(":")[0]
    exempt = os.environ.get("no_grpc_proxy") or os.environ.get("no_proxy", "")  # noqa: SIM112  # because gRPC's are lower-case
    if any(part.strip() and host.endswith(part.strip()) for part in exempt.split(",")):
        return ""
    if agent.settings.hub_proxy:
        return agent.settings.hub_proxy
    return next((v for k in ("grpc_proxy", "https_proxy", "http_proxy") if (v := os.environ.get(k))), "")
