"""The file: a plain tar whose last entry is a manifest with the size and SHA-256 of every other.

Promise: `unpack` writes nothing outside its folder and returns only if every entry the manifest names was there,
unchanged, and no other; a file that was cut off has no manifest. Nothing in it is executed or unpickled, and no
link, device or path of the archive's choosing is followed. Digests find damage; who could rewrite the manifest is
found by the digest of the manifest, which `pack` returns, and by the log's signature.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from alliance.errors import AlreadyExists, Corrupt, InvalidInput, Unavailable

FORMAT = "alliance-hub/backup/v1"
MANIFEST = "manifest.json"
_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,126}"
_NAME = re.compile(rf"(?:database/[a-z_]+\.jsonl|blobs/[0-9a-f]{{64}}|home(?:/{_PART}){{1,8}})")
_MANIFEST_BYTES = 1 << 28
_CHUNK = 1 << 20


class Packer:
    """Adds entries, and remembers what the manifest will say of them."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.entries: dict[str, dict[str, object]] = {}

    def add(self, name: str, size: int, source: IO[bytes]) -> str:
        """Copies `size` bytes and returns their SHA-256 in hexadecimal. Raises: InvalidInput, Unavailable."""
        if not _NAME.fullmatch(name) or name in self.entries:
            raise InvalidInput(f"{name!r} cannot stand in a backup", remedy="rename that file in the hub's home")
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o600
        hashed = _Hashed(source)
        try:
            self._tar.addfile(entry, hashed)
        except OSError as error:
            raise Unavailable(
                f"{name} cannot be copied: {error}", reason="BACKUP_FAILED", remedy="try again"
            ) from error
        digest = hashed.digest.hexdigest()
        self.entries[name] = {"size": size, "sha256": digest}
        return digest


class _Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source, self.digest = source, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.digest.update(data)
        return data


@contextmanager
def pack(file: Path, describe: Callable[[], dict[str, object]], told: Callable[[str], None]) -> Iterator[Packer]:
    """Yields a packer; in the end the manifest is written and the file gets its name. Raises: AlreadyExists.

    Args:
        describe: what the manifest says besides its entries, asked at the end.
        told: gets the manifest's SHA-256.
    """
    if file.exists():
        raise AlreadyExists(f"{file} exists", reason="FILE_EXISTS", field="--out", remedy="name a new file")
    partial = file.with_name(file.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
                packer = Packer(tar)
                yield packer
                manifest = {"format": FORMAT} | describe() | {"entries": packer.entries}
                data = json.dumps(manifest, indent=1, sort_keys=True).encode()
                entry = tarfile.TarInfo(MANIFEST)
                entry.size, entry.mode = len(data), 0o600
                tar.addfile(entry, io.BytesIO(data))
            out.flush()
            os.fsync(out.fileno())
        partial.rename(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    told(hashlib.sha256(data).hexdigest())


def unpack(file: Path, place: Callable[[str], Path], *, digest: str = "") -> dict[str, Any]:
    """Writes every entry where `place` says, and returns the manifest.

    Args:
        digest: what the manifest's SHA-256 must be, where it is known.

    Raises:
        Corrupt: BACKUP_INCOMPLETE or BACKUP_ALTERED, naming the entry; InvalidInput where it is no backup.
    """
    found: dict[str, dict[str, object]] = {}
    manifest: bytes | None = None
    try:
        with tarfile.open(file, mode="r:") as tar:
            for entry in tar:
                if manifest is not None:
                    raise _altered(entry.name, "stands behind the manifest")
                source = tar.extractfile(entry) if entry.isreg() else None
                if source is None:
                    raise _altered(entry.name, "is no plain file")
                if entry.name == MANIFEST and entry.size <= _MANIFEST_BYTES:
                    manifest = source.read()
                elif not _NAME.fullmatch(entry.name) or entry.name in found:
                    raise _altered(entry.name, "is nothing that a backup holds")
                else:
                    found[entry.name] = _write(place(entry.name), source)
    except (tarfile.TarError, EOFError) as error:
        raise Corrupt(
            f"the backup cannot be read to its end: {error}", reason="BACKUP_INCOMPLETE", remedy="use another copy"
        ) from error
    except OSError as error:
        raise Unavailable(f"{error.filename or file}: {error.strerror or error}", reason="BACKUP_UNREADABLE") from error
    if manifest is None:
        raise Corrupt("the backup ends before its manifest", reason="BACKUP_INCOMPLETE", remedy="use another copy")
    if digest and hashlib.sha256(manifest).hexdigest() != digest:
        raise _altered(MANIFEST, "has another digest than the one given")
    return _checked(manifest, found)


def _checked(manifest: bytes, found: dict[str, dict[str, object]]) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(manifest)
        entries: dict[str, dict[str, object]] = told["entries"]
        known = told["format"] == FORMAT
    except (ValueError, KeyError, TypeError) as error:
        raise _altered(MANIFEST, "cannot be read") from error
    if not known:
        raise InvalidInput(f"a backup of format {told['format']!r}", reason="BACKUP_FORMAT", remedy="use that version")
    for name in entries:
        if name not in found:
            raise Corrupt(f"{name} is missing in the backup", reason="BACKUP_INCOMPLETE", remedy="use another copy")
        if entries[name] != found[name]:
            raise _altered(name, "is not what was backed up")
    for name in found:
        if name not in entries:
            raise _altered(name, "is not in the manifest")
    return told


def _write(target: Path, source: IO[bytes]) -> dict[str, object]:
    """With modes of our choice: 0600 in folders of 0700."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest, size = hashlib.sha256(), 0
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return {"size": size, "sha256": digest.hexdigest()}


def _altered(name: str, what: str) -> Corrupt:
    return Corrupt(f"{name[:200]} {what}", reason="BACKUP_ALTERED", remedy="use another copy")
