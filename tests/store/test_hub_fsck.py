"""Whatever is altered in the store behind the log's back is named: the table, the key, and what the log says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import text

from alliance import checkpoint as notes
from alliance.names import Digest, GroupId
from alliance.v1 import fingerprint_pb2
from hub.app import Services
from hub.audit.sequencer import Sequencer
from hub.fsck.examine import Result, examine
from hub.fsck.findings import Finding
from hub.keys.model import Epoch, Wrap
from hub.runtime.metrics import Metrics
from tests.kit.direct import ADMIN, Shoes, entries, write

ALLIANCE = "alliance.example"


class Scene:
    """Shoes with something of everything a leaf speaks of."""

    def __init__(self, services: Services) -> None:
        self.shoes = Shoes(services)
        self.services = services
        self.acme, self.zoo, self.bank = self.shoes.acme, self.shoes.zoo, self.shoes.bank
        self.first = self.acme.publish(self.bank, b"first", rows=3)
        self.second = self.acme.publish(self.bank, b"second", rows=3)
        self.acme.withdraw(self.first, [1])
        self._wrap(self.shoes.group)
        write(services, lambda tx: services.membership.suspend(tx, ADMIN, self.zoo.name, "under investigation"))
        Sequencer(services.audit, services.db, Metrics()).drain()
        # One leaf that still waits counts too.
        write(services, lambda tx: services.membership.reinstate(tx, ADMIN, self.zoo.name, "cleared"))

    def _wrap(self, group: GroupId) -> None:
        request, secret = self.acme.epoch_request(group, [], epoch=2)
        wrap = self.acme.wrap(self.zoo.name, self.zoo.identity.sealing_key, group, 2, secret)
        epoch = Epoch(
            group=group,
            number=2,
            commitment=request.commitment,
            creator=self.acme.name,
            signature=request.signature,
            create_time=0,
        )
        sealed = Wrap(
            group=group,
            epoch=2,
            recipient=self.zoo.name,
            sender=self.acme.name,
            commitment=request.commitment,
            sealed=wrap.sealed,
            signature=wrap.signature,
        )
        write(self.services, lambda tx: self.services.keys.create_epoch(tx, self.acme.caller, epoch, [sealed]))

    def examine(self) -> Result:
        key = Ed25519PublicKey.from_public_bytes(self.services.audit.public_key)
        blobs = self.blob(self.first.header.digest).parents[2]
        return examine(
            self.services.db,
            blobs,
            alliance=ALLIANCE,
            first=self.services.pki.initial[0],
            key=notes.NoteKey(name=f"{ALLIANCE}/log", public_key=key),
            progress=lambda _: None,
        )

    def blob(self, digest: bytes) -> Path:
        return self.services.blobs.files.path(Digest(digest))

    def alter(self, statement: str, **values: object) -> None:
        with self.services.db.write() as tx:
            assert tx.execute(text(statement), values).rowcount == 1

    def alter_entry(self, seq: int, change: Callable[[fingerprint_pb2.BankEntry], None]) -> None:
        entry = entries(self.services, self.bank)[seq - 1]
        change(entry)
        body = entry.SerializeToString(deterministic=True)
        self.alter("UPDATE bank_entry SET body = :body WHERE seq = :seq", body=body, seq=seq)


@pytest.fixture
def scene(services: Services) -> Scene:
    return Scene(services)


def test_a_store_that_nobody_touched_is_sound(scene: Scene) -> None:
    found = scene.examine()
    assert found.findings == []
    assert found.size > 10


def _raise_row_count(entry: fingerprint_pb2.BankEntry) -> None:
    entry.batch.row_count += 1


def _other_rows(entry: fingerprint_pb2.BankEntry) -> None:
    entry.tombstone.rows[:] = [2]


def _flip_signature(entry: fingerprint_pb2.BankEntry) -> None:
    entry.batch.signature = entry.batch.signature[:-1] + bytes([entry.batch.signature[-1] ^ 1])


def _flip_file(scene: Scene) -> None:
    file = scene.blob(scene.second.header.digest)
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def _cut_file(scene: Scene) -> None:
    file = scene.blob(scene.second.header.digest)
    file.write_bytes(file.read_bytes()[:-1])


SQL = "UPDATE {} SET {} WHERE {}"
FLIPPED = b"\x02" * 32
CASES: dict[str, tuple[Callable[[Scene], object], str, Callable[[Scene], str], str]] = {
    "identity of a member": (
        lambda s: s.alter(SQL.format("member", "sealing_key = :k", "name = 'members/acme'"), k=FLIPPED),
        "member",
        lambda s: "members/acme",
        "its identity is",
    ),
    "role of a member": (
        lambda s: s.alter(SQL.format("member", "role = 'regulator'", "name = 'members/acme'")),
        "member",
        lambda s: "members/acme",
        "its role is regulator, leaf",
    ),
    "standing of a member": (
        lambda s: s.alter(SQL.format("member", "standing = 'suspended'", "name = 'members/zoo'")),
        "member",
        lambda s: "members/zoo",
        "is suspended, leaf",
    ),
    "role of an operator": (
        lambda s: s.alter(SQL.format("operator", "role = 'viewer'", "name = 'operators/admin'")),
        "operator",
        lambda s: "operators/admin",
        "its role is viewer, leaf",
    ),
    "an operator nobody certified": (
        lambda s: s.alter("INSERT INTO operator (name, role) VALUES ('operators/ghost', 'admin')"),
        "operator",
        lambda s: "operators/ghost",
        "the log says nothing of it",
    ),
    "a member slipped into a group": (
        lambda s: s.alter("INSERT INTO sharing_group_member VALUES ('groups/shoes', 'members/outsider')"),
        "sharing_group_member",
        lambda s: "groups/shoes members/outsider",
        "the log says nothing of it",
    ),
    "a member taken out of a group": (
        lambda s: s.alter("DELETE FROM sharing_group_member WHERE member = 'members/zoo'"),
        "sharing_group_member",
        lambda s: "groups/shoes members/zoo",
        "is missing, leaf",
    ),
    "commitment of an epoch": (
        lambda s: s.alter(SQL.format("key_epoch", "commitment = :c", "epoch = 2"), c=FLIPPED),
        "key_epoch",
        lambda s: "groups/shoes 2",
        "its commitment is 0202",
    ),
    "creator of an epoch": (
        lambda s: s.alter(SQL.format("key_epoch", "creator = 'members/zoo'", "epoch = 2")),
        "key_epoch",
        lambda s: "groups/shoes 2",
        "is by members/zoo, leaf",
    ),
    "a sealed key": (
        lambda s: s.alter(SQL.format("key_wrap", "sealed = :c", "epoch = 2"), c=FLIPPED),
        "key_wrap",
        lambda s: "groups/shoes 2 members/zoo",
        "its sealed key is",
    ),
    "group of a bank": (
        lambda s: s.alter(
            "INSERT INTO bank (name, group_name, scheme, head_seq, head_digest, create_time) "
            "VALUES ('banks/ghost', 'groups/shoes', 'pdq-256', 0, :c, 0)",
            c=bytes(32),
        ),
        "bank",
        lambda s: "banks/ghost",
        "the log says nothing of it",
    ),
    "label that a bank may hold": (
        lambda s: s.alter(SQL.format("bank", "tlp = 4", "tlp = 3")),
        "bank",
        lambda s: "banks/shoes",
        "its audience is",
    ),
    "header of a batch": (
        lambda s: s.alter_entry(2, _raise_row_count),
        "bank_entry",
        lambda s: "banks/shoes 2",
        "its signed content is",
    ),
    "rows of a withdrawal": (
        lambda s: s.alter_entry(3, _other_rows),
        "bank_entry",
        lambda s: "banks/shoes 3",
        "its signed content is",
    ),
    "signature of a batch": (
        lambda s: s.alter_entry(2, _flip_signature),
        "bank_entry",
        lambda s: "banks/shoes 2",
        "its chain digest differs",
    ),
    "column beside a batch": (
        lambda s: s.alter(SQL.format("bank_entry", "row_count = 9", "seq = 2")),
        "bank_entry",
        lambda s: "banks/shoes 2",
        "its row_count is not what its body says",
    ),
    "an entry that is gone": (
        lambda s: s.alter("DELETE FROM bank_entry WHERE seq = 2"),
        "bank_entry",
        lambda s: "banks/shoes 2",
        "is missing, leaf",
    ),
    "the last entry that is gone": (
        lambda s: s.alter("DELETE FROM bank_entry WHERE seq = 3"),
        "bank_entry",
        lambda s: "banks/shoes 3",
        "is missing, leaf",
    ),
    "head of a bank": (
        lambda s: s.alter(SQL.format("bank", "head_digest = :c", "name = 'banks/shoes'"), c=FLIPPED),
        "bank",
        lambda s: "banks/shoes",
        "its head is not that of its entries",
    ),
    "bytes of a blob": (_flip_file, "blob", lambda s: s.second.header.digest.hex(), "its file has the digest"),
    "length of a blob": (_cut_file, "blob", lambda s: s.second.header.digest.hex(), "bytes, not"),
    "a blob that is gone": (
        lambda s: s.blob(s.second.header.digest).unlink(),
        "blob",
        lambda s: s.second.header.digest.hex(),
        "its file cannot be read",
    ),
    "a leaf": (
        lambda s: s.alter(
            SQL.format("audit_leaf", "data = (SELECT data FROM audit_leaf WHERE leaf_index = 5)", "leaf_index = 3")
        ),
        "audit_leaf",
        lambda s: "",
        "leaf 3 is not what was logged",
    ),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_what_was_altered_is_named(name: str, scene: Scene) -> None:
    alter, table, key, problem = CASES[name]
    alter(scene)
    found = scene.examine().findings
    named = [one for one in found if (one.table, one.key) == (table, key(scene)) and problem in one.problem]
    assert len(named) == 1, found
    assert all(_follows(one, table) for one in found), found


def _follows(one: Finding, table: str) -> bool:
    """What else is told is in the same table, or follows: a bank's head from its entries, all from a forged leaf."""
    return one.table in (table, "bank") or table == "audit_leaf"
