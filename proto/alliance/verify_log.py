"""Checks an exported audit log, or one proof of inclusion, with nothing of the alliance's own code.

    python verify_log.py FOLDER [--key NAME+ID+KEY]
    python verify_log.py PROOF.json --key NAME+ID+KEY

It needs Python 3.9 and the package `cryptography`, and is short enough to be read before it is trusted. The key of
the log is the one thing to have from somewhere else than the export: every member has it since it joined
(`alliance-agent audit head --key`). Exit code 0 where everything holds, 1 with one line where something does not.
"""

import argparse
import base64
import hashlib
import json
import struct
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Wrong(Exception):
    """Something does not hold."""


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class Tree:
    """RFC 6962: grows leaf by leaf, and remembers the roots of the sizes it is asked for."""

    def __init__(self, wanted: set[int]) -> None:
        self.size, self.wanted = 0, wanted
        self.peaks: list[bytes] = []
        self.roots = {0: sha256(b"")}

    def add(self, leaf: bytes) -> None:
        value, size = sha256(b"\x00" + leaf), self.size
        while size & 1:
            value, size = sha256(b"\x01" + self.peaks.pop() + value), size >> 1
        self.peaks.append(value)
        self.size += 1
        if self.size in self.wanted:
            self.roots[self.size] = self.root()

    def root(self) -> bytes:
        value = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            value = sha256(b"\x01" + peak + value)
        return value


