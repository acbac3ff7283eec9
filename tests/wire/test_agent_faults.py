"""What goes wrong between an honest agent and an honest hub, and what a hostile member can do to the others."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from alliance import channel
from alliance.errors import AllianceError, Corrupt, NotFound, NotPermitted, Unavailable
from alliance.names import Digest
from alliance.schemes import PDQ, TERMS
from alliance.v1 import blob_pb2, membership_pb2
from alliance.v1 import fingerprint_pb2 as pb
from member_agent import egress, outbox, transfer
from member_agent.clock import utc_now
from member_agent.outbox import State
from member_agent.sharing import making, rows
from member_agent.sharing.making import Made
from tests.kit.agents import AgentAlliance, alive, alliance_of_agents, products

SHOP = products(6)
BYTES = os.urandom(5 * (1 << 19))  # two chunks and a half
DIGEST = Digest(hashlib.sha256(BYTES).digest())


@pytest.fixture
def two(tmp_path: Path) -> Iterator[AgentAlliance]:
    banks = {"titles": TERMS.id, "pictures": PDQ.id}
    members = {"acme": "brand", "bigmart": "marketplace"}
    with alliance_of_agents(members, folder=tmp_path, banks=banks) as running:
        yield running


def interrupted(
    hub: Any, monkeypatch: pytest.MonkeyPatch, kind: type[object], failure: Callable[[], AllianceError], *, times: int
) -> None:
    """The hub does what it was asked, and the answer does not come back."""
    honest, left = hub.call, [times]

    def call(request: Any, response: Any, **options: Any) -> Any:
        answer = honest(request, response, **options)
        if isinstance(request, kind) and left[0]:
            left[0] -= 1
            raise failure()
        return answer

    monkeypatch.setattr(hub, "call", call)


@pytest.mark.parametrize(
    "failure",
    [
        lambda: Unavailable("socket closed"),
        lambda: AllianceError("stream removed", reason="UNKNOWN"),
        lambda: AllianceError("cancelled", reason="CANCELLED"),
    ],
)
def test_a_batch_whose_answer_was_lost_is_there_once(
    two: AgentAlliance, monkeypatch: pytest.MonkeyPatch, failure: Callable[[], AllianceError]
) -> None:
    acme = two["acme"]
    acme.import_csv(SHOP)
    acme.publish("titles", send=False)
    with acme.connected() as (agent, hub):
        interrupted(hub, monkeypatch, pb.PublishBatchRequest, failure, times=1)
        with pytest.raises(AllianceError):
            agent.outbox.drain(hub)
        assert (agent.outbox.count(State.WAITING), agent.outbox.count(State.FAILED)) == (1, 0)
    report, drained = acme.publish("titles")
    assert (report.rows, drained and drained.sent) == (0, 1)
    two["bigmart"].sync()
    (held,) = (one for one in two["bigmart"].contents() if one.state.id == "banks/titles")
    assert (len(held.batches), int(held.alive().sum())) == (1, 6)


def test_an_item_that_never_gets_a_clear_answer_is_given_up(
    two: AgentAlliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = two["acme"]
    acme.import_csv(SHOP)
    acme.publish("titles", send=False)
    with acme.connected() as (agent, hub):
        failure = lambda: AllianceError("internal error", reason="INTERNAL")  # noqa: E731  # because it is handed on once
        interrupted(hub, monkeypatch, pb.PublishBatchRequest, failure, times=100)
        for _ in range(outbox.MAX_UNCLEAR):
            with pytest.raises(AllianceError):
                agent.outbox.drain(hub)
        assert agent.outbox.drain(hub).failed == 1
        (failed,) = agent.outbox.items(State.FAILED)
        assert "[INTERNAL]" in failed.problem


def test_what_may_not_leave_does_not_even_wait(two: AgentAlliance) -> None:
    with two["acme"].open() as agent:
        with pytest.raises(NotPermitted), agent.db.write() as tx:
            outbox.put(tx, membership_pb2.CreateGroupRequest(name="groups/mine"), now=utc_now())
        assert agent.outbox.count(State.WAITING) == 0


def test_nothing_is_sent_past_the_list(two: AgentAlliance) -> None:
    with two["acme"].connected() as (agent, hub):
        before = list(agent.ledger.entries(last=1))
        with pytest.raises(NotPermitted) as error:
            hub.call(membership_pb2.CreateGroupRequest(name="groups/mine"), membership_pb2.CreateGroupResponse)
        assert error.value.reason == "EGRESS_REFUSED"
        assert list(agent.ledger.entries(last=1)) == before


def test_an_upload_goes_on_where_it_broke_off(two: AgentAlliance) -> None:
    with two["acme"].connected() as (agent, hub):
        header = blob_pb2.UploadHeader(digest=DIGEST, size=len(BYTES))
        first = [blob_pb2.UploadBlobRequest(header=header), blob_pb2.UploadBlobRequest(chunk=BYTES[: 1 << 20])]
        channel.stream_in(hub._channel, first, blob_pb2.UploadBlobRequest, blob_pb2.UploadBlobResponse)
        sent: list[int] = []
        blob = egress.permit_blob(BYTES)
        assert blob.digest == DIGEST
        transfer.upload(hub, blob, progress=sent.append)
        assert sum(sent) == len(BYTES) - (1 << 20)
        transfer.upload(hub, blob, progress=sent.append)
        assert sum(sent) == len(BYTES) - (1 << 20), "what is there is not sent again"
        (line,) = [entry for entry in agent.ledger.entries(last=100) if entry.message == "UploadBlobRequest"]
        assert (line.kind, line.size, line.digest) == ("sealed batch", sum(sent), DIGEST)
    assert two.hub.services.blobs.files.read_all(DIGEST) == BYTES


def test_a_download_goes_on_where_it_broke_off(two: AgentAlliance, tmp_path: Path) -> None:
    _publish_blob(two, BYTES)
    part = tmp_path / DIGEST.hex()
    with two["bigmart"].connected() as (_, hub):
        # Right bytes are not fetched again; wrong ones are noticed, dropped, and right the next time.
        for kept, good in ((BYTES[: 1 << 20], True), (BYTES, True), (bytes(1 << 20), False), (b"", True)):
            part.write_bytes(kept)
            if good:
                assert transfer.download(hub, DIGEST, tmp_path) == BYTES
            else:
                with pytest.raises(Corrupt) as error:
                    transfer.download(hub, DIGEST, tmp_path)
                assert error.value.reason == "DIGEST_MISMATCH"
            assert not part.exists()


def test_what_broke_off_is_kept_and_so_is_what_a_slow_download_has_brought(
    two: AgentAlliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish_blob(two, BYTES)
    part = tmp_path / DIGEST.hex()
    sizes: list[int] = []
    with two["bigmart"].connected() as (_, hub):
        download = hub.download

        def slow(request: blob_pb2.DownloadBlobRequest) -> Iterator[blob_pb2.DownloadBlobResponse | memoryview]:
            for answer in download(request):
                sizes.append(part.stat().st_size if part.exists() else 0)
                yield answer
                if len(sizes) == 3:
                    raise Unavailable("the connection broke", reason="BROKE")

        monkeypatch.setattr(hub, "download", slow)
        monkeypatch.setattr(transfer, "SAVED_EVERY", 0.0)
        with pytest.raises(Unavailable):
            transfer.download(hub, DIGEST, tmp_path)
        assert sizes == [0, 0, 1 << 20]
        assert part.read_bytes() == BYTES[: 2 << 20]
        assert transfer.download(hub, DIGEST, tmp_path) == BYTES
    assert not part.exists()


def test_the_latest_blob_is_not_fetched_twice_and_another_takes_its_place(two: AgentAlliance, tmp_path: Path) -> None:
    other = BYTES[::-1]
    wanted = Digest(hashlib.sha256(other).digest())
    for data in (BYTES, other):
        _publish_blob(two, data)
    with two["bigmart"].connected() as (agent, hub):
        latest = transfer.Latest(tmp_path)

        def fetched() -> int:
            return sum(entry.message == "DownloadBlobRequest" for entry in agent.ledger.entries(last=1000))

        for digest, data, times in ((DIGEST, BYTES, 1), (DIGEST, BYTES, 1), (wanted, other, 2), (DIGEST, BYTES, 3)):
            found = latest.get(hub, digest)
            assert (found == data, found.readonly, fetched()) == (True, True, times)
        with pytest.raises(NotFound):
            latest.get(hub, Digest(bytes(32)))
        assert latest.get(hub, DIGEST) == BYTES
        assert fetched() == 5, "what a download may have overwritten is not trusted"


def _publish_blob(alliance: AgentAlliance, data: bytes) -> None:
    services, digest = alliance.hub.services, Digest(hashlib.sha256(data).digest())
    with services.db.write() as tx:
        assert services.blobs.put(tx, data, alliance.group) == digest


# A member seals what the hub cannot look into: nobody else may be harmed by it.


def hostile_rows(change: Callable[[bytes], bytes]) -> Callable[..., bytes]:
    honest = rows.pack
    return lambda made, *, width: change(honest(made, width=width))


def other_width(made: Sequence[rows.Row], *, width: int) -> bytes:
    return HONEST_PACK([rows.Row(value=bytes(16)) for _ in made], width=16)


HONEST_PACK = rows.pack
HOSTILE: dict[str, Callable[..., bytes]] = {
    "no rows at all": lambda made, *, width: b"",
    "another width": other_width,
    "garbage values": lambda made, *, width: HONEST_PACK([rows.Row(value=b"\xff" * 40) for _ in made], width=0),
    "trailing bytes": hostile_rows(lambda plain: plain + b"\0"),
    "more rows than told": hostile_rows(lambda plain: plain[:8] + struct.pack("<I", 60_000) + plain[12:]),
    "fewer rows than told": lambda made, *, width: HONEST_PACK(made[:-1], width=width),
}


@pytest.mark.parametrize("hostility", HOSTILE)
def test_a_hostile_batch_of_titles_is_a_problem_and_not_an_end(
    two: AgentAlliance, monkeypatch: pytest.MonkeyPatch, hostility: str
) -> None:
    two["acme"].import_csv(SHOP)
    two["acme"].publish("titles")
    two["bigmart"].import_csv(products(3, first=100))
    monkeypatch.setattr(rows, "pack", HOSTILE[hostility])
    two["bigmart"].publish("titles")
    monkeypatch.undo()
    two["acme"].sync()
    found = two["acme"].screen([{"id": "copy", "title": SHOP[1]["title"]}])
    assert [(one.listing, one.publisher) for one in found] == [("copy", "members/acme")]
    if hostility != "garbage values":  # of those each row is a problem, when it is searched
        assert [len(one.problems) for one in two["acme"].contents() if one.state.scheme == TERMS.id] == [1]


@pytest.mark.parametrize("hostility", ["another width", "garbage values"])
def test_a_hostile_batch_of_pictures_is_a_problem_and_not_an_end(
    two: AgentAlliance, monkeypatch: pytest.MonkeyPatch, hostility: str
) -> None:
    def picture(products_: Any, labels: Any, decoder: Any) -> Iterator[Made]:
        for product in products_:
            yield Made(product=product, rows=(rows.Row(value=bytes(range(32))),), kinds=("base",))

    two["acme"].import_csv(SHOP[:2])
    two["bigmart"].import_csv(products(2, first=100))
    monkeypatch.setattr(making, "_images", picture)
    two["acme"].publish("pictures")
    monkeypatch.setattr(rows, "pack", HOSTILE[hostility])
    two["bigmart"].publish("pictures")
    monkeypatch.undo()
    two["acme"].sync()
    assert alive(two["acme"].contents()) == 2
    assert two["acme"].screen([{"id": "any", "title": "anything at all"}]) == []
    (held,) = (one for one in two["acme"].contents() if one.state.scheme == PDQ.id)
    assert len(held.problems) == 1
