"""No word of any member's data reaches the hub: canaries in every column, every process real, every byte searched."""

from __future__ import annotations

import random
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from alliance.names import MemberId
from alliance.schemes import PDQ, TERMS
from member_agent.egress import CLOSED_LIST
from member_agent.ledger import LedgerEntry
from member_agent.sharing import sealing
from tests.kit.agents import AgentAlliance, AgentHome, alliance_of_agents, products
from tests.kit.canaries import Detector, Recorder, canary
from tests.kit.hub import RunningHub, running_hub
from tests.kit.watched_proxy import WatchedProxy

# Every column a source can map, and two that none does.
COLUMNS = (
    *("id", "title", "brand", "model", "mpn", "category", "condition", "url", "image", "image_link"),
    *("additional_image_link", "platform", "seller", "stock", "notes"),
)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    yield from Recorder().recording()


@pytest.fixture
def clear_of_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy", "NO_GRPC_PROXY"):
        monkeypatch.delenv(name, raising=False)


class Data:
    """One member's generated data, a canary in each place; `places` maps place to word."""

    def __init__(self, member: str, folder: Path) -> None:
        self.places: dict[str, str] = {}
        self.member = member
        # A price is a number, so its canary is one that nothing else has.
        self.price = f"{random.Random(member).randint(10**8, 10**9)}.75"
        self.places[f"{member} price"] = self.price
        self.folder = folder / self.word("folder")
        self.folder.mkdir(parents=True)

    def word(self, place: str) -> str:
        return self.places.setdefault(f"{self.member} {place}", canary(f"{self.member} {place}"))

    def rows(self, *, seed: int) -> list[dict[str, object]]:
        row: dict[str, object] = {column: f"{column} {self.word(column)}" for column in COLUMNS}
        links = {c: f"https://{self.word(c)}.example/{self.word(c)}.jpg" for c in COLUMNS if "link" in c or c == "url"}
        picture = f"{self.word('picture folder')}/{self.word('picture file')}.jpg"
        row |= links | {"title": self.title, "image": picture, "price": self.price, "gtin": "4006381333931"}
        _picture(self.folder / picture, seed=seed, description=self.word("EXIF"))
        return [row, *({**one, "price": self.price} for one in products(3))]

    @property
    def title(self) -> str:
        return f"red running shoe {self.word('title')} x100"


