"""The Merkle tree against the recursive definition of RFC 6962, and its proofs against tampering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alliance.errors import Corrupt, InvalidInput
from alliance.merkle import (
    EMPTY_ROOT,
    Frontier,
    Node,
    consistency_proof,
    covering,
    frontier_at,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
    verify_subtree_consistency,
)


def naive_root(entries: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word."""
    n = len(entries)
    if n == 0:
        return sha256(b"").digest()
    if n == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = 1
    while 2 * k < n:
        k *= 2
    return sha256(b"\x01" + naive_root(entries[:k]) + naive_root(entries[k:])).digest()


@dataclass
class Nodes:
    """Stored nodes of a tree, counting the reads."""

    hashes: dict[Node, bytes] = field(default_factory=dict)
    reads: list[int] = field(default_factory=list)

    def read(self, nodes: Sequence[Node]) -> Mapping[Node, bytes]:
        self.reads.append(len(nodes))
        return {node: self.hashes[node] for node in nodes if node in self.hashes}


def entries_of(size: int) -> list[bytes]:
    return [b"entry %d" % i for i in range(size)]


def grown(entries: Sequence[bytes]) -> tuple[Frontier, Nodes]:
    frontier, hashes = Frontier().append(map(leaf_hash, entries))
    return frontier, Nodes(hashes)


sizes = st.integers(1, 300)


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_root_is_that_of_the_recursive_definition(entries: list[bytes]) -> None:
    leaves = [leaf_hash(entry) for entry in entries]
    assert root_of(leaves) == naive_root(entries)
    assert Frontier().append(leaves)[0].root == naive_root(entries)


@given(st.lists(st.integers(0, 40), max_size=6))
def test_appending_in_parts_is_appending_at_once(parts: list[int]) -> None:
    leaves = [leaf_hash(entry) for entry in entries_of(sum(parts))]
    frontier, stored = Frontier(), dict[Node, bytes]()
    for part in parts:
        frontier, completed = frontier.append(leaves[frontier.size : frontier.size + part])
        assert not stored.keys() & completed.keys(), "a stored node would be overwritten"
        stored |= completed
    assert (frontier, stored) == Frontier().append(leaves)
    assert frontier == frontier_at(frontier.size, Nodes(stored).read)


@given(st.data(), sizes)
def test_inclusion_proofs_hold_for_every_earlier_size(data: st.DataObject, size: int) -> None:
    entries = entries_of(size)
    _, nodes = grown(entries)
    then = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, then - 1))
    proof = inclusion_proof(index, then, nodes.read)
    leaf = leaf_hash(entries[index])
    verify_inclusion(leaf=leaf, index=index, size=then, proof=proof, root=naive_root(entries[:then]))


@given(st.data(), sizes)
def test_consistency_proofs_hold_between_all_sizes(data: st.DataObject, size: int) -> None:
    entries = entries_of(size)
    frontier, nodes = grown(entries)
    old = data.draw(st.integers(1, size))
    proof = consistency_proof(old, size, nodes.read)
    verify_consistency(
        old_size=old, new_size=size, proof=proof, old_root=naive_root(entries[:old]), new_root=frontier.root
    )


@given(st.data(), sizes)
def test_a_changed_inclusion_proof_does_not_hold(data: st.DataObject, size: int) -> None:
    entries = entries_of(size)
    frontier, nodes = grown(entries)
    index = data.draw(st.integers(0, size - 1))
    proof = list(inclusion_proof(index, size, nodes.read))
    leaf = leaf_hash(entries[index])
    match data.draw(st.sampled_from(["leaf", "index", "hash", "order", "short", "long"])):
        case "leaf":
            leaf = leaf_hash(b"forged")
        case "index":
            index += data.draw(st.sampled_from([-1, 1, size]))
        case "hash" if proof:
            at = data.draw(st.integers(0, len(proof) - 1))
            proof[at] = sha256(proof[at]).digest()
        case "order" if len(proof) > 1:
            proof.reverse()
        case "short" if proof:
            proof.pop()
        case _:
            proof.append(leaf)
    with pytest.raises(Corrupt) as caught:
        verify_inclusion(leaf=leaf, index=index, size=size, proof=proof, root=frontier.root)
    assert caught.value.reason == "INCLUSION_UNPROVEN"


