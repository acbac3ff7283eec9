"""The only place where the agent's objects are wired."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import structlog

from alliance import merkle
from alliance.errors import AllianceError, FailedPrecondition, NotFound
from alliance.names import BankId, bank_id, member_id, qualified
from member_agent import enrolment, evidence, hub_client, keystore, limits, state, trust
from member_agent.audit_log import AuditLog, Head
from member_agent.catalog.service import CatalogService
from member_agent.clock import utc_now
from member_agent.config import Home, Settings
from member_agent.database import LocalDatabase
from member_agent.directory import Directory
from member_agent.fingerprinting.decode import ImageDecoder
from member_agent.hub_client import HubClient
from member_agent.identity import Identity
from member_agent.keystore import Secrets
from member_agent.ledger import Ledger
from member_agent.outbox import Drained, Outbox, State
from member_agent.sharing.audiences import Audiences
from member_agent.sharing.bank_store import BankStore
from member_agent.sharing.group_log import GroupLog
from member_agent.sharing.held_keys import HeldKeys
from member_agent.sharing.keyring import Keyring
from member_agent.sharing.published import published_table
from member_agent.sharing.publishing import Publisher, Target
from member_agent.sharing.sync import Synchroniser
from member_agent.training.blends import blend_table
from member_agent.training.consents import consent_table, result_table
from member_agent.training.feature_keys import FeatureKeys
from member_agent.training.models import ModelStore, model_table
from member_agent.training.trainer import Limits, Trainer
from member_agent.witness import Witnesses

log = structlog.get_logger()
# Memory of one decoding worker; a picture of 40 million pixels needs about 400 MB.
DECODER_MEMORY = 1 << 30
_TABLES = (published_table, consent_table, result_table, model_table, blend_table)
# Of the log as held, in the evidence of an alarm.
_EVIDENCE_LEAVES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent that has joined, over its home; connects only when asked to."""

    home: Home
    settings: Settings
    secrets: Secrets
    identity: Identity
    db: LocalDatabase
    ledger: Ledger
    log: AuditLog
    directory: Directory
    witnesses: Witnesses
    keyring: Keyring
    banks: BankStore
    audiences: Audiences
    outbox: Outbox
    synchroniser: Synchroniser
    models: ModelStore
    feature_keys: FeatureKeys
    transcript: evidence.Transcript

    def connect(self) -> HubClient:
        """Use as a context manager. Raises: NotAuthenticated, where the certificate has run out."""
        enrolment.require_valid(self.secrets, utc_now())
        return hub_client.connect(self.home, self.settings, self.secrets, self.ledger, self.transcript)

    def audit(self, hub: HubClient) -> None:
        """Verifies what is new in the log and what others saw of it, and that no identity in it claims to be ours.

        Raises: Corrupt.
        """
        self.log.update_quietly(hub)
        # First: a hub that took this member's identity away would refuse what it states as a witness.
        self.directory.watch(hub)
        try:
            self.witnesses.exchange(hub)
        except FailedPrecondition as error:
            if error.reason != "LOG_EMPTY":
                raise

    def follow_authorities(self, hub: HubClient) -> trust.Looked:
        """Takes over what changed among the hub's certificate authorities. Raises: Corrupt."""
        return trust.update(self.home, self.secrets, self.log, hub)

    def decoder(self) -> ImageDecoder:
        return ImageDecoder(workers=limits.workers(), memory_limit_bytes=DECODER_MEMORY)

    def trainer(self) -> Trainer:
        """Use as a context manager; its process starts with the first task, under the agent's own caps."""
        limits_ = Limits(memory_bytes=self.settings.limits_memory_mb << 20, cpus=self.settings.limits_cpus)
        return Trainer(limits=limits_)

    def target(self, hub: HubClient, bank: BankId, *, dry_run: bool = False) -> Target:
        """Where to publish: the bank as the log has it too, and its group's key.

        The log is looked at first: by it a member may have gone, who holds the key so far. Raises: NotFound, Corrupt.
        """
        if not dry_run:
            self.audit(hub)
        for one in self.synchroniser.banks(hub):
            if one.name == bank:
                if dry_run:
                    audience = self.audiences.rehearsed(one)
                    key = self.keyring.rehearsed(audience.group)
                else:
                    audience = self.audiences.require(hub, one)
                    key = self.keyring.current(hub, audience.group)
                return Target(bank=bank, audience=audience, scheme=one.scheme, key=key)
        raise NotFound(
            f"no bank {bank} among this member's groups",
            reason="BANK_NOT_FOUND",
            field="bank",
            remedy='see "alliance-agent banks", or ask the operator',
        )

    def send(self, hub: HubClient) -> Drained:
        """Sends what waits, first making anew the batches whose group's key has changed since they were sealed.

        While such a key is not to be had, everything waits: what is in no batch is in its turn behind one.

        Raises: as `Outbox.drain`; Corrupt.
        """
        try:
            for bank in sorted(self.outbox.banks()):
                self._make_anew(hub, bank)
        except FailedPrecondition as error:
            if error.reason != "GROUP_KEY_MISSING":
                raise
            return Drained(sent=0, failed=0, waiting=self.outbox.count(State.WAITING))
        return self.outbox.drain(hub)

    def _make_anew(self, hub: HubClient, bank: BankId) -> None:
        try:
            target = self.target(hub, bank)
        except NotFound:
            # Not this member's any more: the hub refuses what waits for it.
            return
        with self.publisher() as publisher:
            for stale in self.outbox.stale(bank, target.key.epoch):
                old = self.keyring.held(target.audience.group, stale.batch.epoch)
                rows = publisher.remake(target, stale, self.outbox.sealed(stale), old)
                log.info("batch_made_anew", bank=bank, rows=rows, epoch=target.key.epoch)

    @contextmanager
    def publisher(self) -> Iterator[Publisher]:
        with CatalogService(self.home.path, utc_now) as catalog:
            yield Publisher(self.db, identity=self.identity, catalog=catalog, decoder=self.decoder)


