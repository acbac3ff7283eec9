"""Canaries: strings that stand in a member's data and nowhere else, and the detector that looks for them.

A canary is found however it is spelled: in any case, as UTF-16, in base64 at any alignment, in hex. It is looked
for in raw bytes, so that the inside of databases, logs and recorded traffic is searched alike.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

import hub.runtime.edge
from alliance.v1 import blob_pb2


def canary(place: str) -> str:
    """A word for one place in one member's data, always the same: "kanari" and 16 letters."""
    digest = hashlib.sha256(place.encode()).digest()[:8]
    return "kanari" + "".join("abcdefghijklmnop"[half] for byte in digest for half in divmod(byte, 16))


def spellings(word: str) -> set[bytes]:
    """What to look for in bytes whose ASCII letters were made small."""
    raw = word.encode()
    found = {raw.lower(), word.lower().encode("utf-16-le"), word.lower().encode("utf-16-be")}
    for form in {word, word.lower(), word.upper(), word.capitalize()}:
        found.add(form.encode().hex().encode())
        for shift in range(3):
            # Only the letters that depend on the word alone, whatever stands around it.
            coded = base64.b64encode(bytes(shift) + form.encode() + bytes(2))
            inside = coded[(shift * 8 + 5) // 6 : (shift + len(raw)) * 8 // 6]
            found |= {inside.lower(), inside.replace(b"+", b"-").replace(b"/", b"_").lower()}
    return found


class Detector:
    """Looks for canaries; `places` maps a name for a message to the word that stands there."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._spellings = {place: spellings(word) for place, word in places.items()}

    def found(self, haystack: bytes) -> set[str]:
        """The places whose canary is in these bytes, in any spelling."""
        small = haystack.lower()
        return {place for place, forms in self._spellings.items() if any(form in small for form in forms)}

    def found_in_files(self, folder: Path) -> dict[str, set[str]]:
        """Per file of a folder, whatever it is: the places found in its bytes or in its name."""
        files = (file for file in sorted(folder.rglob("*")) if file.is_file())
        hits = (
            (str(file), self.found(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes()))
            for file in files
        )
        return {file: places for file, places in hits if places}


class Recorder:
    """Every request a hub of this process parses, as its plaintext came off the wire; start it before the hub."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes]] = []

    def digests(self) -> list[bytes]:
        """As ledgers tell them: of every request, but of an upload that of all its bytes. No two uploads at once."""
        found, upload = [], hashlib.sha256()
        for name, raw in self.requests:
            if name != "alliance.v1.UploadBlobRequest":
                found.append(hashlib.sha256(raw))
                continue
            part = blob_pb2.UploadBlobRequest.FromString(raw)
            if part.HasField("header"):
                upload = hashlib.sha256()
                found.append(upload)
            upload.update(part.chunk)
        return [one.digest() for one in found]

    def bytes(self) -> bytes:
        return b"\0".join(raw for _, raw in self.requests)

    def recording(self) -> Iterator[Recorder]:
        """Wraps the edge's own parser until the generator is closed; a fixture yields from it."""
        honest = hub.runtime.edge._parse

        def recorded(cls: type[Message], raw: bytes) -> Any:
            self.requests.append((cls.DESCRIPTOR.full_name, raw))
            return honest(cls, raw)

        hub.runtime.edge._parse = recorded
        try:
            yield self
        finally:
            hub.runtime.edge._parse = honest
