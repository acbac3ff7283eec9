"""A hub in one file: taken while it serves, restored whole or not at all; what was altered or lost is named."""

from __future__ import annotations

import datetime as dt
import io
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import text

from alliance import canonical, tensors
from alliance import checkpoint as notes
from alliance.errors import AllianceError, AlreadyExists, Corrupt, FailedPrecondition
from alliance.names import Digest
from alliance.v1 import federation_pb2
from hub.backup.service import Restored, Taken, back_up, restore
from hub.config import Home
from hub.fsck.examine import Result, examine
from hub.pki.service import first_authority
from hub.runtime.db import Database
from tests.kit.agents import alliance_of_agents
from tests.kit.alliance import Alliance, alliance
from tests.kit.federation import Trainee, create_detector, ended, plus, spec, trigger
from tests.kit.hub import RunningHub, running_hub
from tests.kit.lying_hub import LyingHub
from tests.kit.waiting import eventually

NOW = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)


def log_key(hub: RunningHub) -> notes.NoteKey:
    public = Ed25519PublicKey.from_public_bytes(hub.services.audit.public_key)
    return notes.NoteKey(name=f"{hub.settings.alliance_name}/log", public_key=public)


def taken(hub: RunningHub, out: Path, *, kits: bool = False, progress: Callable[[str], None] = lambda _: None) -> Taken:
    return back_up(hub.home, hub.settings, out, key=log_key(hub), kits=kits, now=NOW, progress=progress)


def restored(file: Path, folder: Path, *, url: str | None = None, digest: str = "") -> Restored:
    """With everything verified; the passphrase is put in by hand, as an operator does."""
    return restore(
        file, Home(path=folder / "hub"), database_url=url, verify=True, digest=digest, progress=lambda _: None
    )


def put_passphrase(hub: RunningHub, folder: Path) -> None:
    shutil.copy(hub.home.path / hub.settings.keys_passphrase_file, folder / "hub")


def fsck(hub: RunningHub, *, progress: Callable[[str], None] = lambda _: None) -> Result:
    db = Database(hub.home.database_url(hub.settings))
    try:
        return examine(
            db,
            hub.home.blobs,
            alliance=hub.settings.alliance_name,
            first=first_authority(hub.home.ca),
            key=log_key(hub),
            progress=progress,
        )
    finally:
        db.close()


@pytest.fixture
def trained(tmp_path: Path, database_url: str) -> Iterator[Alliance]:
    """Three members, two batches, one of which was withdrawn in part, and a released round."""
    with alliance(members=3, folder=tmp_path / "first", url=database_url) as a:
        acme = a.members[0]
        acme.publish(a.bank, b"one", rows=3)
        acme.withdraw(acme.publish(a.bank, b"two", rows=3), [1])
        wanted = spec()
        detector = create_detector(a.hub, a.group, wanted, *a.members)
        for member in a.members:
            Trainee(member, wanted, plus(1.0))
        assert ended(a.hub, trigger(a.hub, detector).name).state == federation_pb2.ROUND_STATE_RELEASED
        yield a


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("UPDATE round SET result_digest = :v WHERE id = 1", "round"),
        ("UPDATE detector SET model_digest = :v", "detector"),
        ("UPDATE round_participant SET update_digest = :v WHERE member = 'members/member-1'", "round_participant"),
    ],
)
def test_what_was_altered_of_a_round_is_named(statement: str, table: str, trained: Alliance) -> None:
    assert fsck(trained.hub).findings == []
    LyingHub(trained.hub).execute(statement, v=bytes(32))
    [found] = fsck(trained.hub).findings
    assert (found.table, "says" in found.problem) == (table, True)


