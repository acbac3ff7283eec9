"""This member's blends: models halfway between a shared one and its own, made where the shared one was judged.

A blend is as the member's rows taught it, so it never leaves: a file named by its digest, and a row that says of which
detector and which shared model it is. A round judges a model before it is released, so a blend is kept by the shared
model's digest and found once that is the release. The latest few of a detector stay, and those of models held here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, Integer, LargeBinary, String, Table, delete, select
from sqlalchemy.dialects.sqlite import insert

from alliance import canonical
from alliance.names import Digest
from member_agent.database import LocalDatabase
from member_agent.state import metadata

blend_table = Table(
    "training_blend",
    metadata,
    Column("detector", String, primary_key=True),
    # Digest of the shared model, as the hub names it.
    Column("shared", LargeBinary, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("time", Integer, nullable=False),
)
LATEST: Final = 3
_PARTIAL: Final = "partial"


class Blends:
    """Keeps and finds blends in `folder`."""

    def __init__(self, db: LocalDatabase, folder: Path) -> None:
        self._db, self._folder = db, folder

    def keep(self, detector: str, shared: Digest, data: bytes | memoryview, *, now: dt.datetime) -> None:
        """Takes one from the only process that makes any, the one that answers tasks.

        Args:
            data: the arrays as they travel (alliance.tensors). Not synced to disk: the next round brings another.
        """
        made = Digest(canonical.sha256(data))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self._folder / _PARTIAL
        partial.touch(mode=0o600)
        partial.write_bytes(data)
        values = {"digest": made, "time": int(now.timestamp())}
        statement = insert(blend_table).values(detector=detector, shared=shared, **values)
        with self._db.write(synced=False) as tx:
            tx.execute(statement.on_conflict_do_update(index_elements=["detector", "shared"], set_=values))
        # Named before it is there, or another process would remove it as nobody's.
        partial.rename(self.path(made))

    def path(self, digest: Digest) -> Path:
        """Where a blend's bytes are."""
        return self._folder / digest.hex()

    def find(self, tx: Connection, detector: str, shared: Digest) -> Digest | None:
        """The blend with this shared model, if it is here."""
        query = select(blend_table.c.digest).where(blend_table.c.detector == detector, blend_table.c.shared == shared)
        found = tx.execute(query).scalar()
        return Digest(found) if found is not None and self.path(Digest(found)).is_file() else None

    def forget(self, detector: str) -> None:
        """Drops all of a detector."""
        with self._db.write() as tx:
            tx.execute(delete(blend_table).where(blend_table.c.detector == detector))
        self._tidy()

    def tidy(self, held: Collection[Digest]) -> None:
        """Drops those that are neither among the latest of their detector nor of a shared model that is held."""
        with self._db.write() as tx:
            order = blend_table.c.time.desc(), blend_table.c.shared
            rows = tx.execute(select(blend_table.c.detector, blend_table.c.shared).order_by(*order)).all()
            seen: dict[str, int] = {}
            for detector, shared in rows:
                seen[detector] = seen.get(detector, 0) + 1
                if seen[detector] > LATEST and shared not in held:
                    this = blend_table.c.detector == detector, blend_table.c.shared == shared
                    tx.execute(delete(blend_table).where(*this))
        self._tidy()

    def _tidy(self) -> None:
        """Removes files that no row names; the one that is being written stays."""
        if not self._folder.is_dir():
            return
        with self._db.read() as tx:
            named = {bytes(row).hex() for row in tx.execute(select(blend_table.c.digest)).scalars()}
        for path in self._folder.iterdir():
            if path.name != _PARTIAL and path.name not in named:
                path.unlink(missing_ok=True)
