"""The Merkle tree of the audit log (RFC 6962 section 2.1, RFC 9162 section 2.1): pure, no store, no clock.

Promise: hub and members compute the same root, and a proof that does not hold raises `Corrupt`; nothing
here returns "invalid". A tree is never held: what grows it is a `Frontier` of O(log n) hashes, what proves
from it reads O(log n) stored nodes through one call of a `NodeReader`.

Words: a *node* is a complete subtree, `Node(level, position)` covering the leaves
[position << level, (position + 1) << level); level 0 is the leaf hashes. A complete subtree never changes
once its last leaf is in, so a store only inserts nodes. Hashes are 32 bytes of SHA-256; sizes count leaves.

Signed tree heads are in `alliance.checkpoint`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from alliance.errors import Corrupt, InvalidInput

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()

_EVIDENCE = "keep the proof and both tree heads as evidence and tell the operator of the log"


class Node(NamedTuple):
    """A complete subtree of 2**level leaves, the position-th of its level from the left."""

    level: int
    position: int


NodeReader = Callable[[Sequence[Node]], Mapping[Node, bytes]]
"""Reads the hashes of all the given nodes at once, so that a proof costs a store one query."""


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def root_of(leaf_hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes held in memory; `Frontier` computes the same from a stream."""
    if not leaf_hashes:
        return EMPTY_ROOT
    level = list(leaf_hashes)
    while len(level) > 1:
        # A last odd node moves up unhashed: RFC 6962 splits at the largest power of two below the size.
        odd = level[len(level) & ~1 :]
        level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)] + odd
    return level[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """The right edge of a tree of `size` leaves: the hashes of `covering(0, size)`, largest subtree first."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if len(self.peaks) != self.size.bit_count():
            raise Corrupt(
                f"a tree of {self.size} entries has {self.size.bit_count()} peaks, not {len(self.peaks)}",
                remedy="load the frontier from the stored nodes again",
            )

    @property
    def root(self) -> bytes:
        return _fold(self.peaks) if self.peaks else EMPTY_ROOT

    def append(self, leaf_hashes: Iterable[bytes]) -> tuple[Frontier, dict[Node, bytes]]:
        """The frontier after these leaves, and the nodes they completed (leaves included), to be stored."""
        completed: dict[Node, bytes] = {}
        peaks, size = list(self.peaks), self.size
        for leaf in leaf_hashes:
            node, value = Node(0, size), leaf
            completed[node] = value
            while size >> node.level & 1:  # the left sibling is complete and is the last peak
                value = node_hash(peaks.pop(), value)
                node = Node(node.level + 1, node.position >> 1)
                completed[node] = value
            peaks.append(value)
            size += 1
        return Frontier(size=size, peaks=tuple(peaks)), completed


def covering(start: int, end: int) -> list[Node]:
    """The largest complete subtrees that tile the leaves [start, end), left to right.

    `start` must be a multiple of the largest of them, as it is for every range a proof names.
    """
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append(Node(level, start >> level))
        start += 1 << level
    return nodes


def frontier_at(size: int, read: NodeReader) -> Frontier:
    """The frontier of the first `size` entries, from stored nodes."""
    return Frontier(size=size, peaks=tuple(_read(covering(0, size), read)))


def inclusion_proof(index: int, size: int, read: NodeReader) -> tuple[bytes, ...]:
    """The audit path of entry `index` in the tree of the first `size` entries (RFC 9162 2.1.3.1)."""
    if not 0 <= index < size:
        raise InvalidInput(f"no entry {index} in a tree of {size}", field="index", remedy="name an entry in it")
    ranges = []
    start, end = 0, size
    while end - start > 1:
        middle = _split(start, end)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return _hashes(ranges[::-1], read)


def consistency_proof(old_size: int, new_size: int, read: NodeReader) -> tuple[bytes, ...]:
    """The proof that the first `old_size` entries head the first `new_size` (RFC 9162 2.1.4.1)."""
    if not 0 < old_size <= new_size:
        raise InvalidInput(
            f"nothing to prove between trees of {old_size} and {new_size}",
            field="old_size",
            remedy="ask from a tree that has entries to one that is not smaller",
        )
    ranges = []
    start, end = 0, new_size
    while end != old_size:
        middle = _split(start, end)
        if old_size <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start > 0:  # otherwise the old tree is itself this subtree, and the verifier has its root
        ranges.append((start, end))
    return _hashes(ranges[::-1], read)


def verify_inclusion(
    *, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes, start: int = 0
) -> None:
    """Holds if `leaf` is the hash of entry `index` under `root` (RFC 9162 2.1.3.2).

    With `start`, the root is that of the subtree over the entries [start, size), as in Merkle Tree
    Certificates (draft-ietf-plants-merkle-tree-certs).

    Raises:
        Corrupt: INCLUSION_UNPROVEN.
    """
    if not _is_subtree(start, size) or not start <= index < size:
        raise _unproven("INCLUSION", f"there is no entry {index} in [{start}, {size})")
    _check_lengths("INCLUSION", (leaf, *proof))
    position, last = index - start, size - start - 1
    value = leaf
    for sibling in proof:
        if last == 0:
            raise _unproven("INCLUSION", "the path is too long")
        if position & 1 or position == last:
            value = node_hash(sibling, value)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise _unproven("INCLUSION", "the path is too short")
    if value != root:
        raise _unproven("INCLUSION", f"the path of entry {index} leads to another root")


def verify_consistency(
    *, old_size: int, new_size: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Holds if the tree of `old_size` entries is the beginning of that of `new_size` (RFC 9162 2.1.4.2).

    Every tree begins with the empty one, so from size 0 to a larger size there is no proof to check and none
    is accepted: a caller that holds nothing has nothing to compare.

    Raises:
        Corrupt: CONSISTENCY_UNPROVEN.
    """
    if old_size != new_size and not 0 < old_size < new_size:
        raise _unproven("CONSISTENCY", f"a tree of {old_size} proves nothing about one of {new_size}")
    if old_size == new_size and old_root != new_root:
        raise _unproven("CONSISTENCY", f"two roots for the same {new_size} entries")
    verify_subtree_consistency(start=0, end=old_size, size=new_size, proof=proof, subtree_root=old_root, root=new_root)


def verify_subtree_consistency(
    *, start: int, end: int, size: int, proof: Sequence[bytes], subtree_root: bytes, root: bytes
) -> None:
    """Holds if the entries [start, end) of the tree under `root` have the root `subtree_root`.

    An empty range holds for the empty root whatever the tree is. Source: the subtree consistency proofs of
    draft-ietf-plants-merkle-tree-certs, of which RFC 9162's are the case `start` = 0.

    Raises:
        Corrupt: CONSISTENCY_UNPROVEN.
    """
    if start == end <= size and subtree_root == EMPTY_ROOT and not proof:
        return
    if not _is_subtree(start, end) or end > size:
        raise _unproven("CONSISTENCY", f"[{start}, {end}) is no subtree of a tree of {size}")
    _check_lengths("CONSISTENCY", proof)
    first, last, tree_last = start, end - 1, size - 1
    # Climb to the largest complete subtree that ends where ours does: the proof begins there.
    while first != last and (last == tree_last or last & 1):
        first, last, tree_last = first >> 1, last >> 1, tree_last >> 1
    path: Iterator[bytes] = iter(proof)
    seed = subtree_root if first == last else next(path, None)
    if seed is None:
        raise _unproven("CONSISTENCY", "the proof is too short")
    small = large = seed
    for sibling in path:
        if tree_last == 0:
            raise _unproven("CONSISTENCY", "the proof is too long")
        if last & 1 or last == tree_last:
            if first < last:
                small = node_hash(sibling, small)
            large = node_hash(sibling, large)
            while not last & 1 and last:
                first, last, tree_last = first >> 1, last >> 1, tree_last >> 1
        else:
            large = node_hash(large, sibling)
        first, last, tree_last = first >> 1, last >> 1, tree_last >> 1
    if tree_last != 0:
        raise _unproven("CONSISTENCY", "the proof is too short")
    if small != subtree_root or large != root:
        raise _unproven("CONSISTENCY", f"the entries [{start}, {end}) are not what the tree of {size} holds")


def _check_lengths(what: str, hashes: Sequence[bytes]) -> None:
    """Refuses a hash of another length: with one, `node_hash` could see the same bytes in two pairs."""
    if any(len(value) != HASH_BYTES for value in hashes):
        raise _unproven(what, f"a hash is not {HASH_BYTES} bytes long")


def _is_subtree(start: int, end: int) -> bool:
    """Whether [start, end) begins at a multiple of the smallest power of two not below its length."""
    return 0 <= start < end and start % (1 << (end - start - 1).bit_length()) == 0


def _split(start: int, end: int) -> int:
    """Where RFC 6962 divides [start, end): after the largest power of two smaller than its length."""
    return start + (1 << ((end - start - 1).bit_length() - 1))


def _fold(peaks: Sequence[bytes]) -> bytes:
    value = peaks[-1]
    for peak in reversed(peaks[:-1]):
        value = node_hash(peak, value)
    return value


def _hashes(ranges: Sequence[tuple[int, int]], read: NodeReader) -> tuple[bytes, ...]:
    tilings = [covering(start, end) for start, end in ranges]
    values = iter(_read([node for tiling in tilings for node in tiling], read))
    return tuple(_fold([next(values) for _ in tiling]) for tiling in tilings)


def _read(nodes: Sequence[Node], read: NodeReader) -> list[bytes]:
    values = read(nodes)
    missing = [node for node in nodes if node not in values]
    if missing:
        raise Corrupt(
            f"the log has no hash at level {missing[0].level}, position {missing[0].position}",
            reason="NODE_MISSING",
            remedy='run "alliance-hub audit verify"',
        )
    return [values[node] for node in nodes]


def _unproven(what: str, why: str) -> Corrupt:
    return Corrupt(f"{what.lower()} is not proven: {why}", reason=f"{what}_UNPROVEN", remedy=_EVIDENCE)
