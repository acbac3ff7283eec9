"""A real hub in this process: `hub.setup.initialise`, `hub.serving.Hub`, port 0, mutual TLS, a thread of its own.

Promise: what the tests talk to is wired by the hub's own code and reached through sockets only; it starts and
stops in a few tens of milliseconds, and nothing of it is left when the `with` block ends. Every client that a
`RunningHub` handed out is closed before its hub stops, so that no stream holds the stop up.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.field_mask_pb2 import FieldMask

from alliance import canonical, channel, tls
from alliance.audience import Tlp
from alliance.join_code import SECRET_SIZE, JoinCode
from alliance.names import BankId, GroupId, MemberId, OperatorId
from alliance.schemes import TERMS
from alliance.v1 import console_pb2, enrolment_pb2, fingerprint_pb2, membership_pb2
from hub.app import Services, open_services
from hub.config import Home, Settings
from hub.membership.model import ConsoleRole, Role
from hub.operator_client import OperatorClient
from hub.pki import custody
from hub.runtime.clock import Clock, utc_now
from hub.serving import Hub
from hub.setup import initialise, write_kit
from tests.kit.member import RawMember

ADMIN = OperatorId("operators/admin")
START_TIMEOUT_S = 20.0


def local_settings(*, url: str = "", **changes: Any) -> Settings:
    """Settings of a hub on loopback whose ports the system chooses."""
    here = Settings(
        server_address="127.0.0.1:0",
        server_enrolment_address="127.0.0.1:0",
        # Most tests are about something else than who admits whom.
        membership_admission_cosigners=0,
        # So long that a clock moved by weeks gives no certificate from the future.
        server_certificate_hours=366 * 24.0,
        database_url=url,
    )
    return dataclasses.replace(here, **changes)


class RunningHub:
    """A hub that serves, and the people around it: its admin, other operators, members that enrol."""

    def __init__(self, home: Home, settings: Settings, services: Services, *, clock: Clock) -> None:
        self.home, self.settings, self.services = home, settings, services
        self.hub = Hub(home, settings, services, clock=clock)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="test-hub")
        self._serving, self._stopping = threading.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clients = ExitStack()
        self._operators: dict[ConsoleRole, OperatorClient] = {}

    @property
    def address(self) -> str:
        return self.hub.address

    @property
    def enrolment_address(self) -> str:
        return self.hub.enrolment_address

    @property
    def roots(self) -> bytes:
        """The CA certificate, PEM."""
        return self.services.pki.ca.public_bytes(serialization.Encoding.PEM)

    @property
    def ca_key(self) -> ec.EllipticCurvePrivateKey:
        """For forging what only a thief of the CA key could."""
        key = custody.read(self.home.ca / "ca.key", self.home.passphrase(self.settings))
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key

    @property
    def admin(self) -> OperatorClient:
        """The operator that `init` made."""
        if ConsoleRole.ADMIN not in self._operators:
            self._operators[ConsoleRole.ADMIN] = self._client(self.home.operator / "admin")
        return self._operators[ConsoleRole.ADMIN]

    def operator(self, role: ConsoleRole) -> OperatorClient:
        """A console user of this role, certified by the admin as `alliance-hub operator add` does it."""
        if role is ConsoleRole.ADMIN:
            return self.admin
        if role not in self._operators:
            self._operators[role] = self._client(self.operator_kit(role))
        return self._operators[role]

    def operator_kit(self, role: ConsoleRole) -> Path:
        """The folder of a new operator's key, certificate and CA."""
        key = tls.new_channel_key()
        request = enrolment_pb2.IssueOperatorCertificateRequest(
            operator=f"operators/{role}",
            role=f"CONSOLE_ROLE_{role.upper()}",
            certificate_request=tls.certificate_request(key),
        )
        issued = self.admin.call(request, enrolment_pb2.IssueOperatorCertificateResponse)
        folder = self.home.path.with_name(f"{self.home.path.name}-kit-{role}")
        chain = tls.chain_pem(list(issued.certificate_chain))
        write_kit(folder, key=tls.private_pem(key), chain=chain, ca=self.roots, hub=self.address)
        return folder

    def invite(self, name: str, role: Role = Role.BRAND, *, seconds: int = 0) -> JoinCode:
        """An invitation by the admin, as `alliance-hub member invite` makes it."""
        member, secret = MemberId(f"members/{name}"), secrets.token_bytes(SECRET_SIZE)
        request = membership_pb2.CreateInvitationRequest(
            member=member,
            role=f"MEMBER_ROLE_{role.upper()}",
            lifetime_seconds=seconds,
            secret_digest=canonical.sha256(secret),
        )
        invited = self.admin.call(request, membership_pb2.CreateInvitationResponse)
        return JoinCode(
            alliance=invited.alliance,
            address=invited.enrolment_address,
            member=member,
            ca=self.services.pki.ca,
            secret=secret,
        )

    def enrol(self, name: str, role: Role = Role.BRAND) -> RawMember:
        """A new member, enrolled through the real RPC."""
        member = RawMember.enrol(self.invite(name, role))
        self._clients.callback(member.close)
        return member

    def create_group(self, name: str, *members: RawMember) -> GroupId:
        group = GroupId(f"groups/{name}")
        self.admin.call(membership_pb2.CreateGroupRequest(name=group), membership_pb2.CreateGroupResponse)
        for member in members:
            self.add_to_group(group, member)
        return group

    def add_to_group(self, group: GroupId, member: RawMember) -> None:
        request = membership_pb2.AddGroupMemberRequest(group=group, member=member.name)
        self.admin.call(request, membership_pb2.AddGroupMemberResponse)

    def create_bank(self, name: str, group: GroupId, *, scheme: str = TERMS.id, tlp: Tlp = Tlp.AMBER) -> BankId:
        bank = BankId(f"banks/{name}")
        label = fingerprint_pb2.Tlp.Name(tlp)
        request = fingerprint_pb2.CreateBankRequest(name=bank, group=group, scheme=scheme, tlp=label)
        self.admin.call(request, fingerprint_pb2.CreateBankResponse)
        return bank

    def set_policy(self, **fields: Any) -> None:
        """By the admin, of the policy as it is."""
        seen = self.admin.call(console_pb2.GetPolicyRequest(), console_pb2.GetPolicyResponse).policy
        for name, value in fields.items():
            setattr(seen, name, value)
        request = console_pb2.UpdatePolicyRequest(policy=seen, update_mask=FieldMask(paths=list(fields)))
        self.admin.call(request, console_pb2.UpdatePolicyResponse)

    def suspend(self, member: RawMember) -> None:
        request = membership_pb2.SuspendMemberRequest(name=member.name, reason="under investigation")
        self.admin.call(request, membership_pb2.SuspendMemberResponse)

    def expel(self, member: RawMember) -> None:
        request = membership_pb2.ExpelMemberRequest(name=member.name, reason="sold fakes")
        self.admin.call(request, membership_pb2.ExpelMemberResponse)

    def open_channel(self, *, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> grpc.Channel:
        """A channel to the main listener with any certificate at all."""
        chain = certificate.public_bytes(serialization.Encoding.PEM)
        opened = channel.open_channel(self.address, roots=self.roots, key=tls.private_pem(key), chain=chain)
        self._clients.callback(opened.close)
        return opened

    def open_enrolment_channel(self) -> grpc.Channel:
        """A channel to the enrolment listener, which asks for no certificate."""
        opened = channel.open_channel(self.enrolment_address, roots=self.roots)
        self._clients.callback(opened.close)
        return opened

    def integrate(self) -> None:
        """What was queued is in the log, without waiting for the sequencer."""
        with self.services.db.write() as tx:
            self.services.audit.integrate(tx)

    def start(self) -> None:
        self._thread.start()
        if not self._serving.wait(START_TIMEOUT_S) or not self.address:
            raise AssertionError("the hub did not start; its own error is above")

    def stop(self) -> None:
        self._clients.close()
        self.stop_serving()

    def stop_serving(self) -> None:
        """Stops the hub alone: its clients find out. Again does nothing."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._loop = None

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await self.hub.start()
        finally:
            self._serving.set()
        await self._stopping.wait()
        await self.hub.stop()

    def _client(self, kit: Path) -> OperatorClient:
        client = OperatorClient(kit, self.address)
        self._clients.callback(client.close)
        return client


@contextmanager
def running_hub(folder: Path, *, url: str = "", clock: Clock = utc_now, **settings: Any) -> Iterator[RunningHub]:
    """A new hub in `folder`, on SQLite or the database at `url`; a hub that is there already goes on.

    Args:
        settings: fields of `hub.config.Settings` that differ from a hub on loopback.
    """
    home, wanted = Home(path=folder / "hub"), local_settings(url=url, **settings)
    if not home.settings_file.exists():
        initialise(home, wanted, ADMIN)
    with open_services(home, wanted, clock=clock) as services:
        hub = RunningHub(home, wanted, services, clock=clock)
        hub.start()
        try:
            yield hub
        finally:
            hub.stop()
