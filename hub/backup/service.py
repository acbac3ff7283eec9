"""Backs a hub up while it serves, and makes a hub of the file.

A backup is of one moment: the database is read in one transaction, and the blobs it names were complete before; those
that a round may discard meanwhile are held.
Keys go in as they lie, sealed; the passphrase never does, and operators' kits, whose keys lie open, only when asked
for. A restored hub appears whole or not at all, and only where there was none.
"""

from __future__ import annotations

import datetime as dt
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alliance import checkpoint as notes
from alliance import settings as settings_format
from alliance.errors import AlreadyExists, Corrupt, FailedPrecondition
from alliance.names import Digest
from alliance.release import VERSION
from hub.audit import verification
from hub.backup import archive, rows
from hub.backup.archive import Packer
from hub.blobs.files import BlobFiles, Pins
from hub.blobs.service import removable
from hub.config import Home, Settings
from hub.fsck.examine import examine
from hub.migrations import current, migrate, newest, require_current
from hub.pki.service import first_authority
from hub.runtime.db import Database

Progress = Callable[[str], None]
# Of the home: the database and the blobs go their own way, the others are of one run or of no use elsewhere.
_NEVER = re.compile(r"hub\.db.*|hub\.lock|addresses\.json|blobs|.*\.partial|.*\.log")
KITS = "operator"
_TELL_EVERY = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """`digest` is the manifest's; `left_out` are files of the home that must be kept elsewhere."""

    digest: str
    log_size: int
    blobs: int
    left_out: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """`missing` are files that must be put into the home before it can serve."""

    log_size: int
    log_root: str
    blobs: int
    verified: bool
    missing: list[str]


def back_up(
    home: Home, settings: Settings, out: Path, *, key: notes.NoteKey, kits: bool, now: dt.datetime, progress: Progress
) -> Taken:
    """Raises: AlreadyExists, FailedPrecondition; Corrupt, where what is stored is not sound."""
    left_out = [] if kits else [KITS] if home.operator.exists() else []
    phrase = home.path / settings.keys_passphrase_file
    left_out += [str(settings.keys_passphrase_file)] if phrase.exists() else []
    db = Database(home.database_url(settings))
    facts: dict[str, object] = {
        "version": VERSION,
        "time": now.isoformat(),
        "alliance": settings.alliance_name,
        "log_key": str(key),
        "own_database": bool(settings.database_url),
    }
    digests: list[str] = []
    try:
        require_current(db)
        with archive.pack(out, lambda: facts, digests.append) as packer, BlobFiles(home.blobs).pinned() as pins:
            blobs = _database(db, packer, out.parent, key, facts, pins, progress)
            _blobs(pins, packer, blobs, progress)
            _files(home, packer, phrase, kits=kits)
    finally:
        db.close()
    size = int(str(facts["log_size"]))
    return Taken(digest=digests[0], log_size=size, blobs=len(blobs), left_out=left_out)


def _database(
    db: Database,
    packer: Packer,
    folder: Path,
    key: notes.NoteKey,
    facts: dict[str, object],
    pins: Pins,
    progress: Progress,
) -> list[tuple[bytes, int]]:
    """Every table as of one moment; returns the blobs it names, and their sizes."""
    counts: dict[str, int] = {}
    with db.read() as tx:
        for digest in removable(tx):
            pins.add(digest)
        # A log that does not hold is not backed up as if it did.
        size, root, _ = verification.verify(tx, key)
        facts |= {"revision": newest(), "log_size": size, "log_root": root.hex(), "rows": counts}
        found = rows.tables(tx)
        for number, table in enumerate(found, 1):
            progress(f"table {number}/{len(found)} {table.name}")
            with tempfile.TemporaryFile(dir=folder) as spool:
                counts[table.name] = rows.dump(tx, table, spool)
                length = spool.tell()
                spool.seek(0)
                packer.add(f"database/{table.name}.jsonl", length, spool)
        blob = next(table for table in found if table.name == "blob")
        return [(bytes(row.digest), int(row.size)) for row in tx.execute(blob.select().order_by(blob.c.digest))]


def _blobs(pins: Pins, packer: Packer, blobs: list[tuple[bytes, int]], progress: Progress) -> None:
    for number, (digest, size) in enumerate(blobs, 1):
        if number % _TELL_EVERY == 0 or number == len(blobs):
            progress(f"blob {number}/{len(blobs)}")
        try:
            with pins.path(Digest(digest)).open("rb") as file:
                found = packer.add(f"blobs/{digest.hex()}", size, file)
        except OSError as error:
            raise _rotten(digest, f"cannot be read: {error.strerror}") from error
        if found != digest.hex():
            raise _rotten(digest, "is not what was uploaded")


def _files(home: Home, packer: Packer, phrase: Path, *, kits: bool) -> None:
    for path in sorted(home.path.rglob("*")):
        relative = path.relative_to(home.path)
        if any(_NEVER.fullmatch(part) for part in relative.parts) or path == phrase:
            continue
        if path.is_file() and (kits or relative.parts[0] != KITS):
            with path.open("rb") as file:
                packer.add(f"home/{relative.as_posix()}", path.stat().st_size, file)