def test_a_hub_is_restored_and_goes_on(
    trained: Alliance, tmp_path: Path, request: pytest.FixtureRequest, database_url: str
) -> None:
    """On another database than before: from SQLite to PostgreSQL and back."""
    file = tmp_path / "hub.tar"
    took = taken(trained.hub, file, kits=True)
    assert file.stat().st_mode & 0o777 == 0o600
    before = trained.members[1].entries(trained.bank)
    try:
        url = "sqlite" if database_url else request.getfixturevalue("postgres_databases").create()
    except pytest.skip.Exception:
        url = "sqlite"
    made = restored(file, tmp_path / "second", url=url, digest=took.digest)
    assert (made.verified, made.blobs, made.log_size) == (True, took.blobs, took.log_size)
    assert made.missing == ["passphrase"]
    put_passphrase(trained.hub, tmp_path / "second")
    with running_hub(tmp_path / "second", url="" if url == "sqlite" else url) as hub:
        member = trained.members[1]
        member.reconnect(hub.address)
        assert member.entries(trained.bank) == before
        sealed = member.publish(trained.bank, b"after the restore", rows=2)
        assert len(member.entries(trained.bank)) == len(before) + 1
        assert member.download(sealed.header.digest) == sealed.data
        trained.members[0].reconnect(hub.address)
        assert ended(hub, trigger(hub, _detector(hub), seconds=1).name).number == 2
        assert fsck(hub).findings == []


def _detector(hub: RunningHub) -> str:
    answer = hub.admin.call(federation_pb2.ListDetectorsRequest(), federation_pb2.ListDetectorsResponse)
    return str(answer.detectors[0].name)


def test_a_backup_while_members_publish_is_of_one_moment(tmp_path: Path, database_url: str) -> None:
    with alliance(members=2, folder=tmp_path / "first", url=database_url) as a:
        stop, failed = threading.Event(), list[Exception]()

        def publish() -> None:
            n = 0
            try:
                while not stop.is_set():
                    a.members[0].publish(a.bank, b"batch %d" % n, rows=1)
                    n += 1
            except AllianceError as error:
                failed.append(error)

        writer = threading.Thread(target=publish)
        writer.start()
        try:
            for n in range(3):
                took = taken(a.hub, tmp_path / f"{n}.tar")
                made = restored(tmp_path / f"{n}.tar", tmp_path / f"restored-{n}", url="sqlite")
                assert made.log_size == took.log_size
        finally:
            stop.set()
            writer.join()
        assert failed == []
        assert len(a.members[1].entries(a.bank)) > 3


def test_what_a_round_discards_meanwhile_is_in_the_backup_and_no_finding(tmp_path: Path, database_url: str) -> None:
    with alliance(members=2, folder=tmp_path / "first", url=database_url) as a:
        hub, wanted = a.hub, spec()
        detector = create_detector(hub, a.group, wanted, *a.members)
        first, _ = [Trainee(member, wanted, None) for member in a.members]
        data = tensors.encode({"w": np.ones((2, 3), np.float32), "b": np.ones(2, np.float32)})
        file = hub.services.blobs.files.path(Digest(canonical.sha256(data)))

        def waiting() -> str:
            """A round that has one update and waits for the other."""
            name = trigger(hub, detector, quorum=2, seconds=60).name
            eventually(lambda: any(task.round == name for task in first.tasks), "the first member's task")
            assert first.submit_bytes(first.tasks[-1], data, 10).accepted
            return str(name)

        def cancelled(name: str, step: str) -> None:
            if step.startswith(("table 1/", "members")):
                hub.admin.call(federation_pb2.CancelRoundRequest(name=name), federation_pb2.CancelRoundResponse)
                assert not file.exists()

        taken(hub, tmp_path / "out.tar", progress=partial(cancelled, waiting()))
        assert list((hub.home.blobs / "parts").iterdir()) == []
        assert restored(tmp_path / "out.tar", tmp_path / "restored", url="sqlite").verified
        assert (tmp_path / "restored/hub/blobs/complete" / file.parent.name / file.name).read_bytes() == data
        assert fsck(hub, progress=partial(cancelled, waiting())).findings == []


