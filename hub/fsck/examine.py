"""Recomputes the log, then holds the store against it; reads one moment, changes nothing, may run beside a hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection

from alliance import checkpoint as notes
from alliance.errors import AllianceError
from alliance.names import Digest
from hub.audit import verification
from hub.blobs.files import CHUNK, BlobFiles
from hub.blobs.service import is_known
from hub.fsck import acts, authorities, certificates, checks, releases
from hub.fsck.findings import Finding
from hub.fsck.history import History
from hub.pki.model import Authority
from hub.runtime.db import Database

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """`size` and `root` are of the log as it was recomputed, 0 and empty where it does not hold."""

    size: int
    root: bytes
    findings: list[Finding]


def examine(
    db: Database, blobs: Path, *, alliance: str, first: Authority, key: notes.NoteKey, progress: Progress
) -> Result:
    """Everything there is to find, each with its table, its key and what the log says; `first` is the home's own
    authority."""
    size, root, findings = 0, b"", []
    with db.read() as tx:
        progress("log")
        try:
            size, root, _ = verification.verify(tx, key)
        except AllianceError as error:
            findings.append(Finding(table="audit_leaf", key="", problem=str(error.message)))
        try:
            history = History.of(verification.all_leaves(tx))
        except AllianceError as error:
            findings.append(Finding(table="audit_leaf", key="", problem=str(error.message)))
            return Result(size=size, root=root, findings=findings)
        for name, found in _steps(db, tx, history, blobs, alliance, first):
            progress(name)
            findings += found
    return Result(size=size, root=root, findings=findings)


def _steps(
    db: Database, tx: Connection, said: History, blobs: Path, alliance: str, first: Authority
) -> Iterator[tuple[str, Iterator[Finding]]]:
    files = BlobFiles(blobs)

    def read(digest: bytes) -> Iterator[bytes] | None:
        """None of what a hub beside has discarded since."""
        try:
            file = files.path(Digest(digest)).open("rb")
        except FileNotFoundError:
            with db.read() as now:
                if is_known(now, Digest(digest)):
                    raise
            return None
        return _chunks(file)

    yield "members", checks.members(tx, said)
    yield "operators", checks.operators(tx, said)
    yield "groups", checks.groups(tx, said)
    yield "identity changes", checks.identity_changes(tx, said, alliance)
    yield "admission policy", checks.admission_policy(tx, said)
    yield "admissions", checks.admissions(tx, said, alliance)
    yield "authorities", authorities.authorities(tx, said.authorities, (first.anchor, first.issuer))
    yield "agents", certificates.agents(tx, said.certificates)
    yield "certificates", certificates.certificates(tx, said.certificates)
    yield "actions", acts.actions(tx, said.acts)
    yield "keys", checks.epochs(tx, said)
    yield "banks", checks.banks(tx, said)
    yield "hits", acts.hits(tx, said.acts)
    yield "consents", acts.consents(tx, said.acts)
    yield "detectors", releases.models(tx, said.decided)
    yield "rounds", checks.federation(tx, said)
    yield "policy", releases.policy(tx, said.decided)
    yield "blobs", checks.blobs(tx, read)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk
