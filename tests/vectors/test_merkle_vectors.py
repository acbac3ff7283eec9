"""Merkle trees of others: the classic Certificate Transparency tree, and all cases of transparency-dev/merkle."""

from __future__ import annotations

import json
from base64 import b64decode
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from alliance.errors import Corrupt
from alliance.merkle import (
    Frontier,
    Node,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
    verify_subtree_consistency,
)
from bench import data

# The eight entries and the roots of sizes 1 to 8 that Certificate Transparency implementations share.
ENTRIES = [bytes.fromhex(h) for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")] + [
    bytes(range(0x60, 0x70))
]
ROOTS = [
    bytes.fromhex(h)
    for h in (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
_, NODES = Frontier().append(LEAVES)


def read(nodes: Any) -> dict[Node, bytes]:
    return {node: NODES[node] for node in nodes}


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_of_the_shared_tree(size: int) -> None:
    assert root_of(LEAVES[:size]) == ROOTS[size - 1]
    assert Frontier().append(LEAVES[:size])[0].root == ROOTS[size - 1]


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        (0, 1, []),
        (
            0,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    ],
)
def test_inclusion_proofs_of_the_shared_tree(index: int, size: int, path: list[str]) -> None:
    proof = inclusion_proof(index, size, read)
    assert [value.hex() for value in proof] == path
    verify_inclusion(leaf=LEAVES[index], index=index, size=size, proof=proof, root=ROOTS[size - 1])


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (1, 1, []),
        (
            6,
            8,
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            [
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_consistency_proofs_of_the_shared_tree(old: int, new: int, path: list[str]) -> None:
    proof = consistency_proof(old, new, read)
    assert [value.hex() for value in proof] == path
    verify_consistency(old_size=old, new_size=new, proof=proof, old_root=ROOTS[old - 1], new_root=ROOTS[new - 1])


def check(family: str, case: dict[str, Any]) -> None:
    proof = [b64decode(value) for value in case["proof"] or []]
    match family:
        case "inclusion" | "subtreeinclusion":
            verify_inclusion(
                leaf=b64decode(case["leafHash"] or ""),
                index=case["leafIdx"],
                start=case.get("start", 0),
                size=case["treeSize"] if family == "inclusion" else case["end"],
                proof=proof,
                root=b64decode(case["root"] or ""),
            )
        case "consistency":
            verify_consistency(
                old_size=case["size1"],
                new_size=case["size2"],
                proof=proof,
                old_root=b64decode(case["root1"] or ""),
                new_root=b64decode(case["root2"] or ""),
            )
        case "subtreeconsistency":
            verify_subtree_consistency(
                start=case["start"],
                end=case["end"],
                size=case["size"],
                proof=proof,
                subtree_root=b64decode(case["root1"] or ""),
                root=b64decode(case["root2"] or ""),
            )
        case _:
            raise AssertionError(f"an unknown family of cases: {family}")


def vectors() -> Path:
    folder = data.folder()
    if folder is None or not (folder / "merkle_rfc6962_vectors").is_dir():
        pytest.skip("no merkle_rfc6962_vectors: set ALLIANCE_DATA to the folder of real data")
    return folder / "merkle_rfc6962_vectors" / "testdata"


@pytest.mark.realdata
def test_every_case_of_transparency_dev() -> None:
    root = vectors()
    wrong: list[str] = []
    seen: Counter[str] = Counter()
    for path in sorted(root.rglob("*.json")):
        family = path.relative_to(root).parts[0]
        case = json.loads(path.read_text())
        seen[family] += 1
        try:
            check(family, case)
            held = True
        except Corrupt:
            held = False
        if held is case["wantErr"]:
            wrong.append(str(path.relative_to(root)))
    assert wrong == []
    assert seen == {"inclusion": 98, "consistency": 98, "subtreeinclusion": 204, "subtreeconsistency": 118}