def test_agents_go_on_with_a_restored_hub_unless_it_knows_less_than_they_do(tmp_path: Path) -> None:
    with alliance_of_agents({"acme": "brand", "bigmart": "marketplace"}, folder=tmp_path / "first") as a:
        acme, bigmart = a["acme"], a["bigmart"]
        for agent in (acme, bigmart):
            agent.sync()
        taken(a.hub, tmp_path / "hub.tar")
        restored(tmp_path / "hub.tar", tmp_path / "second")
        put_passphrase(a.hub, tmp_path / "second")
        # Bigmart sees one leaf more than was backed up; acme does not.
        LyingHub(a.hub).log_event(event="group_created", subject="groups/after-the-backup")
        bigmart.sync()
        with running_hub(tmp_path / "second") as hub:
            for agent in (acme, bigmart):
                agent.set("hub.address", hub.address)
            acme.sync()
            with pytest.raises(Corrupt, match="shrank") as caught:
                bigmart.sync()
            assert caught.value.reason == "LOG_FORKED"


# What is in the file, and what a damaged one does.


@dataclass(frozen=True, slots=True)
class Backup:
    file: Path
    took: Taken


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Backup:
    folder = tmp_path_factory.mktemp("backup")
    with alliance(members=2, folder=folder) as a:
        a.members[0].publish(a.bank, b"sealed bytes", rows=2)
        return Backup(folder / "hub.tar", taken(a.hub, folder / "hub.tar"))


Entry = tuple[tarfile.TarInfo, bytes]


def rewritten(backup: Backup, out: Path, change: Callable[[list[Entry]], object]) -> Path:
    """The same archive with other entries."""
    with tarfile.open(backup.file) as tar:
        entries = []
        for info in tar:
            source = tar.extractfile(info)
            entries.append((info, source.read() if source else b""))
    change(entries)
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return out


def at(entries: list[Entry], start: str) -> int:
    return next(n for n, (info, _) in enumerate(entries) if info.name.startswith(start))


def flip(start: str) -> Callable[[list[Entry]], object]:
    def change(entries: list[Entry]) -> None:
        n = at(entries, start)
        info, data = entries[n]
        entries[n] = (info, data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])

    return change


def put(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "") -> Callable[[list[Entry]], object]:
    def change(entries: list[Entry]) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        entries.insert(0, (info, b""))

    return change


def test_the_file_holds_neither_passphrase_nor_open_keys(backup: Backup) -> None:
    with tarfile.open(backup.file) as tar:
        names = tar.getnames()
    assert {"home/hub.toml", "home/ca/ca.pem", "home/ca/log.key", "manifest.json"} <= set(names)
    assert names[-1] == "manifest.json"
    assert not [name for name in names if "passphrase" in name or "operator/" in name or "hub.db" in name]
    assert backup.took.left_out == ["operator", "passphrase"]
    assert b"BEGIN PRIVATE KEY" not in backup.file.read_bytes()


@pytest.mark.parametrize(
    ("change", "reason", "named"),
    [
        (flip("blobs/"), "BACKUP_ALTERED", "blobs/"),
        (flip("home/ca/ca.pem"), "BACKUP_ALTERED", "home/ca/ca.pem"),
        (flip("database/audit_leaf"), "BACKUP_ALTERED", "database/audit_leaf.jsonl"),
        (lambda e: e.pop(at(e, "blobs/")), "BACKUP_INCOMPLETE", "blobs/"),
        (lambda e: e.pop(at(e, "database/member.")), "BACKUP_INCOMPLETE", "database/member.jsonl"),
        (lambda e: e.pop(), "BACKUP_INCOMPLETE", "manifest"),
        (lambda e: e.append(e[0]), "BACKUP_ALTERED", "behind the manifest"),
        (lambda e: e.insert(0, e[0]), "BACKUP_ALTERED", "nothing that a backup holds"),
        (put("blobs/" + "ab" * 32), "BACKUP_ALTERED", "not in the manifest"),
        (put("home/../../escaped"), "BACKUP_ALTERED", "nothing that a backup holds"),
        (put("/etc/escaped"), "BACKUP_ALTERED", "nothing that a backup holds"),
        (put("home/.hidden"), "BACKUP_ALTERED", "nothing that a backup holds"),
        (put("home/ca/link", kind=tarfile.SYMTYPE, link="/etc/passwd"), "BACKUP_ALTERED", "no plain file"),
        (put("home/ca/link", kind=tarfile.LNKTYPE, link="home/hub.toml"), "BACKUP_ALTERED", "no plain file"),
        (put("home/ca/pipe", kind=tarfile.FIFOTYPE), "BACKUP_ALTERED", "no plain file"),
    ],
)
def test_a_damaged_backup_is_refused_by_name_and_leaves_nothing(
    change: Callable[[list[Entry]], object], reason: str, named: str, backup: Backup, tmp_path: Path
) -> None:
    file = rewritten(backup, tmp_path / "other.tar", change)
    with pytest.raises(Corrupt, match=named) as caught:
        restored(file, tmp_path / "there")
    assert caught.value.reason == reason
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.tar", "there"]
    assert list((tmp_path / "there").iterdir()) == []


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_backup_that_was_cut_off_is_incomplete(part: float, backup: Backup, tmp_path: Path) -> None:
    data = backup.file.read_bytes().rstrip(b"\0")
    (tmp_path / "cut.tar").write_bytes(data[: int(len(data) * part)])
    with pytest.raises(Corrupt) as caught:
        restored(tmp_path / "cut.tar", tmp_path / "there")
    assert caught.value.reason == "BACKUP_INCOMPLETE"


