"""The released models of detectors this member joined, kept here so that screening needs no hub.

A model is a file named by its digest, which is checked when it comes and again when it is read; the database says
which file is whose newest. Of each detector the model before the newest stays too, for a screening that has begun.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Integer, LargeBinary, Row, String, Table, delete, select
from sqlalchemy.dialects.sqlite import insert

from alliance.errors import AllianceError, FailedPrecondition
from alliance.names import Digest, digest
from alliance.v1 import federation_pb2 as pb
from member_agent import transfer
from member_agent.clock import Clock, utc_now
from member_agent.database import LocalDatabase
from member_agent.hub_client import HubClient
from member_agent.locks import FileLock
from member_agent.state import metadata
from member_agent.training import consents
from member_agent.training.blends import Blends
from member_agent.training.consents import Consent

model_table = Table(
    "training_model",
    metadata,
    Column("detector", String, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    # That of the model before it; empty for the first.
    Column("before", LargeBinary, nullable=False),
    Column("code", String, nullable=False),
    # JSON: what the detector's specification sets, by name.
    Column("settings", String, nullable=False),
    Column("time", Integer, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A released model as it is kept: whose, which, and what its code must be told to read it."""

    detector: str
    version: int
    digest: Digest
    code: str
    settings: Mapping[str, float]
    time: dt.datetime
    # This member's blend of it, if it judged the model in the round that made it.
    blend: Digest | None = None

    @property
    def asked(self) -> Digest:
        """The model that a screening asks: the blend, or without one the shared model."""
        return self.digest if self.blend is None else self.blend

    @property
    def label(self) -> str:
        """The version as results name it: "4-1f2e3d4c5b6a", of a blend "4-1f2e3d4c5b6a+9a8b7c6d5e4f"."""
        blend = "" if self.blend is None else f"+{self.blend.hex()[:12]}"
        return f"{self.version}-{self.digest.hex()[:12]}{blend}"