def inclusion_root(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes:
    """RFC 9162, 2.1.3.2: the root that this path leads to."""
    value, position, last = sha256(b"\x00" + leaf), index, size - 1
    for sibling in proof:
        if last == 0:
            raise Wrong("the path is too long")
        if position & 1 or position == last:
            value = sha256(b"\x01" + sibling + value)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            value = sha256(b"\x01" + value + sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise Wrong("the path is too short")
    return value


def open_note(note: str, vkey: str) -> tuple[int, bytes, bytes]:
    """The size, the root and what the key added; the key is NAME+ID+KEY, of type 1 (a log) or 4 (a witness)."""
    name, _, rest = vkey.partition("+")
    key = base64.b64decode(rest.partition("+")[2])
    key_id = sha256(name.encode() + b"\n" + key)[:4]
    text, _, lines = note.rpartition("\n\n")
    text += "\n"
    for line in lines.splitlines():
        if line.startswith(f"\u2014 {name} "):
            value = base64.b64decode(line.rpartition(" ")[2])
            if value[:4] == key_id:
                extra, signature = value[4:-64], value[-64:]
                signed = text.encode()
                if key[:1] == b"\x04":
                    signed = b"cosignature/v1\ntime %d\n" % int.from_bytes(extra, "big") + signed
                try:
                    Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature, signed)
                except InvalidSignature:
                    raise Wrong(f"the signature of {name} is not of this checkpoint") from None
                _, size, root = text.splitlines()
                return int(size), base64.b64decode(root), extra
    raise Wrong(f"no signature of {name}")


def encode(*parts: Any) -> bytes:
    """The alliance's canonical bytes: a type letter, a length of 64 bit and the bytes, for each part."""
    out = b""
    for part in parts:
        tag, raw = (b"s", part.encode()) if isinstance(part, str) else (b"b", part)
        out += tag + struct.pack(">Q", len(raw)) + raw
    return out


def decode(data: bytes) -> list[Any]:
    """The parts of canonical bytes, the label first."""
    parts: list[Any] = []
    at = 0
    while at < len(data):
        tag, (length,) = data[at : at + 1], struct.unpack_from(">Q", data, at + 1)
        raw = data[at + 9 : at + 9 + length]
        parts.append(raw.decode() if tag == b"s" else struct.unpack(">q", raw)[0] if tag == b"i" else raw)
        at += 9 + length
    return parts


def check_witness(said: dict[str, str], alliance: str, log_key: str) -> tuple[int, bytes]:
    """The head that a member saw: its identity certified the key, and the key signed it."""
    name = f"{alliance}/{said['member']}"
    key = base64.b64decode(said["witness_key"])
    tagged = b"\x04" + key
    key_id = sha256(name.encode() + b"\n" + tagged)[:4].hex()
    vkey = f"{name}+{key_id}+{base64.b64encode(tagged).decode()}"
    signing = serialization.load_der_public_key(base64.b64decode(said["signing_key"]))
    if not isinstance(signing, ec.EllipticCurvePublicKey):
        raise Wrong(f"the identity of {said['member']} is not P-256")
    certified = encode("alliance/v1/witness", alliance, said["member"], key)
    try:
        signing.verify(base64.b64decode(said["witness_certificate"]), certified, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise Wrong(f"the witness key of {said['member']} is not certified by its identity") from None
    size, root, _ = open_note(said["note"], log_key)
    open_note(said["note"], vkey)
    return size, root


def check_folder(folder: Path, log_key: str) -> str:
    note = (folder / "checkpoint").read_text(encoding="utf-8")
    size, root, _ = open_note(note, log_key)
    alliance = log_key.partition("+")[0].rpartition("/")[0]
    said = [json.loads(line) for line in (folder / "cosignatures.jsonl").read_text(encoding="utf-8").splitlines()]
    seen = [(one, *check_witness(one, alliance, log_key)) for one in said]
    tree = Tree({size} | {at for _, at, _ in seen})
    identities: set[tuple[str, bytes]] = set()
    with (folder / "leaves.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            leaf = json.loads(line)
            data = base64.b64decode(leaf["data"])
            _, event, actor, subject, time, digest = decode(data)
            shown = {"event": event, "actor": actor, "subject": subject, "time": time, "digest": digest.hex()}
            if leaf["index"] != tree.size or any(leaf[key] != value for key, value in shown.items()):
                raise Wrong(f"leaf {leaf['index']} does not say what stands beside it")
            identities.add((subject, digest))
            tree.add(data)
    if tree.size != size or tree.roots[size] != root:
        raise Wrong(f"{tree.size} leaves do not give the signed root of {size}")
    for one, at, of in seen:
        if tree.roots.get(at) != of:
            raise Wrong(f"{one['member']} saw another log: its head of {at} leaves is not in this one")
        keys = (base64.b64decode(one["signing_key"]), base64.b64decode(one["sealing_key"]))
        if (one["member"], sha256(encode("alliance/v1/identity", *keys))) not in identities:
            raise Wrong(f"the log does not have this identity of {one['member']}")
    return f"{size} leaves give the signed root {root.hex()}; {len(seen)} members saw heads of this log"


def check_proof(proof: dict[str, Any], log_key: str) -> str:
    size, root, _ = open_note(proof["checkpoint"], log_key)
    leaf = base64.b64decode(proof["leaf"])
    path = [bytes.fromhex(value) for value in proof["proof"]]
    if inclusion_root(leaf, int(proof["leaf_index"]), size, path) != root:
        raise Wrong("the path leads to another root than the signed one")
    _, event, actor, subject, _, digest = decode(leaf)
    if proof["signed"]:
        signed = base64.b64decode(proof["signed"])
        if sha256(signed) != digest:
            raise Wrong("the leaf is of other bytes than those in the proof")
        if proof["content"] and bytes.fromhex(proof["content"]) not in decode(signed):
            raise Wrong("the signed bytes do not name that content")
    elif bytes.fromhex(proof["content"]) != digest:
        raise Wrong("the leaf is of another content")
    return f"leaf {proof['leaf_index']} of {size}: {actor} {event} {subject} {digest.hex()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", type=Path, help="the folder of an export, or the file of a proof")
    parser.add_argument("--key", help="the log's key, from elsewhere: NAME+ID+KEY")
    args = parser.parse_args()
    try:
        if args.what.is_dir():
            if not args.key:
                print("note: the log's key is the one in the export; compare it with a member's", file=sys.stderr)
            print(check_folder(args.what, args.key or (args.what / "log-key").read_text().strip()))
        elif args.key:
            proofs = json.loads(args.what.read_text())
            for proof in proofs if isinstance(proofs, list) else [proofs]:
                print(check_proof(proof, args.key))
        else:
            parser.error("a proof is checked with --key")
    except (Wrong, ValueError, KeyError, OSError) as error:
        print(f"does not hold: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
