"""The audit log as a folder for an outside auditor, the same from the hub and from a member.

Promise: what is written can be checked by `verify_log.py`, which lies in the folder and uses nothing of ours. The
folder appears whole or not at all.
"""

from __future__ import annotations

import json
import shutil
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from alliance.canonical import AuditEvent
from alliance.cosignature import witness_bytes
from alliance.errors import AlreadyExists
from alliance.names import MemberId

_README = """\
# An audit log, exported

- `leaves.jsonl`: every leaf in order; `data` is what is hashed, the rest is the same, readable.
- `checkpoint`: the newest head as the hub signed it (c2sp.org/tlog-checkpoint).
- `cosignatures.jsonl`: the newest head that each member stated it saw, a C2SP cosignature in the note, with the
  member's identity and its certificate of the witness key.
- `log-key`: the log's key. Compare it with one that a member has: `alliance-agent audit head --key`.
- `verify_log.py`: checks all of it with Python and the package `cryptography` alone.

    python verify_log.py . --key "$(cat log-key)"

It hashes the leaves (RFC 6962, SHA-256), compares the root with the checkpoint, verifies the log's signature and each
member's, and that each head a member saw is a head of these leaves. What it does not show: that the hub recorded
everything it did, and that a member whose statement is missing saw this log.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnessed:
    """A member's newest cosigned note, and what certifies its witness key."""

    member: str
    note: str
    witness_key: bytes
    certificate: bytes
    signing_key: bytes
    sealing_key: bytes


def write(folder: Path, *, leaves: Iterable[bytes], checkpoint: str, key: str, seen: Iterable[Witnessed]) -> int:
    """Writes the folder and returns the number of leaves. Raises: AlreadyExists."""
    if folder.exists():
        raise AlreadyExists(f"{folder} exists", reason="FOLDER_EXISTS", field="--out", remedy="name a new folder")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    count = 0
    with (partial / "leaves.jsonl").open("w", encoding="utf-8") as out:
        for count, data in enumerate(leaves, 1):
            out.write(json.dumps(_leaf(count - 1, data)) + "\n")
    (partial / "checkpoint").write_text(checkpoint, encoding="utf-8")
    (partial / "log-key").write_text(key + "\n", encoding="utf-8")
    alliance = key.partition("+")[0].rpartition("/")[0]
    # Who changed its identity since has a statement that the new one never certified: it will come anew.
    lines = [json.dumps(_witnessed(one)) + "\n" for one in seen if _is_certified(alliance, one)]
    (partial / "cosignatures.jsonl").write_text("".join(lines), encoding="utf-8")
    (partial / "README.md").write_text(_README, encoding="utf-8")
    shutil.copyfile(Path(__file__).with_name("verify_log.py"), partial / "verify_log.py")
    partial.rename(folder)
    return count


def _leaf(index: int, data: bytes) -> dict[str, object]:
    event = AuditEvent.from_bytes(data)
    return {
        "index": index,
        "event": event.event,
        "actor": event.actor,
        "subject": event.subject,
        "time": event.time,
        "digest": event.digest.hex(),
        "data": _text(data),
    }


def _is_certified(alliance: str, one: Witnessed) -> bool:
    signed = witness_bytes(alliance, MemberId(one.member), one.witness_key)
    try:
        key = serialization.load_der_public_key(one.signing_key)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(one.certificate, signed, ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature):
        return False
    return True


def _witnessed(one: Witnessed) -> dict[str, str]:
    return {
        "member": one.member,
        "note": one.note,
        "witness_key": _text(one.witness_key),
        "witness_certificate": _text(one.certificate),
        "signing_key": _text(one.signing_key),
        "sealing_key": _text(one.sealing_key),
    }


def _text(value: bytes) -> str:
    return b64encode(value).decode()
