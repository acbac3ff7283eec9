"""The log holds what committed and nothing else; whatever is changed behind its back is found and named."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import ColumnElement, Connection, delete, insert, update

from alliance import checkpoint as notes
from alliance import merkle
from alliance.canonical import AuditEvent
from alliance.errors import Corrupt, FailedPrecondition, InvalidInput
from hub.app import Services
from hub.audit import store
from hub.audit.sequencer import Sequencer
from hub.runtime.metrics import Metrics
from tests.kit.direct import read, write

# What `init` logs.
BY_INIT = ["admission_policy:0", "operator_certified:admin"]


def record(services: Services, count: int, *, first: int = 0) -> None:
    with services.db.write() as tx:
        for n in range(first, first + count):
            services.audit.record(tx, event=f"event_{n}", actor="hub", subject="members/acme", digest=bytes([n % 256]))


def drain(services: Services) -> None:
    Sequencer(services.audit, services.db, Metrics()).drain()


def leaves(services: Services) -> list[bytes]:
    return [leaf.data for leaf in read(services, lambda tx: services.audit.leaves(tx, start=0, limit=10_000))]


@pytest.fixture
def log(services: Services) -> Services:
    """A log of 100 leaves in three batches; the first two leaves are those of `init`."""
    for first, count in ((0, 9), (9, 53), (62, 36)):
        record(services, count, first=first)
        drain(services)
    return services


def verify(services: Services) -> tuple[int, bytes, int]:
    return read(services, services.audit.verify)


# What goes in.


def test_a_leaf_is_logged_only_if_its_mutation_committed(services: Services) -> None:
    def fails(tx: Connection) -> None:
        services.audit.record(tx, event="never", actor="hub", subject="members/acme")
        raise InvalidInput("the mutation fails after its leaf was queued")

    with pytest.raises(InvalidInput):
        write(services, fails)
    record(services, 1)
    drain(services)
    assert [AuditEvent.from_bytes(data).event for data in leaves(services)] == [*BY_INIT, "event_0"]


def test_the_tree_is_that_of_its_leaves(log: Services) -> None:
    data = leaves(log)
    assert len(data) == 100
    assert verify(log) == (100, merkle.root_of([merkle.leaf_hash(leaf) for leaf in data]), 0)


def test_what_is_queued_is_counted_and_not_yet_in_the_tree(log: Services) -> None:
    record(log, 3, first=99)
    assert (verify(log)[0], verify(log)[2]) == (100, 3)
    drain(log)
    assert (verify(log)[0], verify(log)[2]) == (103, 0)


def test_the_checkpoint_is_signed_by_the_logs_key(log: Services) -> None:
    head = read(log, log.audit.head)
    key = notes.NoteKey(
        name="alliance.example/log", public_key=Ed25519PublicKey.from_public_bytes(log.audit.public_key)
    )
    opened = notes.open_note(head.note, origin="alliance.example/log", key=key)
    assert (opened.size, opened.root) == (head.size, head.root) == verify(log)[:2]


def test_proofs_hold_for_every_leaf_and_every_earlier_tree(log: Services) -> None:
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves(log)]
    for size in (1, 11, 64, 100):
        root = merkle.root_of(hashes[:size])
        for index in range(0, size, 7):
            proof = read(log, partial(log.audit.inclusion, index=index, size=size))
            merkle.verify_inclusion(leaf=hashes[index], index=index, size=size, proof=proof, root=root)
        proof = read(log, partial(log.audit.consistency, first=size, second=100))
        merkle.verify_consistency(
            old_size=size, new_size=100, proof=proof, old_root=root, new_root=merkle.root_of(hashes)
        )


def test_a_proof_costs_as_much_as_the_tree_is_high(services: Services) -> None:
    """Counted where it can hide: in the steps of SQLite's machine, not in the nodes that come back."""
    if services.db.url.get_backend_name() != "sqlite":
        pytest.skip("SQLite counts its steps; the hub asks PostgreSQL for the same keys")
    steps = []
    for size in (500, 8000):
        record(services, size - read(services, services.audit.size) - 1, first=0)
        drain(services)
        with services.db.read() as tx:
            size = services.audit.size(tx)
            steps.append(_steps(tx, lambda tx=tx, size=size: services.audit.inclusion(tx, index=123, size=size)))  # type: ignore[misc]  # because mypy cannot infer a bound default
            steps.append(_steps(tx, lambda tx=tx, size=size: services.audit.consistency(tx, first=123, second=size)))  # type: ignore[misc]  # because mypy cannot infer a bound default
    inclusion, consistency, larger_inclusion, larger_consistency = steps
    # 13 levels instead of 9; a scan would cost sixteen times as much.
    assert inclusion < larger_inclusion < 3 * inclusion
    assert consistency < larger_consistency < 3 * consistency


def _steps(tx: Connection, work: Callable[[], object]) -> int:
    """How many instructions of SQLite's virtual machine this takes."""
    raw = tx.connection.dbapi_connection
    assert raw is not None
    counted = 0

    def step() -> int:
        nonlocal counted
        counted += 1
        return 0

    raw.set_progress_handler(step, 1)
    try:
        work()
    finally:
        raw.set_progress_handler(None, 1)
    return counted


@pytest.mark.parametrize(("index", "size"), [(0, 101), (100, 100), (-1, 100), (5, 5), (0, 0)])
def test_no_proof_outside_the_log(index: int, size: int, log: Services) -> None:
    with pytest.raises(InvalidInput):
        read(log, lambda tx: log.audit.inclusion(tx, index=index, size=size))


