"""`run`: keeps an agent connected, outbound only: keys, sync, outbox, certificate, whenever something changed.

One pass does everything there is to do; a watch stream says when to look again. Lost connections are tried
again after a jittered, growing pause, so that a restarted hub is not stormed.
"""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from alliance.errors import AllianceError, Corrupt, FailedPrecondition, NotAuthenticated, NotPermitted, Unavailable
from alliance.v1 import federation_pb2
from alliance.v1 import membership_pb2 as pb
from member_agent import channel_key, enrolment, recovery
from member_agent.app import Agent, open_agent
from member_agent.clock import Clock, utc_now
from member_agent.config import Home
from member_agent.evidence import ALARMS
from member_agent.hub_client import HubClient
from member_agent.locks import FileLock
from member_agent.training.tasks import TaskRunner
from member_agent.witness import MISSING_AFTER

log = structlog.get_logger()
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
# A certificate is renewed when two thirds of its life are over.
RENEW_AT = 2 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Pauses that double up to a minute, each drawn between half and all of it."""

    failures: int = 0

    def failed(self) -> Backoff:
        return Backoff(failures=self.failures + 1)

    def pause(self, draw: float) -> float:
        """Seconds; `draw` is 0 to 1."""
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self.failures, 16))
        return float(longest * (0.5 + draw / 2))


class Daemon:
    def __init__(self, home: Home, *, clock: Clock = utc_now) -> None:
        self._home = home
        self._clock = clock
        self._stop = threading.Event()
        self._backoff = Backoff()
        # Whether the hub said that the certificate has run out: its clock decides.
        self._expired = False

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Until `stop`.

        Raises: FailedPrecondition if another daemon runs, NotAuthenticated when expelled, Corrupt when the hub lies.
        """
        with FileLock(self._home.daemon_lock, wait=0):
            while not self._stop.is_set():
                try:
                    self._connected()
                except (Unavailable, NotPermitted, NotAuthenticated) as error:
                    self._expired = error.reason == "CERTIFICATE_EXPIRED"
                    if isinstance(error, NotAuthenticated) and not self._expired:
                        raise
                    self._backoff = self._backoff.failed()
                    pause = self._backoff.pause(random.random())  # noqa: S311  # because jitter is no secret
                    log.warning("hub_unreachable", reason=error.reason, message=error.message, retry_in=round(pause, 1))
                    self._stop.wait(pause)

    def _connected(self) -> None:
        with open_agent(self._home) as agent:
            if self._returned(agent):
                return
            try:
                self._serve(agent)
            except NotAuthenticated:
                if not enrolment.is_superseded(agent.home, agent.settings, agent.secrets):
                    raise
                log.info("certificate_superseded")

    def _serve(self, agent: Agent) -> None:
        """One connection's life: a pass at once, then one per hint or every `sync.seconds`."""
        with agent.connect() as hub:
            answer = hub.handshake()
            log.info("connected", hub=agent.settings.hub_address, version=answer.hub_version)
            _settle(agent)
            hints: queue.Queue[AllianceError | None] = queue.Queue()
            tasks: queue.Queue[federation_pb2.Task | None] = queue.Queue()
            threading.Thread(target=self._train, args=(agent, hub, tasks), daemon=True).start()
            threading.Thread(target=self._watch, args=(hub, hints, tasks), daemon=True).start()
            try:
                while not self._stop.is_set():
                    if self._retrusted(agent, hub) or self._renewed(agent, hub):
                        return
                    one_pass(agent, hub)
                    self._backoff = Backoff()
                    if (ended := self._next(hints, agent.settings.sync_seconds)) is not None:
                        raise ended
            finally:
                tasks.put(None)

    def _train(self, agent: Agent, hub: HubClient, tasks: queue.Queue[federation_pb2.Task | None]) -> None:
        """Answers tasks one after the other; one that could not be sent comes again with the next connection."""
        with agent.trainer() as trainer:
            runner = TaskRunner(
                agent.db, trainer, blends=agent.models.blends, keys=agent.feature_keys, parts=agent.home.parts
            )
            for task in iter(tasks.get, None):
                try:
                    runner.run(hub, task)
                except AllianceError as error:
                    log.warning("task_not_answered", round=task.round, reason=error.reason, message=error.message)

    def _watch(
        self,
        hub: HubClient,
        hints: queue.Queue[AllianceError | None],
        tasks: queue.Queue[federation_pb2.Task | None],
    ) -> None:
        """Turns the stream into hints and tasks; its end, whatever it was, is the last hint."""
        try:
            for answer in hub.stream(pb.WatchRequest(), pb.WatchResponse):
                kind = answer.WhichOneof("hint")
                if kind == "task":
                    tasks.put(answer.task)
                elif kind != "heartbeat" and hints.empty():
                    hints.put(None)
            hints.put(Unavailable("the watch ended", reason="WATCH_ENDED"))
        except AllianceError as error:
            known = isinstance(error, Unavailable | NotPermitted | NotAuthenticated)
            hints.put(error if known else Unavailable(f"the watch ended: {error.message}", reason="WATCH_ENDED"))

    def _next(self, hints: queue.Queue[AllianceError | None], seconds: float) -> AllianceError | None:
        """Waits for a hint or the time; hints that came together are one."""
        waited = 0.0
        while waited < seconds and not self._stop.is_set():
            try:
                hint = hints.get(timeout=0.25)
            except queue.Empty:
                waited += 0.25
                continue
            while hint is None and not hints.empty():
                hint = hints.get_nowait()
            return hint
        return None

    def _returned(self, agent: Agent) -> bool:
        """Comes back by the member identity where the certificate has run out, by either clock."""
        if not self._expired and self._clock() < enrolment.certificate(agent.secrets).not_valid_after_utc:
            return False
        recovery.come_back(agent.home, agent.settings, agent.secrets, agent.ledger)
        self._expired = False
        log.info("certificate_regained")
        return True

    def _retrusted(self, agent: Agent, hub: HubClient) -> bool:
        """Follows the hub's authorities; the connection is then made anew, with a certificate of the active one."""
        try:
            looked = agent.follow_authorities(hub)
        except Corrupt as error:
            if error.reason in ALARMS:
                raise
            log.error("step_failed", step="trust", reason=error.reason, message=error.message)
            return False
        if looked.changed:
            log.info("authorities_changed")
        if looked.renew:
            enrolment.renew(agent.home, agent.settings, agent.secrets, hub)
            log.info("certificate_renewed")
        return looked.changed or looked.renew

    def _renewed(self, agent: Agent, hub: HubClient) -> bool:
        """Renews a certificate in its last third; the connection is then made anew with it."""
        certificate = enrolment.certificate(agent.secrets)
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if self._clock() < start + (end - start) * RENEW_AT:
            return False
        enrolment.renew(agent.home, agent.settings, agent.secrets, hub)
        log.info("certificate_renewed")
        return True