def restore(
    file: Path, home: Home, *, database_url: str | None, verify: bool, digest: str, progress: Progress
) -> Restored:
    """Makes a hub of a backup in a home that is not there yet.

    Args:
        database_url: another database than SQLite in the home; must be empty.
        verify: also recompute the log and hold everything stored against it.
        digest: the manifest's SHA-256, where it was noted.

    Raises: AlreadyExists, InvalidInput, FailedPrecondition; Corrupt, naming what is missing or altered.
    """
    if home.path.exists() and (not home.path.is_dir() or any(home.path.iterdir())):
        raise AlreadyExists(
            f"{home.path} is not empty", reason="HOME_EXISTS", remedy="choose another --home; nothing was changed"
        )
    partial = Home(path=home.path.with_name(home.path.name + ".partial"))
    shutil.rmtree(partial.path, ignore_errors=True)
    partial.path.mkdir(parents=True, mode=0o700)
    try:
        restored = _restore(file, partial, database_url, verify, digest, progress)
        if home.path.exists():
            home.path.rmdir()
        partial.path.rename(home.path)
    except BaseException:
        shutil.rmtree(partial.path, ignore_errors=True)
        raise
    return restored


def _restore(
    file: Path, home: Home, database_url: str | None, verify: bool, digest: str, progress: Progress
) -> Restored:
    files, dumped = BlobFiles(home.blobs), home.path / "database.partial"

    def place(name: str) -> Path:
        kind, _, rest = name.partition("/")
        if kind == "blobs":
            return files.path(Digest(bytes.fromhex(rest)))
        return dumped / rest if kind == "database" else home.path / rest

    progress("reading the backup")
    manifest = archive.unpack(file, place, digest=digest)
    settings = _settings(home, manifest, database_url)
    blobs = sum(1 for name in manifest["entries"] if name.startswith("blobs/"))
    with _database_of(home, settings) as db:
        _load(db, dumped, manifest, progress)
        shutil.rmtree(dumped)
        if verify:
            _verify(db, home, manifest, progress)
    missing = [name for name in (settings.keys_passphrase_file,) if not (home.path / name).exists()]
    if settings.keys_credential or settings.keys_keyring:
        missing = []
    return Restored(
        log_size=manifest["log_size"],
        log_root=manifest["log_root"],
        blobs=blobs,
        verified=verify,
        missing=[str(name) for name in missing],
    )


def _settings(home: Home, manifest: dict[str, Any], database_url: str | None) -> Settings:
    """The backup's, with its new database. Raises: FailedPrecondition, rather than write to the old one."""
    if manifest["own_database"] and database_url is None:
        raise FailedPrecondition(
            "the hub of this backup kept its data in a database of its own",
            reason="DATABASE_UNSAID",
            field="--database-url",
            remedy="name an empty one, or --database-url sqlite for a file in the new home",
        )
    settings, _ = home.load()
    if database_url is not None:
        settings = replace(settings, database_url="" if database_url == "sqlite" else database_url)
        home.settings_file.write_text(settings_format.to_toml(settings))
    return settings


@contextmanager
def _database_of(home: Home, settings: Settings) -> Iterator[Database]:
    """An empty database; what was made in it is taken back if the block fails. Raises: AlreadyExists."""
    db = Database(home.database_url(settings))
    try:
        with db.read() as tx:
            if rows.tables(tx):
                raise AlreadyExists(
                    "the database is not empty", reason="DATABASE_EXISTS", field="--database-url", remedy="empty it"
                )
        try:
            yield db
        except BaseException:
            with db.write() as tx:
                rows.drop_all(tx)
            raise
    finally:
        db.close()


def _load(db: Database, dumped: Path, manifest: dict[str, Any], progress: Progress) -> None:
    migrate(db, manifest["revision"])
    with db.write() as tx:
        found = rows.tables(tx)
        if {table.name for table in found} != set(manifest["rows"]):
            raise Corrupt(
                "the backup has other tables than the database at its revision",
                reason="BACKUP_ALTERED",
                remedy="use another copy",
            )
        for table in reversed(found):
            tx.execute(table.delete())
        for number, table in enumerate(found, 1):
            progress(f"table {number}/{len(found)} {table.name}")
            rows.load(tx, table, dumped / f"{table.name}.jsonl", count=manifest["rows"][table.name])
        rows.go_on_counting(tx, found)
    if current(db) != newest():
        migrate(db)


def _verify(db: Database, home: Home, manifest: dict[str, Any], progress: Progress) -> None:
    key = notes.NoteKey.parse(manifest["log_key"])
    result = examine(
        db,
        home.blobs,
        alliance=manifest["alliance"],
        first=first_authority(home.ca),
        key=key,
        progress=progress,
    )
    if result.findings:
        first = result.findings[0]
        raise Corrupt(
            f"{first.table} {first.key}: {first.problem} ({len(result.findings)} in all)",
            reason="BACKUP_CORRUPT",
            remedy="use another copy",
        )


def _rotten(digest: bytes, what: str) -> Corrupt:
    return Corrupt(f"blob {digest.hex()} {what}", reason="BLOB_CORRUPT", remedy='run "alliance-hub fsck"')