@contextmanager
def open_agent(home: Home) -> Iterator[Agent]:
    """Wires an agent, and keeps evidence of what makes it stop.

    Raises: FailedPrecondition (not joined, passphrase), NotAuthenticated, Corrupt.
    """
    settings, _ = home.load()
    limits.apply(settings)
    secrets = keystore.load(home.keys_file, home.passphrase(settings))
    with ExitStack() as stack:
        db = state.open_state(home.state_file)
        stack.callback(db.close)
        ledger = Ledger(home.ledger_file)
        stack.callback(ledger.close)
        banks = BankStore(home.banks_file)
        stack.callback(banks.close)
        agent = _wire(home, settings, secrets, db, ledger, banks)
        try:
            yield agent
        except AllianceError as error:
            if error.reason in evidence.ALARMS:
                evidence.keep(home.evidence, error, _scene(agent), agent.transcript, now=utc_now())
            raise


def _wire(
    home: Home, settings: Settings, secrets: Secrets, db: LocalDatabase, ledger: Ledger, banks: BankStore
) -> Agent:
    identity = Identity(member_id(settings.hub_member), secrets)
    log = AuditLog(db, alliance=settings.hub_alliance, log_key=bytes.fromhex(settings.hub_log_key))
    directory = Directory(db, log, alliance=settings.hub_alliance, own=identity.public)
    audiences = Audiences(log)
    held_keys = HeldKeys(db, data_key=secrets.data_key)
    return Agent(
        home=home,
        settings=settings,
        secrets=secrets,
        identity=identity,
        db=db,
        ledger=ledger,
        log=log,
        directory=directory,
        witnesses=Witnesses(db, alliance=settings.hub_alliance, identity=identity, log=log, directory=directory),
        keyring=Keyring(
            held_keys,
            GroupLog(db),
            identity=identity,
            log=log,
            directory=directory,
            rotate=dt.timedelta(days=settings.keys_rotate_days),
        ),
        banks=banks,
        audiences=audiences,
        outbox=Outbox(db, home.outbox_lock),
        synchroniser=Synchroniser(
            banks, audiences=audiences, directory=directory, parts=home.parts, lock=home.sync_lock
        ),
        models=ModelStore(db, home.models),
        feature_keys=FeatureKeys(held_keys),
        transcript=evidence.Transcript(),
    )


def _scene(agent: Agent) -> evidence.Scene:
    """Where this agent stands, from its own files alone."""
    head = agent.log.head() or Head(size=0, root=merkle.Frontier().root)
    return evidence.Scene(
        alliance=agent.settings.hub_alliance,
        member=agent.settings.hub_member,
        hub=agent.settings.hub_address,
        log_key=agent.settings.hub_log_key,
        log_size=head.size,
        log_root=head.root.hex(),
        leaves=[
            {name: value.hex() if isinstance(value, bytes) else value for name, value in leaf.items()}
            for leaf in agent.log.newest(_EVIDENCE_LEAVES)
        ],
    )


def default_bank(agent: Agent, hub: HubClient, name: str) -> BankId:
    """`--bank` as typed, or the only bank there is. Raises: NotFound."""
    if name:
        return bank_id(qualified("banks", name))
    listed = agent.synchroniser.banks(hub)
    if len(listed) == 1:
        return bank_id(listed[0].name)
    raise NotFound(
        f"this member has {len(listed)} banks",
        reason="BANK_UNSAID",
        field="--bank",
        remedy=f"name one: {', '.join(sorted(one.name for one in listed)) or 'none yet, ask the operator'}",
    )
