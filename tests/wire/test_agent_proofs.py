"""What a member shows of the log to others holds without our code, and only if nothing in it was changed."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from alliance import verify_log
from alliance.errors import AlreadyExists, Corrupt, FailedPrecondition, InvalidInput, NotFound
from alliance.merkle import Node
from member_agent import proofs
from member_agent.proofs import export_log
from tests.kit.agents import AgentAlliance, AgentHome, alliance_of_agents, products
from tests.kit.lying_hub import LyingHub


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentAlliance]:
    """Acme has published two batches, and both have seen the log since."""
    members = {"acme": "brand", "bigmart": "marketplace"}
    with alliance_of_agents(members, folder=tmp_path_factory.mktemp("proofs")) as a:
        for n in range(2):
            a["acme"].import_csv(products(5, first=10 * n), source=f"shop{n}")
            a["acme"].publish()
        for name in ("bigmart", "acme"):
            a[name].sync()
        yield a


def ledger(agent: AgentHome, message: str) -> list[Any]:
    with agent.open() as opened:
        return [entry for entry in opened.ledger.entries(last=10_000) if entry.message == message]


def documents(agent: AgentHome, named: str) -> list[dict[str, Any]]:
    with agent.connected() as (opened, hub):
        entry, leaves = proofs.find(opened.ledger, named)
        head = opened.log.update(hub)
        made = proofs.prove(opened.log, head, member=agent.member, payload=entry, leaves=leaves)
        return [json.loads(json.dumps(proof.document())) for proof in made]


def log_key(agent: AgentHome) -> str:
    with agent.open() as opened:
        return str(opened.log.key)


def exported(agent: AgentHome, folder: Path) -> Path:
    with agent.connected() as (opened, hub):
        head = opened.witnesses.exchange(hub)
        export_log(folder, opened.log, head, witnesses=opened.witnesses, directory=opened.directory, hub=hub)
    return folder


# Proofs.


def test_a_batch_is_proven_by_its_number_its_digest_and_what_it_holds(pair: AgentAlliance) -> None:
    acme = pair["acme"]
    first, second = ledger(acme, "PublishBatchRequest")
    [by_number] = documents(acme, str(first.id))
    assert by_number["payload"]["sha256"] == first.digest.hex()
    assert documents(acme, first.digest.hex()) == documents(acme, by_number["content"]) == [by_number]
    [other] = documents(acme, str(second.id))
    assert documents(acme, "last") == [other]
    assert other["leaf_index"] > by_number["leaf_index"]
    for document in (by_number, other):
        said = verify_log.check_proof(document, log_key(acme))
        assert f"{acme.member} batch_published:{pair.bank} {pair.bank}" in said


def test_keys_that_were_sealed_are_proven_too(pair: AgentAlliance) -> None:
    acme = pair["acme"]
    [epoch] = ledger(acme, "CreateEpochRequest")
    made = documents(acme, str(epoch.id))
    assert {one["event"] for one in made} == {"epoch_created", "key_wrapped"}
    for document in made:
        verify_log.check_proof(document, log_key(acme))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda d: d["proof"].append("00" * 32), id="longer path"),
        pytest.param(lambda d: d["proof"].pop(), id="shorter path"),
        pytest.param(lambda d: d.update(leaf_index=d["leaf_index"] + 1), id="another place"),
        pytest.param(lambda d: d.update(content="ab" * 32), id="another content"),
        pytest.param(lambda d: d.update(leaf=base64.b64encode(b"forged").decode()), id="another leaf"),
        pytest.param(lambda d: d.update(signed=base64.b64encode(b"forged").decode()), id="other signed bytes"),
        pytest.param(lambda d: d.update(checkpoint=d["checkpoint"].replace("log\n", "log\n1", 1)), id="another size"),
    ],
)
def test_a_proof_that_was_changed_holds_nothing(
    change: Callable[[dict[str, Any]], object], pair: AgentAlliance
) -> None:
    acme = pair["acme"]
    [document] = documents(acme, str(ledger(acme, "PublishBatchRequest")[0].id))
    change(document)
    with pytest.raises((verify_log.Wrong, ValueError)):
        verify_log.check_proof(document, log_key(acme))


def test_what_cannot_be_proven_is_said(pair: AgentAlliance) -> None:
    acme = pair["acme"]
    question = ledger(acme, "GetCheckpointRequest")[0]
    with pytest.raises(FailedPrecondition) as caught:
        documents(acme, str(question.id))
    assert caught.value.reason == "NOT_LOGGED"
    with pytest.raises(NotFound):
        documents(acme, "ab" * 32)
    with pytest.raises(InvalidInput):
        documents(acme, "batch")


def test_a_payload_that_the_hub_did_not_log_is_not_proven(pair: AgentAlliance) -> None:
    """The ledger holds what was sent, the log what was accepted: a batch that was refused is in one of them."""
    acme = pair["acme"]
    with acme.connected() as (agent, hub):
        entry, leaves = proofs.find(agent.ledger, str(ledger(acme, "PublishBatchRequest")[0].id))
        head = agent.log.update(hub)
        with pytest.raises(NotFound) as caught:
            proofs.prove(agent.log, head, member=pair["bigmart"].member, payload=entry, leaves=leaves)
    assert caught.value.reason == "LEAF_MISSING"


# Exports.


def test_an_export_is_checked_by_a_program_of_its_own(pair: AgentAlliance, tmp_path: Path) -> None:
    acme = pair["acme"]
    folder = exported(acme, tmp_path / "export")
    command = [sys.executable, "-I", str(folder / "verify_log.py"), str(folder), "--key", log_key(acme)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 members saw heads of this log" in done.stdout
    with pytest.raises(AlreadyExists):
        exported(acme, folder)


def _line(folder: Path, name: str, number: int, change: Callable[[dict[str, Any]], object]) -> None:
    lines = (folder / name).read_text().splitlines()
    row = json.loads(lines[number])
    change(row)
    lines[number] = json.dumps(row)
    (folder / name).write_text("\n".join(lines) + "\n")


def _drop_last(file: Path) -> None:
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))


def _other_leaf(row: dict[str, Any]) -> None:
    row.update(data=base64.b64encode(base64.b64decode(row["data"])[:-1] + b"!").decode())


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (
            lambda f: _line(f, "leaves.jsonl", 3, lambda row: row.update(subject="members/forged")),
            "leaf 3 does not say",
        ),
        (lambda f: _line(f, "leaves.jsonl", 3, _other_leaf), "leaf 3 does not say|do not give"),
        (
            lambda f: _drop_last(f / "leaves.jsonl"),
            "do not give",
        ),
        (lambda f: _line(f, "cosignatures.jsonl", 0, lambda r: r.update(member="members/none")), "not certified"),
        (
            lambda f: _line(
                f, "cosignatures.jsonl", 0, lambda r: r.update(sealing_key=base64.b64encode(bytes(32)).decode())
            ),
            "does not have this identity",
        ),
        (
            lambda f: (f / "checkpoint").write_text((f / "checkpoint").read_text().replace("log\n", "log\n1", 1)),
            "is not of this checkpoint",
        ),
    ],
    ids=["shown text", "leaf", "missing leaf", "witness", "identity", "size"],
)
def test_an_export_that_was_changed_says_where(
    spoil: Callable[[Path], object], why: str, pair: AgentAlliance, tmp_path: Path
) -> None:
    folder = exported(pair["acme"], tmp_path / "export")
    spoil(folder)
    with pytest.raises(verify_log.Wrong, match=why):
        verify_log.check_folder(folder, log_key(pair["acme"]))


# The member's own copy.


def test_an_update_reads_what_is_new_and_a_few_nodes(pair: AgentAlliance, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = pair["acme"]
    for n in range(60):
        LyingHub(pair.hub).log_event(event="group_created", subject=f"groups/grown-{n}")
    acme.sync()
    with acme.connected() as (agent, hub):
        read: list[int] = []
        original = agent.log.read_nodes

        def counted(wanted: Sequence[Node]) -> Mapping[Node, bytes]:
            read.append(len(wanted))
            return original(wanted)

        monkeypatch.setattr(agent.log, "read_nodes", counted)
        LyingHub(pair.hub).log_event(event="group_created", subject="groups/one-more")
        head = agent.log.update(hub)
        assert head.size > 60
        assert 0 < sum(read) <= head.size.bit_length()
        assert agent.log.recompute().root == head.root


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE audit_leaf SET subject = 'members/forged' WHERE leaf_index = 3", "leaf 3 is not what was logged"),
        ("UPDATE audit_node SET hash = zeroblob(32) WHERE level = 1 AND position = 1", "over leaves 2 to 3"),
        ("DELETE FROM audit_leaf WHERE leaf_index = 3", "leaf 3 is missing"),
        ("INSERT INTO audit_node VALUES (9, 7, zeroblob(32))", "1 nodes are stored that no leaf explains"),
    ],
)
def test_a_copy_that_went_bad_is_told_and_the_hub_is_not_accused(statement: str, why: str, tmp_path: Path) -> None:
    with alliance_of_agents({"acme": "brand"}, folder=tmp_path) as a:
        acme = a["acme"]
        acme.sync()
        with acme.open() as agent, agent.db.write() as tx:
            assert tx.execute(text(statement)).rowcount == 1
        with acme.open() as agent, pytest.raises(Corrupt, match=why) as caught:
            agent.log.recompute()
        assert caught.value.reason == "LOCAL_LOG_CORRUPT"


def test_no_proof_is_made_of_a_copy_that_went_bad(tmp_path: Path) -> None:
    """Rather none than one that holds nothing when another member checks it."""
    with alliance_of_agents({"acme": "brand"}, folder=tmp_path) as a:
        acme = a["acme"]
        acme.import_csv(products(5))
        acme.publish()
        for n in range(8):
            LyingHub(a.hub).log_event(event="group_created", subject=f"groups/later-{n}")
        [batch] = ledger(acme, "PublishBatchRequest")
        [document] = documents(acme, str(batch.id))
        beside = text("UPDATE audit_node SET hash = zeroblob(32) WHERE level = 1 AND position = :position")
        with acme.open() as agent, agent.db.write() as tx:
            assert tx.execute(beside, {"position": document["leaf_index"] >> 1 ^ 1}).rowcount == 1
        with pytest.raises(Corrupt):
            documents(acme, str(batch.id))


def test_nodes_that_are_lost_are_made_anew_from_the_leaves(tmp_path: Path) -> None:
    """As for an agent that comes from a version which kept leaves alone, without their times."""
    with alliance_of_agents({"acme": "brand"}, folder=tmp_path) as a:
        acme = a["acme"]
        acme.sync()
        with acme.open() as agent, agent.db.write() as tx:
            tx.execute(text("DELETE FROM audit_node"))
            tx.execute(text("UPDATE audit_leaf SET time = NULL"))
        acme.sync()
        with acme.connected() as (agent, hub):
            agent.log.complete(hub)
            agent.log.compare_leaves(hub)
            assert agent.log.recompute().size == len(list(agent.log.leaves()))


def test_an_old_leaf_that_changed_at_the_hub_is_found_when_asked_for(tmp_path: Path) -> None:
    with alliance_of_agents({"acme": "brand"}, folder=tmp_path) as a:
        acme = a["acme"]
        acme.sync()
        other = LyingHub(a.hub).rows("SELECT data FROM audit_leaf WHERE leaf_index = 4")[0].data
        LyingHub(a.hub).execute("UPDATE audit_leaf SET data = :data WHERE leaf_index = 2", data=other)
        with acme.connected() as (agent, hub), pytest.raises(Corrupt, match="another leaf 2") as caught:
            agent.log.compare_leaves(hub)
        assert caught.value.reason == "LOG_FORKED"
