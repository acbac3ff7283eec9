"""The life of a serving hub: its listeners, what runs beside them, and how it stops."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import signal
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

import grpc
import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha.reflection import enable_server_reflection
from sqlalchemy import Connection

from alliance import channel
from alliance.names import MemberId
from alliance.v1 import membership_pb2
from hub.app import Services
from hub.approvals.rpc import ConsoleRpc
from hub.approvals.service import ApprovalService, Call
from hub.audit.rpc import AuditRpc
from hub.audit.sequencer import SECONDS as SEQUENCER_SECONDS
from hub.audit.sequencer import Sequencer
from hub.audit.witnesses import WitnessService
from hub.blobs.rpc import BlobRpc
from hub.config import Home, Settings
from hub.federation.rpc import FederationRpc, task_message
from hub.federation.runner import Runner
from hub.fingerprints.compactor import SECONDS as COMPACTOR_SECONDS
from hub.fingerprints.compactor import Compactor
from hub.fingerprints.rpc import FingerprintRpc
from hub.keys.rpc import KeyRpc
from hub.membership.enrolment_rpc import EnrolmentRpc
from hub.membership.explain import ExplainService
from hub.membership.looks import Look, Shown
from hub.membership.rpc import MembershipRpc
from hub.pki.keeper import SECONDS as KEEPER_SECONDS
from hub.pki.keeper import Keeper
from hub.pki.rpc import PkiRpc
from hub.runtime import server
from hub.runtime.access import TABLE, Listener
from hub.runtime.caller import MEMBERS, Caller
from hub.runtime.changes import Changes, Topic
from hub.runtime.clock import Clock, micros, utc_now
from hub.runtime.edge import Edge, Guard, Runtime, implementation, parser
from hub.runtime.idempotency import forget_old
from hub.runtime.limits import Limits, Rates
from hub.runtime.metrics import Metrics
from hub.runtime.periodic import Periodic
from hub.runtime.streams import Streams

log = structlog.get_logger()
STOP_GRACE = 5.0
HOUSEKEEPING_SECONDS = 600.0
# Their mutations may end somebody's right to an open stream.
STANDING_SERVICES = frozenset({"ConsoleService", "EnrolmentService", "MembershipService", "PkiService"})
DESCRIPTORS = {name: service for file in channel.FILES for name, service in file.DESCRIPTOR.services_by_name.items()}


def looks_of(services: Services) -> Mapping[Topic, Look]:
    """What a member's watch compares: its groups' members and keys and the heads of its banks; its task."""

    def sharing(tx: Connection, members: Collection[MemberId]) -> dict[MemberId, Shown]:
        # Who holds a group's key wraps in whoever was admitted since.
        admitted = services.admissions.count(tx) if members else 0
        return {member: shared(tx, member, admitted) for member in members}

    def shared(tx: Connection, member: MemberId, admitted: int) -> Shown:
        caller = Caller(who=next(iter(MEMBERS)), name=member)
        seen: dict[str, tuple[str, membership_pb2.WatchResponse]] = {}
        for group in services.membership.groups(tx, caller, after=None, limit=1000):
            state = f"{services.keys.group_state(tx, group.id)}:{hash(group.members)}:{admitted}"
            hint = membership_pb2.WatchResponse(group=membership_pb2.GroupHint(group=group.id))
            seen[group.id] = (state, hint)
        for bank in services.fingerprints.banks(tx, caller, after=None, limit=1000):
            bank_hint = membership_pb2.BankHint(bank=bank.id, head_seq=bank.head_seq)
            seen[bank.id] = (str(bank.head_seq), membership_pb2.WatchResponse(bank=bank_hint))
        return seen

    def tasks(tx: Connection, members: Collection[MemberId]) -> dict[MemberId, Shown]:
        # Most have the same: a task says nothing of whose it is.
        shown: dict[tuple[int, int], Shown] = {}
        asked = services.rounds.tasks(tx, members)
        for task in asked.values():
            if (task.round, task.kind) not in shown:
                hint = membership_pb2.WatchResponse(task=task_message(task))
                shown[task.round, task.kind] = {"task": (f"{task.round}:{task.kind}", hint)}
        return {member: shown[task.round, task.kind] for member, task in asked.items()}

    return {Topic.SHARING: sharing, Topic.TASKS: tasks}


def calls_for_two(targets: Mapping[str, object]) -> dict[str, Call]:
    """By RPC, what is done when a second admin has approved it."""
    methods = (method for name in targets for method in DESCRIPTORS[name].methods)
    named = {f"{method.containing_service.full_name}/{method.name}": method for method in methods}
    return {
        name: Call(parse=parser(method), do=implementation(targets[method.containing_service.name], method))
        for name, method in named.items()
        if TABLE[name].two_admins is not None
    }


class Hub:
    """A serving hub: two listeners, the sequencer, the compactor, housekeeping."""

    def __init__(self, home: Home, settings: Settings, services: Services, *, clock: Clock = utc_now) -> None:
        self._home, self._settings, self._services, self._clock = home, settings, services, clock
        self._pool = ThreadPoolExecutor(settings.server_workers, thread_name_prefix="hub-worker")
        self.metrics = Metrics()
        compactor = Compactor(
            services.blobs,
            services.db,
            entries=settings.fingerprints_segment_entries,
            bytes_=settings.fingerprints_segment_bytes,
        )
        sequencer = Sequencer(services.audit, services.db, self.metrics)
        names = [name.strip() for name in settings.server_names.split(",")]
        self._keeper = Keeper(services.pki, services.rotation, services.db, names=names, clock=clock)
        self._periodic = (
            Periodic("certificate-keeper", self._keeper.run, seconds=KEEPER_SECONDS),
            Periodic("audit-sequencer", sequencer.drain, seconds=SEQUENCER_SECONDS),
            Periodic("segment-compactor", compactor.run, seconds=COMPACTOR_SECONDS),
            Periodic("housekeeping", self._housekeep, seconds=HOUSEKEEPING_SECONDS),
        )
        self._changes = Changes()
        self._streams = Streams(db=services.db, pool=self._pool, clock=clock, callers=services.membership.callers)
        self._runner: Runner | None = None
        # What two admins may be needed for; filled when the services' edges are made.
        self._calls: dict[str, Call] = {}
        self._approvals = ApprovalService(
            policies=services.policies,
            operators=services.operators,
            audit=services.audit,
            calls=self._calls,
            clock=clock,
        )
        self._servers: list[grpc.aio.Server] = []
        self.address = ""
        self.enrolment_address = ""

    async def start(self) -> None:
        """Binds both listeners and serves. Raises: FailedPrecondition if a port is taken."""
        settings, services = self._settings, self._services
        shown = self._keeper.credentials
        runtime = Runtime(
            alliance=settings.alliance_name,
            db=services.db,
            pool=self._pool,
            clock=self._clock,
            metrics=self.metrics,
            changes=self._changes,
            authenticate=services.membership.authenticate,
            require_one_suffices=self._approvals.require_one_suffices,
            streams=self._streams,
            limits=Limits(_rates(settings), {name: rule.rate for name, rule in TABLE.items()}),
        )
        # The listeners know each other's address before they serve; ports may be chosen by the system.
        guard = Guard(runtime, Listener.MAIN)
        main, port = server.build(settings.server_address, shown, client_certificates=True, interceptors=[guard])
        enrolment, enrolment_port = server.build(settings.server_enrolment_address, shown, client_certificates=False)
        self.address = settings.server_public_address or _with_port(settings.server_address, port)
        self.enrolment_address = settings.server_public_enrolment_address or _with_port(
            settings.server_enrolment_address, enrolment_port
        )
        targets = self._targets()
        self._calls |= calls_for_two(targets)
        edge = Edge(runtime, Listener.MAIN)
        main.add_generic_rpc_handlers(
            tuple(
                edge.handler(DESCRIPTORS[name], target, committed=self._committed(name))
                for name, target in targets.items()
            )
        )
        enrolment_edge = Edge(runtime, Listener.ENROLMENT)
        enrolment.add_generic_rpc_handlers(
            (
                enrolment_edge.handler(
                    DESCRIPTORS["EnrolmentService"],
                    targets["EnrolmentService"],
                    committed=self._committed("EnrolmentService"),
                ),
            )
        )
        await _add_health(main)
        enable_server_reflection([DESCRIPTORS[name].full_name for name in targets], main)
        self._servers = [main, enrolment]
        for listener in self._servers:
            await listener.start()
        for periodic in self._periodic:
            periodic.start()
        self._streams.start()
        self._start_rounds()
        if settings.metrics_address:
            self.metrics.serve(settings.metrics_address)
        self._write_addresses()
        log.info("hub_serving", address=self.address, enrolment=self.enrolment_address)

    async def stop(self) -> None:
        """Ends streams, lets other calls in progress finish for a few seconds; the log integrates what is queued."""
        closing = [asyncio.ensure_future(listener.stop(STOP_GRACE)) for listener in self._servers]
        # Once the listeners have begun to refuse: whoever hears that its stream ended connects again at once.
        await asyncio.sleep(0)
        await self._streams.stop()
        await asyncio.gather(*closing)
        if self._runner is not None:
            self._runner.stop()
        for periodic in self._periodic:
            periodic.stop()
        self.metrics.close()
        self._pool.shutdown()
        log.info("hub_stopped")

    def _committed(self, service: str) -> Callable[[], None]:
        """A watch shows of rounds only a member's task, and whom that concerns the rounds themselves tell."""
        if service == "FederationService":
            return _nobody
        return self._standing_changed if service in STANDING_SERVICES else self._changes.bump

    def _standing_changed(self) -> None:
        self._streams.wake()
        self._changes.bump()

    def _start_rounds(self) -> None:
        """What rounds ask of members wakes their watchers, on their own loop; what is left to do wakes the runner."""
        loop, services = asyncio.get_running_loop(), self._services

        def asked(members: Collection[MemberId]) -> None:
            loop.call_soon_threadsafe(self._changes.tell_tasks, members)

        self._runner = Runner(services.rounds, services.blobs.files, services.db)
        services.rounds.listen(asked=asked, ripe=self._runner.wake)
        self._changes.on_arrival(self._runner.wake)
        self._runner.start()

    def _targets(self) -> dict[str, object]:
        settings, services = self._settings, self._services
        return {
            "AuditService": AuditRpc(
                services.audit,
                WitnessService(alliance=settings.alliance_name, require_signed=services.membership.require_signed),
            ),
            "BlobService": BlobRpc(services.blobs),
            "ConsoleService": ConsoleRpc(self._approvals, services.operators, services.policies),
            "EnrolmentService": EnrolmentRpc(
                services.enrolment,
                services.agents,
                services.identities,
                ExplainService(
                    alliance=settings.alliance_name,
                    pki=services.pki,
                    membership=services.membership,
                    clock=self._clock,
                ),
                alliance=settings.alliance_name,
                hub_address=self.address,
                log_key=services.audit.public_key,
            ),
            "FederationService": FederationRpc(
                services.detectors, services.rounds, services.releases, services.blobs, self._clock
            ),
            "FingerprintService": FingerprintRpc(services.fingerprints),
            "KeyService": KeyRpc(services.keys, self._clock),
            "PkiService": PkiRpc(services.rotation),
            "MembershipService": MembershipRpc(
                services.membership,
                services.enrolment,
                services.admissions,
                alliance=settings.alliance_name,
                enrolment_address=self.enrolment_address,
                clock=self._clock,
                departed=services.fingerprints.departed,
                looks=looks_of(services),
            ),
        }

    def _write_addresses(self) -> None:
        """For clients on this machine when the system chose the ports."""
        written = self._home.addresses_file.with_suffix(".tmp")
        written.write_text(json.dumps({"hub": self.address, "enrolment": self.enrolment_address}))
        written.rename(self._home.addresses_file)

    def _housekeep(self) -> None:
        """What only grows loses what nobody asks for any more."""
        services, kept = self._services, dt.timedelta(days=self._settings.membership_certificate_record_days)
        with services.db.write() as tx:
            forget_old(tx, now=micros(self._clock()))
        with services.db.write() as tx:
            services.pki.forget_expired(tx, kept=kept)
        with services.db.write() as tx:
            services.blobs.expire(tx, in_use=services.rounds.uses)
        services.blobs.expire_parts()


def _nobody() -> None:
    """Whom to tell of a mutation that no watch shows."""


def _rates(settings: Settings) -> Rates:
    return Rates(
        calls=settings.limits_calls_per_second,
        enrolment_calls=settings.limits_enrolment_calls_per_second,
        streams=settings.limits_streams,
        bytes=settings.limits_megabytes_per_second * 1e6,
    )


async def _add_health(listener: grpc.aio.Server) -> None:
    servicer = HealthServicer()
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    add_HealthServicer_to_server(servicer, listener)


def _with_port(address: str, port: int) -> str:
    return f"{address.rpartition(':')[0]}:{port}"


async def serve(home: Home, settings: Settings, services: Services, *, ready: Callable[[Hub], None]) -> None:
    """Serves until SIGTERM or SIGINT."""
    hub = Hub(home, settings, services)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await hub.start()
    ready(hub)
    await stopping.wait()
    await hub.stop()