@pytest.mark.parametrize(("first", "second"), [(0, 100), (50, 101), (60, 50), (-1, 5)])
def test_no_consistency_outside_the_log(first: int, second: int, log: Services) -> None:
    with pytest.raises(InvalidInput):
        read(log, lambda tx: log.audit.consistency(tx, first=first, second=second))


def test_an_empty_log_has_no_head(services: Services) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        read(services, services.audit.head)
    assert caught.value.reason == "LOG_EMPTY"
    assert verify(services) == (0, merkle.EMPTY_ROOT, len(BY_INIT))


def test_sequencers_at_once_make_one_tree(services: Services) -> None:
    """As two hub replicas do on PostgreSQL."""
    with ThreadPoolExecutor(6) as pool:
        writers = [pool.submit(record, services, 5, first=5 * n) for n in range(20)]
        sequencers = [pool.submit(drain, services) for _ in range(20)]
        for future in writers + sequencers:
            future.result()
    drain(services)
    assert verify(services)[0] == 102
    events = sorted(AuditEvent.from_bytes(data).event for data in leaves(services))
    assert events == sorted([f"event_{n}" for n in range(100)] + BY_INIT)


def test_the_gauge_tells_the_size_after_a_restart_too(log: Services) -> None:
    metrics = Metrics()
    Sequencer(log.audit, log.db, metrics)
    assert metrics.registry.get_sample_value("alliance_audit_leaves") == 100


def test_a_log_that_grows_while_it_is_verified_is_not_called_corrupt(log: Services) -> None:
    with log.db.read() as tx:
        assert log.audit.size(tx) == 100
        record(log, 30)
        drain(log)
        size, _, waiting = log.audit.verify(tx)
    assert (size, waiting) == (100, 0)
    assert verify(log)[0] == 130


# What is found.


def alter_leaf(tx: Connection) -> object:
    event = AuditEvent(event="forged", actor="hub", subject="members/acme", time=0)
    return tx.execute(update(store.leaf_table).where(store.leaf_table.c.leaf_index == 42).values(data=event.to_bytes()))


def spoil_leaf(tx: Connection) -> object:
    return tx.execute(update(store.leaf_table).where(store.leaf_table.c.leaf_index == 42).values(data=b"\xff"))


def delete_leaf(index: int) -> Callable[[Connection], object]:
    return lambda tx: tx.execute(delete(store.leaf_table).where(store.leaf_table.c.leaf_index == index))


def at_node(level: int, position: int) -> ColumnElement[bool]:
    return (store.node_table.c.level == level) & (store.node_table.c.position == position)


def alter_node(tx: Connection) -> object:
    return tx.execute(update(store.node_table).where(at_node(3, 5)).values(hash=bytes(32)))


def delete_node(tx: Connection) -> object:
    return tx.execute(delete(store.node_table).where(at_node(2, 4)))


def add_node(tx: Connection) -> object:
    return tx.execute(insert(store.node_table).values(level=9, position=7, hash=bytes(32)))


def newest(tx: Connection) -> ColumnElement[bool]:
    head = store.latest_checkpoint(tx)
    assert head is not None
    return store.checkpoint_table.c.size == head.size


def alter_root(tx: Connection) -> object:
    return tx.execute(update(store.checkpoint_table).where(newest(tx)).values(root=bytes(32)))


def alter_note(tx: Connection) -> object:
    head = store.latest_checkpoint(tx)
    assert head is not None
    forged = head.note.replace("\n100\n", "\n99\n")
    return tx.execute(update(store.checkpoint_table).where(newest(tx)).values(note=forged))


def delete_checkpoint(tx: Connection) -> object:
    return tx.execute(delete(store.checkpoint_table).where(newest(tx)))


def delete_checkpoints(tx: Connection) -> object:
    return tx.execute(delete(store.checkpoint_table))


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        pytest.param(alter_leaf, "leaf 42 is not what was logged", id="altered leaf"),
        pytest.param(spoil_leaf, "leaf 42 is not what was logged", id="unreadable leaf"),
        pytest.param(delete_leaf(42), "leaf 42 is missing", id="deleted leaf"),
        pytest.param(delete_leaf(0), "leaf 0 is missing", id="deleted first leaf"),
        pytest.param(delete_leaf(99), "leaf 99 is missing", id="deleted last leaf"),
        pytest.param(alter_node, "the node over leaves 40 to 47 is not what they give", id="altered node"),
        pytest.param(delete_node, "the node over leaves 16 to 19 is not what they give", id="deleted node"),
        pytest.param(add_node, "1 nodes are stored that no leaf explains", id="added node"),
        pytest.param(alter_root, "the checkpoint of 100 leaves is not of the 100 leaves", id="altered root"),
        pytest.param(alter_note, "the signature of alliance.example/log is not of this", id="altered note"),
        pytest.param(delete_checkpoint, "the checkpoint of 64 leaves is not of the 100", id="deleted checkpoint"),
        pytest.param(delete_checkpoints, "leaves without a checkpoint", id="no checkpoint"),
    ],
)
def test_what_was_changed_behind_the_logs_back_is_named(
    tamper: Callable[[Connection], object], named: str, log: Services
) -> None:
    write(log, tamper)
    with pytest.raises(Corrupt, match=named):
        verify(log)


def test_a_log_that_was_tampered_with_does_not_grow(log: Services) -> None:
    write(log, alter_root)
    record(log, 1)
    with pytest.raises(Corrupt) as caught:
        drain(log)
    assert caught.value.reason == "LOG_CORRUPT"