class ModelStore:
    """Fetches, keeps and finds models; several processes of the agent may share `folder`."""

    def __init__(self, db: LocalDatabase, folder: Path, *, clock: Clock = utc_now) -> None:
        self._db, self._folder, self._clock = db, folder, clock
        self.blends = Blends(db, folder / "blends")

    def held(self, *, as_released: bool = False) -> list[Held]:
        """What is released of each detector, by name, with this member's blends unless `as_released`."""
        with self._db.read() as tx:
            found = [_held(row) for row in tx.execute(select(model_table).order_by(model_table.c.detector))]
            if as_released:
                return found
            return [replace(one, blend=self.blends.find(tx, one.detector, one.digest)) for one in found]

    def consent(self, detector: str) -> Consent | None:
        """How this member trains it: the columns of its own file."""
        with self._db.read() as tx:
            return consents.find_consent(tx, detector)

    def wanted(self, detectors: Iterable[str], *, as_released: bool = False) -> list[Held]:
        """Those held of the detectors named. Raises: FailedPrecondition, saying how to get one."""
        held = {one.detector: one for one in self.held(as_released=as_released)}
        found = []
        for name in detectors:
            if name not in held:
                raise self._absent(name)
            found.append(held[name])
        return found

    def path(self, held: Held) -> Path:
        """Where the bytes of the model that is asked are."""
        return self._shared(held) if held.blend is None else self.blends.path(held.blend)

    def fetch(self, hub: HubClient) -> list[Held]:
        """Brings what is kept to what is released of the detectors joined here, an earlier version than is held too;
        gives those that came. What was withdrawn goes. Asks nothing where none is joined.

        Raises:
            AllianceError: the first that went wrong, once every other model was looked at.
        """
        with self._db.read() as tx:
            joined = {one.detector: one for one in consents.all_consents(tx)}
        if not joined:
            return []
        came: list[Held] = []
        problem: AllianceError | None = None
        with self._locked():
            for one in hub.pages(pb.ListDetectorsRequest(), pb.ListDetectorsResponse, lambda page: page.detectors):
                consent = joined.get(one.name)
                if consent is None or not one.joined or self._has(one):
                    continue
                if not one.model_version:
                    self._withdrawn(one.name)
                    continue
                try:
                    came.append(self._fetch(hub, one, consent))
                except AllianceError as error:
                    problem = problem or error
            self._tidy()
        if problem is not None:
            raise problem
        return came

    def forget(self, detector: str) -> None:
        """Drops a detector's model, its files too."""
        with self._locked():
            self._drop(detector)
            self._tidy()
        self.blends.forget(detector)

    def _withdrawn(self, detector: str) -> None:
        """Nothing is written for what was never held."""
        if any(one.detector == detector for one in self.held(as_released=True)):
            self._drop(detector)

    def _drop(self, detector: str) -> None:
        with self._db.write() as tx:
            tx.execute(delete(model_table).where(model_table.c.detector == detector))

    def _shared(self, held: Held) -> Path:
        return self._folder / held.digest.hex()

    def _locked(self) -> FileLock:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return FileLock(self._folder / "lock")

    def _has(self, one: pb.Detector) -> bool:
        held = next((held for held in self.held(as_released=True) if held.detector == one.name), None)
        if held is None:
            return False
        known = (held.version, held.digest) == (one.model_version, one.model_digest)
        return known and self._shared(held).is_file()

    def _fetch(self, hub: HubClient, one: pb.Detector, consent: Consent) -> Held:
        """Raises: Corrupt for bytes of another digest, AllianceError."""
        answer = hub.call(pb.GetModelRequest(detector=one.name), pb.GetModelResponse)
        found = Held(
            detector=one.name,
            version=answer.version,
            digest=digest(answer.digest),
            code=consent.code,
            settings={setting.name: setting.value for setting in one.spec.train_settings},
            time=self._clock().replace(microsecond=0),
        )
        # Parts of its own: a task may be fetching the same bytes at this moment.
        data = transfer.download(hub, found.digest, self._folder / "parts")
        partial = self._shared(found).with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(self._shared(found))
        with self._db.write() as tx:
            _save(tx, found)
        return found

    def _tidy(self) -> None:
        """Removes files that no row names any more."""
        with self._db.read() as tx:
            rows = tx.execute(select(model_table.c.digest, model_table.c.before)).all()
        named = {kept.hex() for row in rows for kept in row}
        for path in self._folder.iterdir():
            if path.is_file() and path.name != "lock" and path.name not in named:
                path.unlink()
        self.blends.tidy({Digest(kept) for row in rows for kept in row})

    def _absent(self, name: str) -> FailedPrecondition:
        if self.consent(name) is None:
            remedy = f'run "alliance-agent detector join {name.partition("/")[2]}" first'
        else:
            remedy = 'run "alliance-agent sync" once a round has released one; "alliance-agent round list" shows rounds'
        return FailedPrecondition(
            f"no model of {name} is held here", reason="MODEL_NOT_HELD", field="--model", remedy=remedy
        )


def _save(tx: Connection, held: Held) -> None:
    known = tx.execute(select(model_table.c.digest).where(model_table.c.detector == held.detector)).scalar()
    values = {
        "version": held.version,
        "digest": held.digest,
        "before": known or b"",
        "code": held.code,
        "settings": json.dumps(dict(held.settings), sort_keys=True),
        "time": int(held.time.timestamp()),
    }
    statement = insert(model_table).values(detector=held.detector, **values)
    tx.execute(statement.on_conflict_do_update(index_elements=["detector"], set_=values))


def _held(row: Row[Any]) -> Held:
    return Held(
        detector=row.detector,
        version=row.version,
        digest=Digest(row.digest),
        code=row.code,
        settings=json.loads(row.settings),
        time=dt.datetime.fromtimestamp(row.time, dt.UTC),
    )
