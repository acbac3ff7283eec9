"""Members that call the hub's services as the edge would, one transaction each, without a wire."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Self, TypeVar

from cryptography import x509
from sqlalchemy import Connection

from alliance import canonical, tls
from alliance.audience import Audience, Tlp
from alliance.names import BankId, GroupId, MemberId
from alliance.schemes import TERMS
from alliance.v1 import fingerprint_pb2
from hub.app import Services
from hub.fingerprints import store
from hub.keys.model import Epoch
from hub.membership import model
from hub.membership.enrolment import Enrolled
from hub.membership.model import Role
from hub.runtime.caller import Caller, Who
from tests.kit.keys import Identity, KeyHolder, Sealed

T = TypeVar("T")
ADMIN = Caller(who=Who.ADMIN, name="operators/admin")


def write(services: Services, work: Callable[[Connection], T]) -> T:
    """`work` in a transaction of its own."""
    with services.db.write() as tx:
        return work(tx)


def read(services: Services, work: Callable[[Connection], T]) -> T:
    with services.db.read() as tx:
        return work(tx)


def invite(services: Services, name: str, role: Role = Role.BRAND, *, seconds: int = 0) -> bytes:
    """The secret of a new invitation."""
    secret, member = secrets.token_bytes(32), MemberId(f"members/{name}")
    digest = canonical.sha256(secret)
    write(services, lambda tx: services.enrolment.invite(tx, ADMIN, member, role, digest, seconds))
    return secret


class DirectMember(KeyHolder):
    """An enrolled member of `services`."""

    def __init__(self, services: Services, enrolled: Enrolled, identity: Identity) -> None:
        super().__init__(enrolled.member.id, identity)
        self.services = services
        self.caller = Caller(who=Who(enrolled.member.role.value), name=enrolled.member.id)
        self.peer = tls.peer_of(x509.load_der_x509_certificate(enrolled.chain[0]))

    @classmethod
    def enrol(cls, services: Services, name: str, secret: bytes, *, identity: Identity | None = None) -> Self:
        """Uses an invitation. Raises: AllianceError."""
        own, request = identity or Identity.generate(), tls.certificate_request(tls.new_channel_key())
        alliance = services.enrolment._alliance  # the trust domain it was wired with
        signed = canonical.enrolment_bytes(
            alliance, MemberId(f"members/{name}"), canonical.sha256(request), own.signing_key, own.sealing_key
        )
        public = model.Identity(signing_key=own.signing_key, sealing_key=own.sealing_key)
        enrolled = write(
            services,
            lambda tx: services.enrolment.enrol(
                tx, secret=secret, request=request, identity=public, signature=own.sign(signed)
            ),
        )
        return cls(services, enrolled, own)

    @classmethod
    def join(cls, services: Services, name: str, role: Role = Role.BRAND) -> Self:
        """Invited and enrolled."""
        return cls.enrol(services, name, invite(services, name, role))

    def act(self, work: Callable[[Connection, Caller], T]) -> T:
        """A mutation by this member: its certificate and standing are looked up in the same transaction."""
        with self.services.db.write() as tx:
            return work(tx, self.services.membership.authenticate(tx, self.peer))

    def store(self, sealed: Sealed) -> None:
        """The sealed bytes as a finished upload leaves them."""
        digest = self.services.blobs.files.put(sealed.data)
        write(self.services, lambda tx: self.services.blobs.register(tx, self.name, digest, len(sealed.data)))

    def publish_sealed(self, sealed: Sealed) -> int:
        """Raises: AllianceError."""
        self.store(sealed)
        batch, bank = self.signed(sealed.header), BankId(sealed.header.bank)
        return self.act(lambda tx, caller: self.services.fingerprints.publish(tx, caller, batch, bank))

    def withdraw(self, sealed: Sealed, rows: Sequence[int] = ()) -> int:
        """Raises: AllianceError."""
        tombstone, bank = self.tombstone(sealed, rows), BankId(sealed.header.bank)
        return self.act(lambda tx, caller: self.services.fingerprints.withdraw(tx, caller, tombstone, bank))

    def leave(self) -> None:
        """Raises: AllianceError."""
        departed = self.services.fingerprints.departed
        self.act(lambda tx, caller: self.services.membership.leave(tx, caller, departed))

    def publish(self, bank: BankId, plaintext: bytes = b"sealed", *, rows: int = 1, epoch: int = 1) -> Sealed:
        """Seals any bytes and publishes them. Raises: AllianceError."""
        sealed = self.seal(bank, plaintext, rows=rows, epoch=epoch)
        self.publish_sealed(sealed)
        return sealed


def create_group(services: Services, name: str, *members: KeyHolder) -> GroupId:
    group = GroupId(f"groups/{name}")
    with services.db.write() as tx:
        services.membership.create_group(tx, ADMIN, group)
        for member in members:
            services.membership.add_to_group(tx, ADMIN, group, member.name)
    return group


def create_bank(services: Services, name: str, group: GroupId, *, scheme: str = TERMS.id) -> BankId:
    bank = BankId(f"banks/{name}")
    audience = Audience(group=group, ceiling=Tlp.AMBER)
    write(services, lambda tx: services.fingerprints.create_bank(tx, ADMIN, bank, audience, scheme))
    return bank


def create_epoch(services: Services, creator: DirectMember, group: GroupId, *, epoch: int = 1) -> None:
    """An epoch that only its creator holds. Raises: AllianceError."""
    request, _ = creator.epoch_request(group, [], epoch=epoch)
    made = Epoch(
        group=group,
        number=epoch,
        commitment=request.commitment,
        creator=creator.name,
        signature=request.signature,
        create_time=0,
    )
    write(services, lambda tx: services.keys.create_epoch(tx, creator.caller, made, []))


def entries(services: Services, bank: BankId) -> list[fingerprint_pb2.BankEntry]:
    """The whole bank, as it is stored."""
    return read(services, lambda tx: store.entries(tx, bank, after_seq=0, limit=100_000))


def race(services: Services, first: Callable[[Connection], object], second: Callable[[], T]) -> T:
    """Runs `second` in a thread while `first` has decided and not yet committed. Raises: what `second` raises.

    On PostgreSQL `second` gets as far as the locks let it; on SQLite it waits for the one writer.
    """
    with ThreadPoolExecutor(1) as pool:
        with services.db.write() as tx:
            first(tx)
            running = pool.submit(second)
            # Long enough to reach the lock; if the machine is slow, the race is a sequence, which is also right.
            wait([running], timeout=0.15)
        return running.result()


class Shoes:
    """Two members in a group with an epoch and a bank, a third outside."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.acme, self.zoo = DirectMember.join(services, "acme"), DirectMember.join(services, "zoo")
        self.outsider = DirectMember.join(services, "outsider")
        self.group = create_group(services, "shoes", self.acme, self.zoo)
        self.bank = create_bank(services, "shoes", self.group)
        create_epoch(services, self.acme, self.group)

    def head(self) -> tuple[int, bytes]:
        bank = read(self.services, lambda tx: store.find_bank(tx, self.bank))
        assert bank is not None
        return bank.head_seq, bank.head_digest