def one_pass(agent: Agent, hub: HubClient) -> None:
    """Everything there is to do now, in the order that each step needs the one before."""
    steps: tuple[tuple[str, Callable[[], object]], ...] = (
        ("audit", lambda: agent.audit(hub)),
        ("witnesses", lambda: _witnesses(agent)),
        ("keys", lambda: _keys(agent, hub)),
        ("outbox", lambda: agent.send(hub)),
        ("sync", lambda: agent.synchroniser.run(hub)),
        ("models", lambda: agent.models.fetch(hub)),
    )
    for name, step in steps:
        try:
            step()
        except (Unavailable, NotPermitted, NotAuthenticated) as error:
            if error.reason != "NOT_ADMITTED":
                raise
            # Nothing else is for a member that waits; a hint comes when it is admitted and has a key to fetch.
            log.info("admission_awaited", remedy=error.remedy)
            return
        except AllianceError as error:
            if error.reason in ALARMS:
                raise
            log.error("step_failed", step=name, reason=error.reason, message=error.message)
            if name == "audit":
                # Nothing is taken or sent on the word of a log that could not be looked at.
                return


def _settle(agent: Agent) -> None:
    """The certificate has worked: its predecessors' keys leave the token."""
    try:
        gone = channel_key.settle(agent.home, agent.settings, agent.secrets)
    except AllianceError as error:
        log.warning("token_not_settled", reason=error.reason, message=error.message)
        return
    if gone:
        log.info("token_keys_destroyed", count=gone)


def _witnesses(agent: Agent) -> None:
    """Says that nobody else was heard of for a day: the hub may hold back what would show that it lies."""
    if agent.witnesses.missing():
        log.warning("witnesses_missing", hours=MISSING_AFTER.total_seconds() / 3600)


def _keys(agent: Agent, hub: HubClient) -> None:
    for group, key in agent.keyring.current_all(hub).items():
        if isinstance(key, FailedPrecondition):
            log.info("group_key_awaited", group=group)
