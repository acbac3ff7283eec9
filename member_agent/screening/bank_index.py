"""A bank ready to be searched: one index per epoch for texts (their keys differ), one for pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alliance import schemes
from alliance.audience import Tlp
from alliance.errors import AllianceError
from alliance.names import Digest
from member_agent.fingerprinting.image import Probe
from member_agent.fingerprinting.text import Sketcher, TextItem, TextSketch
from member_agent.matching.hamming import HammingIndex
from member_agent.matching.text_index import TextIndex
from member_agent.screening.model import Candidate, image_score, text_score
from member_agent.sharing.contents import BankContents, OpenBatch, fingerprint_id
from member_agent.sharing.keyring import Keyring
from member_agent.sharing.rows import Marks


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One listing as it is looked up: where it is in its file, what it says, its pictures' probes."""

    listing: str
    row: int
    item: TextItem
    probes: tuple[Probe, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLimits:
    """How many candidates a listing and a fingerprint may have, and how like they must be (cosine)."""

    threshold: float
    per_listing: int
    per_fingerprint: int


class TextBank:
    """Texts of one bank. A batch whose sketches cannot be read is a problem, not an end."""

    def __init__(self, contents: BankContents, keyring: Keyring) -> None:
        self._contents = contents
        self.problems: list[str] = []
        self._epochs = [
            (self._sketcher(keyring, epoch), self._index(epoch))
            for epoch in sorted({batch.epoch for batch in contents.batches})
        ]

    def candidates(self, queries: Sequence[Query], limits: TextLimits) -> Iterator[Candidate]:
        for sketcher, (index, places) in self._epochs:
            sketches = sketcher.sketch_many([query.item for query in queries])
            found = index.join(
                sketches,
                threshold=limits.threshold,
                per_listing=limits.per_listing,
                per_fingerprint=limits.per_fingerprint,
            )
            for at, row, score in zip(found.query_row, found.index_row, found.score, strict=True):
                batch, inside = places[int(row)]
                reason = f"title alike, cosine {float(score):.2f}"
                query, label = queries[int(at)], int(batch.labels[inside])
                yield _candidate(self._contents, query, batch, inside, text_score(float(score)), [reason], label)

    def _sketcher(self, keyring: Keyring, epoch: int) -> Sketcher:
        return Sketcher(key=keyring.held(self._contents.state.group, epoch).text_key())

    def _index(self, epoch: int) -> tuple[TextIndex, list[tuple[OpenBatch, int]]]:
        sketches: list[TextSketch] = []
        places: list[tuple[OpenBatch, int]] = []
        for batch in self._contents.batches:
            if batch.epoch != epoch:
                continue
            for row in np.flatnonzero(batch.alive).tolist():
                try:
                    sketches.append(TextSketch.decode(bytes(batch.rows.values[row])))
                    places.append((batch, row))
                except AllianceError as error:
                    self.problems.append(f"{fingerprint_id(batch, row)} of {batch.publisher}: {error}")
        return TextIndex.build(sketches), places


class ImageBank:
    """Pictures of one bank; the variants of a picture count as one fingerprint, its base value."""

    def __init__(self, contents: BankContents, *, radius: int = int(schemes.PDQ.threshold)) -> None:
        self._contents = contents
        self._radius = radius
        values = [np.asarray(batch.rows.values, dtype=np.uint8) for batch in contents.batches]
        stacked: NDArray[np.uint8] = np.concatenate(values) if values else np.zeros((0, 32), dtype=np.uint8)
        self._index = HammingIndex(stacked, alive=contents.alive())

    def candidates(self, queries: Sequence[Query]) -> Iterator[Candidate]:
        owners = [at for at, query in enumerate(queries) for _ in query.probes]
        probes = [probe for query in queries for probe in query.probes]
        if not probes:
            return
        values = np.frombuffer(b"".join(probe.hash for probe in probes), dtype=np.uint8).reshape(-1, 32)
        found = self._index.search(values, radius=self._radius)
        best: dict[tuple[int, Digest, int], tuple[int, str]] = {}
        labels: dict[tuple[int, Digest, int], int] = {}
        for probe_at, row, distance in zip(found.query_row, found.index_row, found.distance, strict=True):
            batch, inside = self._contents.locate(int(row))
            base = int(batch.rows.variant_of[inside])
            key = (owners[int(probe_at)], batch.digest, inside if base < 0 else base)
            told = (int(distance), probes[int(probe_at)].kind)
            best[key] = min(best.get(key, told), told)
            labels[key] = max(labels.get(key, 0), int(batch.labels[inside]))
        by_digest = {batch.digest: batch for batch in self._contents.batches}
        for (owner, digest, inside), (distance, kind) in sorted(best.items()):
            reason = f"picture alike, {distance} of 256 bits differ ({kind})"
            score = image_score(distance, self._radius)
            label = labels[owner, digest, inside]
            yield _candidate(self._contents, queries[owner], by_digest[digest], inside, score, [reason], label)


def _candidate(
    contents: BankContents, query: Query, batch: OpenBatch, row: int, score: int, reasons: list[str], label: int
) -> Candidate:
    marks = Marks(int(batch.rows.marks[row])).name.lower()
    return Candidate(
        listing=query.listing,
        row=query.row,
        score=score,
        reasons=(*reasons, f"marked {marks} by {batch.publisher}"),
        fingerprint=fingerprint_id(batch, row),
        bank=contents.state.id,
        marks=marks,
        brand=batch.rows.brand_of(row),
        publisher=batch.publisher,
        version=contents.version,
        tlp=Tlp(label).label,
    )
