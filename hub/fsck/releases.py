"""Models, releases and policies in the store against what the log says was decided."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from hub.federation.release import NOTHING, Release, ReleaseMode
from hub.fsck.decided import Decided, Leaf
from hub.fsck.findings import Finding, rows
from hub.policy.model import change_digest
from hub.policy.service import history


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
    try:
        stored = history(tx)
    except ValueError as error:
        yield Finding(table="policy", key="", problem=f"cannot be read: {error}")
        return
    for before, after in zip([None, *stored], stored, strict=False):
        if after.number == 0:
            continue
        key = str(after.number)
        if before is None or before.number != after.number - 1:
            yield Finding(table="policy", key=key, problem="the revision before it is missing")
        else:
            digest = change_digest(before.policy, after.policy)
            yield from _compare("policy", key, digest, said.policies.get(after.number))
    for number in sorted(set(said.policies) - {one.number for one in stored}):
        problem = f"is missing, leaf {said.policies[number].number} says it was made"
        yield Finding(table="policy", key=str(number), problem=problem)


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