@given(st.data(), st.integers(2, 300))
def test_a_rewritten_past_is_not_consistent(data: st.DataObject, size: int) -> None:
    entries = entries_of(size)
    old = data.draw(st.integers(1, size - 1))
    old_root = naive_root(entries[:old])
    entries[data.draw(st.integers(0, old - 1))] = b"rewritten"
    frontier, nodes = grown(entries)
    proof = consistency_proof(old, size, nodes.read)
    with pytest.raises(Corrupt) as caught:
        verify_consistency(old_size=old, new_size=size, proof=proof, old_root=old_root, new_root=frontier.root)
    assert caught.value.reason == "CONSISTENCY_UNPROVEN"


def test_a_split_view_of_one_size_is_not_consistent() -> None:
    here, there = naive_root([b"a"]), naive_root([b"b"])
    with pytest.raises(Corrupt, match="two roots for the same 1 entries"):
        verify_consistency(old_size=1, new_size=1, proof=(), old_root=here, new_root=there)


def test_two_empty_trees_are_consistent_and_an_empty_one_proves_nothing_more() -> None:
    verify_consistency(old_size=0, new_size=0, proof=(), old_root=EMPTY_ROOT, new_root=EMPTY_ROOT)
    with pytest.raises(Corrupt, match="a tree of 0 proves nothing about one of 1"):
        verify_consistency(old_size=0, new_size=1, proof=(), old_root=EMPTY_ROOT, new_root=naive_root([b"a"]))


def test_the_entries_of_every_aligned_range_are_proven_by_its_root() -> None:
    """[8, 12) of 13 entries: the proof is the rest of the path, written down by hand."""
    entries = entries_of(13)
    proof = (leaf_hash(entries[12]), naive_root(entries[:8]))
    subtree, root = naive_root(entries[8:12]), naive_root(entries)
    verify_subtree_consistency(start=8, end=12, size=13, proof=proof, subtree_root=subtree, root=root)
    with pytest.raises(Corrupt, match=r"\[7, 11\) is no subtree"):
        verify_subtree_consistency(start=7, end=11, size=13, proof=proof, subtree_root=subtree, root=root)


def test_a_hash_of_another_length_is_refused() -> None:
    """The same 64 bytes split 31 + 33 would hash to the same root."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    root = naive_root([b"a", b"b"])
    joined = left + right
    verify_inclusion(leaf=left, index=0, size=2, proof=[right], root=root)
    with pytest.raises(Corrupt, match="not 32 bytes long"):
        verify_inclusion(leaf=joined[:31], index=0, size=2, proof=[joined[31:]], root=root)


def test_a_proof_reads_at_most_a_logarithm_of_nodes_in_one_call() -> None:
    size = 100_003
    _, nodes = grown(entries_of(size))
    nodes.reads.clear()
    inclusion_proof(77_777, size, nodes.read)
    consistency_proof(54_321, size, nodes.read)
    assert len(nodes.reads) == 2
    assert max(nodes.reads) <= 2 * size.bit_length()


def test_a_missing_node_is_a_corrupt_log() -> None:
    _, nodes = grown(entries_of(8))
    del nodes.hashes[Node(1, 1)]
    with pytest.raises(Corrupt, match="no hash at level 1, position 1") as caught:
        inclusion_proof(0, 8, nodes.read)
    assert caught.value.reason == "NODE_MISSING"


def test_a_frontier_with_peaks_of_another_size_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="a tree of 3 entries has 2 peaks, not 1"):
        Frontier(size=3, peaks=(leaf_hash(b"a"),))


@pytest.mark.parametrize(("index", "size"), [(-1, 4), (4, 4), (0, 0)])
def test_there_is_no_proof_of_an_entry_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(InvalidInput, match=f"no entry {index} in a tree of {size}"):
        inclusion_proof(index, size, Nodes().read)


@pytest.mark.parametrize(("old", "new"), [(0, 4), (5, 4), (-1, 4)])
def test_there_is_no_proof_between_sizes_that_do_not_grow(old: int, new: int) -> None:
    with pytest.raises(InvalidInput, match=f"nothing to prove between trees of {old} and {new}"):
        consistency_proof(old, new, Nodes().read)


def test_covering_tiles_from_the_largest_subtree_down() -> None:
    assert covering(0, 7) == [Node(2, 0), Node(1, 2), Node(0, 6)]
    assert covering(4, 7) == [Node(1, 2), Node(0, 6)]
    assert covering(5, 5) == []