def test_a_backup_that_agrees_with_itself_but_not_with_its_log_is_found_when_verified(tmp_path: Path) -> None:
    """Its digests are right: it was taken of a store that somebody had altered."""
    with alliance(members=2, folder=tmp_path / "first") as a:
        LyingHub(a.hub).execute("UPDATE member SET role = 'regulator' WHERE name = 'members/member-1'")
        taken(a.hub, tmp_path / "hub.tar")
    with pytest.raises(Corrupt, match="member members/member-1: its role is regulator") as caught:
        restored(tmp_path / "hub.tar", tmp_path / "second")
    assert caught.value.reason == "BACKUP_CORRUPT"
    assert list((tmp_path / "second").iterdir()) == []


def test_a_store_that_is_not_sound_is_not_backed_up(tmp_path: Path) -> None:
    with alliance(members=2, folder=tmp_path / "first") as a:
        sealed = a.members[0].publish(a.bank, b"sealed bytes")
        LyingHub(a.hub).blob(sealed.header.digest).write_bytes(b"x" * len(sealed.data))
        with pytest.raises(Corrupt, match=sealed.header.digest.hex()):
            taken(a.hub, tmp_path / "hub.tar")
        LyingHub(a.hub).execute("UPDATE audit_leaf SET data = zeroblob(3) WHERE leaf_index = 2")
        with pytest.raises(Corrupt, match="leaf 2"):
            taken(a.hub, tmp_path / "hub.tar")
    assert not list(tmp_path.glob("hub.tar*"))


def test_nothing_is_overwritten(backup: Backup, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "precious").touch()
    with pytest.raises(AlreadyExists):
        restored(backup.file, tmp_path)
    with alliance(members=1, folder=tmp_path / "first") as a, pytest.raises(AlreadyExists):
        taken(a.hub, backup.file)


def test_another_digest_than_the_noted_one_is_refused(backup: Backup, tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match=r"manifest\.json has another digest"):
        restored(backup.file, tmp_path, digest="ab" * 32)


@pytest.mark.postgres
def test_a_hub_on_a_database_of_its_own_is_not_restored_over_it(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    databases = request.getfixturevalue("postgres_databases")
    url = databases.create()
    with alliance(members=1, folder=tmp_path / "first", url=url) as a:
        taken(a.hub, tmp_path / "hub.tar")
    with pytest.raises(FailedPrecondition) as unsaid:
        restored(tmp_path / "hub.tar", tmp_path / "second")
    assert unsaid.value.reason == "DATABASE_UNSAID"
    with pytest.raises(AlreadyExists) as full:
        restored(tmp_path / "hub.tar", tmp_path / "second", url=url)
    assert full.value.reason == "DATABASE_EXISTS"
    db = Database(url)
    try:
        with db.read() as tx:
            assert tx.execute(text("SELECT count(*) FROM member")).scalar_one() == 1
    finally:
        db.close()