def _picture(path: Path, *, seed: int, description: str) -> None:
    """A generated picture with enough in it for a fingerprint, and words in its metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)
    picture = Image.new("RGB", (320, 320), "white")
    draw = ImageDraw.Draw(picture)
    for _ in range(60):
        x, y = chance.randrange(280), chance.randrange(280)
        colour = (chance.randrange(256), chance.randrange(256), chance.randrange(256))
        draw.rectangle((x, y, x + chance.randrange(10, 90), y + chance.randrange(10, 90)), fill=colour)
    exif = Image.Exif()
    for tag in (0x010E, 0x013B, 0x8298):  # ImageDescription, Artist, Copyright
        exif[tag] = description
    picture.save(path, exif=exif, comment=description.encode())


@pytest.mark.slow
@pytest.mark.usefixtures("clear_of_proxies")
def test_no_canary_leaves(tmp_path: Path, recorder: Recorder, capfd: pytest.CaptureFixture[str]) -> None:
    brand, market = Data("acme", tmp_path), Data("bigmart", tmp_path)
    market.places["bigmart copied title"] = brand.word("title")
    with running_hub(tmp_path) as hub, WatchedProxy() as proxy:
        acme, bigmart = (_joined(hub, data, proxy) for data in (brand, market))
        shop = AgentAlliance(hub=hub, folder=tmp_path, agents={}, group=hub.create_group("shoes"), banks=())
        hub.create_bank("titles", shop.group, scheme=TERMS.id)
        hub.create_bank("pictures", shop.group, scheme=PDQ.id)
        for home in (acme, bigmart):
            shop.add_to_group(home)

        catalogue = _written(brand, seed=1)
        source = brand.word("source")
        acme.run_cli("catalog", "import", catalogue, "--yes", "--source", source)
        published = [acme.json_of("publish", "--bank", bank) for bank in ("titles", "pictures")]
        assert [one["products"] for one in published] == [4, 1]
        bigmart.run_cli("sync")
        listings = _written(market, seed=1, title=brand.title)
        screened = bigmart.json_of("screen", listings, "--out", market.folder / f"{market.word('result')}.csv")
        assert (screened["matches"], screened["images"], screened["problems"]) == (4, 1, [])
        bigmart.run_cli("sync")
        assert "1_to_9" in [row["hits"] for row in acme.json_of("published", "--bank", "titles")]
        for options in (["--source", source, "--bank", "titles"], ["--all", "--bank", "pictures"]):
            assert acme.json_of("withdraw", *options)["withdrawn"] > 0
        bigmart.run_cli("sync")
        carried = bytes(proxy.seen)

    detector = Detector(brand.places | market.places)
    assert detector.found_in_files(brand.folder), "the data itself is full of them"
    assert detector.found_in_files(hub.home.path) == {}
    assert detector.found(recorder.bytes()) == set()
    assert detector.found(carried) == set()
    logged = "".join(capfd.readouterr())
    assert "hub_serving" in logged
    assert detector.found(logged.encode()) == set()

    # What was searched is what was sent: the hub saw each message that the ledgers name, and no other.
    assert len(carried) > len(recorder.bytes())
    told = sorted(entry.digest for home in (acme, bigmart) for entry in _ledger(home))
    of_agents = Recorder()
    of_agents.requests = [(name, raw) for name, raw in recorder.requests if name in CLOSED_LIST]
    assert sorted(of_agents.digests()) == told
    assert len(told) > 40


def _joined(hub: RunningHub, data: Data, proxy: WatchedProxy) -> AgentHome:
    home = AgentHome.at(MemberId(f"members/{data.member}"), data.folder)
    home.run_cli("join", "--proxy", proxy.url, text=hub.invite(data.member).encode())
    return home


def _written(data: Data, *, seed: int, title: str = "") -> Path:
    rows = data.rows(seed=seed)
    if title:
        rows[0]["title"] = title
    rows = [{key: row.get(key, "") for key in rows[0]} for row in rows]
    return AgentHome.at(MemberId(f"members/{data.member}"), data.folder).write_csv(rows, f"{data.word('file')}.csv")


def _ledger(home: AgentHome) -> list[LedgerEntry]:
    with home.open() as agent:
        return list(agent.ledger.entries(last=10_000))


# The detector itself.


@pytest.mark.parametrize(
    "spelling",
    [
        lambda word: word.encode(),
        lambda word: word.upper().encode(),
        lambda word: word.encode("utf-16-le"),
        lambda word: word.encode().hex().encode(),
        lambda word: word.upper().encode().hex().upper().encode(),
        *(lambda word, n=n: b64encode(b"abc"[:n] + word.encode() + b"xyz") for n in range(3)),
        *(lambda word, n=n: urlsafe_b64encode(b"abc"[:n] + word.upper().encode()) for n in range(3)),
    ],
)
def test_the_detector_reads_every_spelling(spelling: Callable[[str], bytes]) -> None:
    detector = Detector({"title": canary("one"), "seller": canary("two")})
    assert detector.found(b"\x07before" + spelling(canary("one")) + b"after\x00") == {"title"}
    assert detector.found(b"nothing of the kind" * 1000) == set()


def test_the_detector_finds_what_an_agent_sent_unsealed(
    tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positive control: the same flow with an agent that forgets to seal; the brand is in its rows."""
    word = canary("brand")
    monkeypatch.setattr(sealing, "seal", lambda plain, key, **header: sealing.MAGIC + bytes(32) + plain)
    with alliance_of_agents({"acme": "brand"}, folder=tmp_path) as one:
        one["acme"].import_csv(products(3, brand=word.capitalize()))
        one["acme"].publish()
        detector = Detector({"brand": word})
        assert detector.found(recorder.bytes()) == {"brand"}
        (blob,) = detector.found_in_files(one.hub.home.path)
        assert f"{one.hub.home.blobs}" in blob


def test_the_detector_finds_what_an_agent_was_let_send(
    tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positive control: a list that is not closed, and a message with a member's word in it."""
    word = canary("title")
    entry = CLOSED_LIST["alliance.v1.HandshakeRequest"]
    open_list = {**CLOSED_LIST, "alliance.v1.HandshakeRequest": type(entry)(kind="session", fields=_Anything())}
    monkeypatch.setattr("member_agent.egress.CLOSED_LIST", open_list)
    with alliance_of_agents({"acme": "brand"}, folder=tmp_path) as one, one["acme"].connected() as (_, hub):
        monkeypatch.setattr("alliance.release.VERSION", word)
        with pytest.raises(Exception, match="not a version"):
            hub.handshake()
        assert Detector({"title": word}).found(recorder.bytes()) == {"title"}


class _Anything(dict[str, Callable[[Any], bool]]):
    def get(self, key: str, default: object = None) -> Callable[[Any], bool]:
        return lambda value: True
