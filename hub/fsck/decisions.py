"""Models, releases and policies in the store against what the log says was decided."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from alliance.errors import AllianceError
from hub.federation.release import NOTHING, Release, ReleaseMode
from hub.fsck.checks import Finding, rows
from hub.fsck.decided import Decided, Leaf
from hub.policy import store as policies
from hub.policy.model import Revision, change_digest


def models(tx: Connection, said: Decided) -> Iterator[Finding]:
    """Every model that a round made; which of them is released, and which the next round begins from."""
    seen: set[tuple[str, int]] = set()
    for row in rows(tx, "detector_model"):
        seen.add((row.detector, row.version))
        listed = said.models.get(row.detector, [])
        leaf = listed[row.version] if row.version < len(listed) else None
        yield from _compare("detector_model", f"{row.detector} {row.version}", bytes(row.digest), leaf)
    for detector, listed in said.models.items():
        for version, leaf in enumerate(listed):
            if (detector, version) not in seen:
                key = f"{detector} {version}"
                yield Finding(table="detector_model", key=key, problem=f"is missing, leaf {leaf.number} says of it")
    for row in rows(tx, "detector"):
        try:
            stored = Release(
                mode=ReleaseMode(row.release_mode),
                newest=row.number,
                start=row.start_version,
                released=row.released_version,
            )
        except ValueError:
            stored = None
        release = said.releases.get(row.name, NOTHING)
        if stored != release:
            problem = f"its release is {_told(stored)}, leaf {said.last.get(row.name, 0)} says {_told(release)}"
            yield Finding(table="detector", key=row.name, problem=problem)
        listed = said.models.get(row.name, [])
        start = listed[release.start] if release.start < len(listed) else None
        yield from _compare("detector", row.name, bytes(row.model_digest), start)


def policy(tx: Connection, said: Decided) -> Iterator[Finding]:
    """Every revision, by what the log has of the step to it."""
    before: Revision | None = None
    seen: set[int] = set()
    for row in rows(tx, "policy"):
        seen.add(row.revision)
        try:
            found = policies.revision(row)
        except (ValueError, AllianceError):
            yield Finding(table="policy", key=str(row.revision), problem="cannot be read")
            before = None
            continue
        if before is not None and before.number + 1 == found.number:
            digest = change_digest(before.policy, found.policy)
            yield from _compare("policy", str(found.number), digest, said.policies.get(found.number))
        elif found.number:
            yield Finding(table="policy", key=str(found.number), problem="what it was changed from cannot be read")
        before = found
    for number, leaf in said.policies.items():
        if number not in seen:
            yield Finding(table="policy", key=str(number), problem=f"is missing, leaf {leaf.number} says it was made")


def _compare(table: str, key: str, found: bytes, leaf: Leaf | None) -> Iterator[Finding]:
    what = "change" if table == "policy" else "model"
    if leaf is None:
        yield Finding(table=table, key=key, problem="the log says nothing of it")
    elif found != leaf.digest:
        problem = f"its {what} is {found.hex()}, leaf {leaf.number} says {leaf.digest.hex()}"
        yield Finding(table=table, key=key, problem=problem)


def _told(release: Release | None) -> str:
    if release is None:
        return "unreadable"
    if release.released < 0:
        return "what no promotion can make"
    return f"{release.mode}, newest {release.newest}, next from {release.start}, released {release.released}"
