"""The hub never has a key: with its database, its keys, its blobs and all its traffic it opens no batch and no wrap.

The test plays the hub. It takes every run of 32 bytes in anything it holds for an epoch's secret, a batch's key or
a member's sealing key. That the attack works at all is shown by handing it the secret among everything else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from alliance import canonical, sealed_file
from alliance.names import MemberId
from alliance.v1 import fingerprint_pb2 as pb
from alliance.v1 import key_pb2
from hub.pki import custody
from member_agent.sharing import sealing
from member_agent.sharing.held_keys import GroupKey
from tests.kit.agents import AgentAlliance, alliance_of_agents, products
from tests.kit.canaries import Recorder
from tests.kit.keys import HPKE
from tests.kit.lying_hub import LyingHub

KEY = 32


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    yield from Recorder().recording()


class Hub:
    """All that the hub has, and what it can try with it."""

    def __init__(self, alliance: AgentAlliance, recorder: Recorder) -> None:
        self.alliance = alliance
        liar = LyingHub(alliance.hub)
        (entry,) = liar.entries(alliance.bank)
        self.batch: pb.BatchHeader = entry.batch
        self.sealed = liar.blob(entry.batch.digest).read_bytes()
        (epoch,) = liar.rows("SELECT * FROM key_epoch")
        self.commitment = bytes(epoch.commitment)
        created = [raw for name, raw in recorder.requests if name.endswith("CreateEpochRequest")]
        added = [raw for name, raw in recorder.requests if name.endswith("AddWrapsRequest")]
        self.wraps = [wrap for raw in created for wrap in key_pb2.CreateEpochRequest.FromString(raw).wraps]
        self.wraps += [wrap for raw in added for wrap in key_pb2.AddWrapsRequest.FromString(raw).wraps]
        self.loot = [*_columns(alliance.hub.home.database_file), *(raw for _, raw in recorder.requests), self.sealed]
        home = alliance.hub.home
        phrase = sealed_file.passphrase(home.passphrase_file(alliance.hub.settings), create=False)
        for file in sorted(home.path.rglob("*.key")):
            self.loot += [phrase, file.read_bytes(), *_private(custody.read(file, phrase))]
        for file in sorted(home.path.rglob("key.pem")):
            pem = file.read_bytes()
            self.loot += [pem, *_private(serialization.load_pem_private_key(pem, password=None))]

    def opens_batch(self, more: Iterable[bytes] = ()) -> bytes | None:
        """The rows, if any run of 32 bytes is an epoch's secret, or the batch's own key."""
        salt = self.sealed[len(sealing.MAGIC) :][: sealing.SALT]
        ciphertext = self.sealed[len(sealing.MAGIC) + sealing.SALT :]
        header, bank = self.batch, self.alliance.bank
        aad = canonical.batch_aad(bank, MemberId(header.publisher), header.scheme, header.epoch, header.row_count)
        for candidate in _runs([*self.loot, *more]):
            key = GroupKey(group=self.alliance.group, epoch=header.epoch, secret=candidate)
            for tried in (candidate, key.bank_key(bank, salt)):
                try:
                    return AESGCM(tried).decrypt(bytes(12), ciphertext, aad)
                except InvalidTag:
                    continue
        return None

    def finds_secret(self, more: Iterable[bytes] = ()) -> bytes | None:
        """The epoch's secret, known by its commitment, wherever it stands."""
        for candidate in _runs([*self.loot, *more]):
            if canonical.epoch_commitment(self.alliance.group, 1, candidate) == self.commitment:
                return candidate
        return None

    def opens_wrap(self, more: Iterable[bytes] = ()) -> bytes | None:
        """The secret in a wrap, if anything of 32 bytes that it holds is a member's sealing key."""
        whole = {piece for piece in [*self.loot, *more] if len(piece) == KEY}
        for wrap in self.wraps:
            info = canonical.wrap_info(self.alliance.group, wrap.epoch, MemberId(wrap.recipient))
            for candidate in whole:
                try:
                    return HPKE.decrypt(wrap.sealed, X25519PrivateKey.from_private_bytes(candidate), info=info)
                except (InvalidTag, ValueError):
                    continue
        return None


def _runs(pieces: Iterable[bytes]) -> set[bytes]:
    return {piece[at : at + KEY] for piece in pieces for at in range(len(piece) - KEY + 1)}


def _columns(database: Path) -> Iterator[bytes]:
    """Every value of every row of every table."""
    with sqlite3.connect(database) as opened:
        tables = [name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in opened.execute(f'SELECT * FROM "{table}"'):
                yield from (value if isinstance(value, bytes) else str(value).encode() for value in row)
    opened.close()


def _private(key: object) -> list[bytes]:
    """A private key as it stands in a file without a seal, and as the bare secret number."""
    form = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    if isinstance(key, Ed25519PrivateKey):
        return [key.private_bytes(*form), key.private_bytes_raw()]
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return [key.private_bytes(*form), key.private_numbers().private_value.to_bytes(KEY, "big")]


@pytest.fixture
def played(tmp_path: Path, recorder: Recorder) -> Iterator[Hub]:
    """The hub after a brand published and a marketplace synced."""
    with alliance_of_agents({"acme": "brand", "bigmart": "marketplace"}, folder=tmp_path) as two:
        two["acme"].import_csv(products(4))
        two["acme"].publish()
        two["bigmart"].sync()
        yield Hub(two, recorder)


def secret_of(hub: Hub) -> bytes:
    with hub.alliance["bigmart"].open() as agent:
        return agent.keyring.held(hub.alliance.group, 1).secret


def test_the_hub_opens_nothing_of_what_it_has(played: Hub) -> None:
    assert len(_runs(played.loot)) > 5000, "it has a lot to try"
    assert {wrap.recipient for wrap in played.wraps} == {"members/acme", "members/bigmart"}
    assert played.finds_secret() is None
    assert played.opens_batch() is None
    assert played.opens_wrap() is None
    # A member's agent opens the very same bytes.
    (held,) = played.alliance["bigmart"].contents()
    assert [batch.digest for batch in held.batches] == [played.batch.digest]
    assert held.batches[0].rows.brand_of(0) == "acme"


def test_the_attack_would_work_with_the_secret_anywhere_in_the_loot(played: Hub) -> None:
    """Positive control: hidden in the middle of other bytes, and each kind of key on its own."""
    secret = secret_of(played)
    assert played.finds_secret([b"before" + secret + b"after"]) == secret
    opened = played.opens_batch([b"before" + secret + b"after"])
    assert opened is not None
    assert b"acme" in opened
    with played.alliance["bigmart"].open() as agent:
        assert played.opens_wrap([agent.secrets.sealing_key]) == secret
