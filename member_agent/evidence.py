"""What is kept of a hub's lie: one file for each alarm, before the agent stops.

An alarm is a reason that no honest hub gives cause for. The file holds what was found, the head of the log that this
agent had verified with the last of its leaves, and the hub's own last answer to each kind of question, byte for
byte: enough for another member, or an outside auditor, to see it without this agent. Answers hold public keys,
signatures, names and sealed bytes, never a secret of this member.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from google.protobuf.message import Message

from alliance.errors import AllianceError

log = structlog.get_logger()
# The hub showed what only a lying hub shows: the agent stops, and keeps its home as evidence.
ALARMS = frozenset(
    {
        "ADMISSION_FORGED",
        "ADMISSION_MISSING",
        "ADMISSION_POLICY_CHANGED",
        "ANCHOR_FORGED",
        "AUDIENCE_CHANGED",
        "CHECKPOINT_FORGED",
        "COMMITMENT_MISMATCH",
        "EPOCH_ROLLED_BACK",
        "GROUP_FORGED",
        "GROUP_MISMATCH",
        "IDENTITY_CHANGED",
        "LOG_FORKED",
    }
)
# Files of one kind: a hub that lies again and again, to an agent that is started again and again, fills no disk.
MOST_FILES = 100
# An answer that is larger is kept up to here; what tells of a lie is far smaller.
_ANSWER_BYTES = 1 << 20
_FORMAT = "alliance-agent/evidence/v1"


class Transcript:
    """The hub's last answer to each kind of question, as it came; any thread may add to it."""

    def __init__(self) -> None:
        self._answers: dict[str, Message] = {}

    def heard(self, answer: Message) -> None:
        """Kept as it is: nobody changes an answer."""
        self._answers[answer.DESCRIPTOR.full_name] = answer

    def answers(self) -> dict[str, bytes]:
        """By the full name of the message."""
        return {name: answer.SerializeToString() for name, answer in dict(self._answers).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where an agent stood: whose it is, the head it had verified, and the last leaves under it."""

    alliance: str
    member: str
    hub: str
    log_key: str
    log_size: int
    log_root: str
    leaves: Sequence[Mapping[str, str | int]]


def keep(folder: Path, error: AllianceError, scene: Scene, transcript: Transcript, *, now: dt.datetime) -> None:
    """Writes one file, whole or not at all; the agent stops after it, also where the disk refuses."""
    if len(list(folder.glob(f"*-{error.reason}.json"))) >= MOST_FILES:
        there = f"there are {MOST_FILES} files of it"
        log.error("alarm", reason=error.reason, message=error.message, evidence_not_kept=there)
        return
    try:
        file = _written(folder, error, scene, transcript, now=now)
    except OSError as failed:
        log.error("alarm", reason=error.reason, message=error.message, evidence_not_kept=str(failed))
    else:
        log.error("alarm", reason=error.reason, message=error.message, evidence=str(file))


def _written(folder: Path, error: AllianceError, scene: Scene, transcript: Transcript, *, now: dt.datetime) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / f"{now:%Y%m%dT%H%M%S%fZ}-{error.reason}.json"
    told = {
        "format": _FORMAT,
        "time": now.isoformat(),
        "reason": error.reason,
        "found": error.message,
        "alliance": scene.alliance,
        "member": scene.member,
        "hub": scene.hub,
        "log": {
            "key": scene.log_key,
            "verified_size": scene.log_size,
            "verified_root": scene.log_root,
            "last_leaves": list(scene.leaves),
        },
        "hub_said": [_answer(name, raw) for name, raw in sorted(transcript.answers().items())],
    }
    partial = file.with_suffix(".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        json.dump(told, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    partial.rename(file)
    return file


def _answer(name: str, raw: bytes) -> dict[str, object]:
    kept = raw[:_ANSWER_BYTES]
    return {"message": name, "bytes": len(raw), "protobuf": base64.b64encode(kept).decode("ascii")}
