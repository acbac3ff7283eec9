"""Text fingerprints: title, brand and model number as a sparse vector of keyed terms (scheme `terms-v1`).

A term is a word, a word that punctuation interrupts ("SD-1100" -> sd1100), or four neighbouring letters
of the text without its spaces. A member publishes, for each term, a 32-bit keyed hash (BLAKE2b under the
group key) and a weight, the square root of its evidence: occurrences, counted more for words with digits
and for the model number. Two agents of one group get equal bytes for equal text; without the key the
hashes say nothing. How rare a term is, and so how much it tells, the *receiver* works out from the bank
(`member_agent.matching.text_index`): the wire carries no statistics.

Chosen by measurement: docs/adr/0003-text-sketches.md. Spelling is `text_normalise`'s part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from alliance.errors import Corrupt, InvalidInput
from member_agent.fingerprinting.text_normalise import fold, is_unspaced, unleet, words

SCHEME: Final = "terms-v1"
KEY_BYTES: Final = 32
MAX_TERMS: Final = 96

_VERSION: Final = 1
_HEADER_BYTES: Final = 2
_TERM_BYTES: Final = 5
_WEIGHTS_PER_UNIT: Final = 32
_MAX_CHARACTERS: Final = 512
_CHUNK: Final = 4096
_MAX_REMEMBERED: Final = 1 << 18
_Integers = NDArray[np.int64]

# An occurrence's evidence is its field's share times its kind's factor, whole numbers so that sums are
# exact in any order; a word that occurs once in the title makes one unit.
_TITLE, _BRAND, _MODEL = 2, 1, 4
_GRAM, _WORD, _NUMBER, _MIXED = 1, 3, 6, 12
_EVIDENCE_UNIT: Final = _TITLE * _WORD


@dataclass(frozen=True, slots=True, kw_only=True)
class TextItem:
    """What a product or a listing says about itself; only the title is always there.

    Of each field the first 512 characters count.
    """

    title: str
    brand: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class TextSketch:
    """At most MAX_TERMS weighted keyed terms, as their canonical bytes; equal sketches are equal bytes.

    Layout: version (1 byte), count n (1 byte), n term hashes (4 bytes each, little endian, strictly
    ascending), n weights (1 byte each, at least 1). A sketch without terms exists only in memory: it
    comes from a text without letters or digits and matches nothing.
    """

    _bytes: bytes

    @property
    def terms(self) -> NDArray[np.uint32]:
        """Term hashes, strictly ascending; shape (n,)."""
        return np.frombuffer(self._bytes, "<u4", count=len(self), offset=_HEADER_BYTES)

    @property
    def weights(self) -> NDArray[np.uint8]:
        """Weights in 1/32ths, parallel to `terms`; shape (n,)."""
        return np.frombuffer(self._bytes, np.uint8, offset=_HEADER_BYTES + 4 * len(self))

    def __len__(self) -> int:
        return self._bytes[1]

    def encode(self) -> bytes:
        """The bytes to publish.

        Raises:
            InvalidInput: the text had no letter or digit.
        """
        if not len(self):
            raise InvalidInput(
                "the text has no letter or digit",
                reason="NO_TERMS",
                field="title",
                remedy="give the product a title",
            )
        return self._bytes

    @classmethod
    def decode(cls, data: bytes) -> TextSketch:
        """Read published bytes; only what `encode` writes is accepted.

        Raises:
            InvalidInput: a version this release does not know.
            Corrupt: any other deviation from the layout.
        """
        if data[:1] and data[0] != _VERSION:
            raise InvalidInput(
                f"text sketch version {data[0]} is not known",
                reason="UNKNOWN_SKETCH_VERSION",
                remedy="upgrade this agent",
            )
        count = data[1] if len(data) > 1 else 0
        if not 1 <= count <= MAX_TERMS or len(data) != _HEADER_BYTES + _TERM_BYTES * count:
            raise _malformed(f"{len(data)} bytes announce {count} terms")
        sketch = cls(bytes(data))
        terms = sketch.terms
        if not bool(np.all(terms[:-1] < terms[1:])):
            raise _malformed("terms are not strictly ascending")
        if not bool(sketch.weights.all()):
            raise _malformed("a weight is zero")
        return sketch


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Many sketches, flat: `counts` terms of each, all `terms` one sketch after the other, their `weights`."""

    counts: NDArray[np.int64]
    terms: NDArray[np.uint32]
    weights: NDArray[np.uint8]


def columns(sketches: Sequence[TextSketch]) -> Columns:
    """The sketches as three arrays, in their order."""
    encoded = [sketch._bytes for sketch in sketches]
    middles = [_HEADER_BYTES + 4 * data[1] for data in encoded]
    terms = b"".join(data[_HEADER_BYTES:middle] for data, middle in zip(encoded, middles, strict=True))
    weights = b"".join(data[middle:] for data, middle in zip(encoded, middles, strict=True))
    return Columns(
        counts=np.array([data[1] for data in encoded], np.int64),
        terms=np.frombuffer(terms, "<u4"),
        weights=np.frombuffer(weights, np.uint8),
    )


def _malformed(what: str) -> Corrupt:
    return Corrupt(
        f"malformed text sketch: {what}", reason="MALFORMED_SKETCH", remedy="ask its publisher to publish again"
    )


def sketch(item: TextItem, *, key: bytes) -> TextSketch:
    """One item's sketch; see `Sketcher`."""
    return sketch_many([item], key=key)[0]


def sketch_many(items: Sequence[TextItem], *, key: bytes) -> list[TextSketch]:
    """The sketches of many items, in their order; see `Sketcher`."""
    return Sketcher(key=key).sketch_many(items)


class Sketcher:
    """Sketches under one group key; remembers hashes already computed, so keep one for a stream.

    Raises:
        InvalidInput: the key is not KEY_BYTES long.
    """

    def __init__(self, *, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise InvalidInput(
                f"the group key has {len(key)} bytes, not {KEY_BYTES}",
                reason="BAD_KEY_LENGTH",
                field="key",
                remedy="sync the group keys",
            )
        self._keyed = blake2b(key=key, digest_size=4, person=b"alliance/terms")
        self._words = _Words(self._term)
        self._grams = _Grams(self._term)

    def sketch_many(self, items: Sequence[TextItem]) -> list[TextSketch]:
        """The sketches of the items, in their order; each the same whatever it is batched with."""
        sketches: list[TextSketch] = []
        for start in range(0, len(items), _CHUNK):
            if len(self._words) + len(self._grams) > _MAX_REMEMBERED:
                self._words.clear()
                self._grams.clear()
            chunk = items[start : start + _CHUNK]
            sketches.extend(_assemble(*self._evidence(chunk), rows=len(chunk)))
        return sketches

    def _evidence(self, items: Sequence[TextItem]) -> tuple[_Integers, _Integers, _Integers]:
        """Row, term and evidence of every occurrence, as parallel arrays."""
        found: list[int] = []
        texts: list[str] = []
        fields: list[int] = []  # row, share and number of words, field after field
        for row, item in enumerate(items):
            for text, share in ((item.title, _TITLE), (item.brand, _BRAND), (item.model, _MODEL)):
                if text:
                    spaced, joined = words(fold(text[:_MAX_CHARACTERS])[:_MAX_CHARACTERS])
                    texts.append("".join([word if word.isalpha() else unleet(word) for word in spaced]))
                    found.extend(map(self._words.__getitem__, spaced))
                    found.extend(map(self._words.__getitem__, joined))
                    fields += (row, share, len(spaced) + len(joined))
        rows, shares, counts = np.array(fields, np.int64).reshape(-1, 3).T
        word = np.array(found, np.int64)
        owner, packed = _grams(texts)
        return (
            np.concatenate([np.repeat(rows, counts), rows[owner]]),
            np.concatenate([word & 0xFFFFFFFF, self._gram_terms(packed)]),
            np.concatenate([np.repeat(shares, counts) * (word >> 32), shares[owner] * _GRAM]),
        )

    def _gram_terms(self, packed: NDArray[np.uint64]) -> _Integers:
        distinct, inverse = np.unique(packed, return_inverse=True)
        return np.array(list(map(self._grams.__getitem__, distinct.tolist())), np.int64)[inverse]

    def _term(self, feature: bytes) -> int:
        keyed = self._keyed.copy()
        keyed.update(feature)
        return int.from_bytes(keyed.digest(), "little")


class _Words(dict[str, int]):
    """Word -> factor << 32 | term, computed at first sight.

    The factor is that of the word as written: a model number that reads as leet keeps its weight.
    """

    def __init__(self, term: Callable[[bytes], int]) -> None:
        self._term = term

    def __missing__(self, word: str) -> int:
        if word.isalpha() or len(word) < 3 or not any(map(str.isdigit, word)):
            factor = _WORD
        else:
            factor = _NUMBER if len(word) == 3 or word.isdigit() else _MIXED
        self[word] = packed = factor << 32 | self._term(b"w" + unleet(word).encode())
        return packed


class _Grams(dict[int, int]):
    """Packed gram -> term, computed at first sight."""

    def __init__(self, term: Callable[[bytes], int]) -> None:
        self._term = term

    def __missing__(self, gram: int) -> int:
        self[gram] = term = self._term(b"g" + gram.to_bytes(8, "little"))
        return term


def _grams(texts: list[str]) -> tuple[_Integers, NDArray[np.uint64]]:
    """Every four neighbouring characters of each text (two in an unspaced script), as (text, packed).

    A character is packed as the low 16 bits of its code point, the first one lowest.
    """
    joined = "\0".join(texts) + "\0\0\0\0"
    code = np.frombuffer(joined.encode("utf-32-le"), "<u4")
    between = code == 0
    text = np.cumsum(between) - between
    narrow = code.astype(np.uint64) & np.uint64(0xFFFF)
    pairs = narrow[:-1] | narrow[1:] << np.uint64(16)
    if joined.isascii():
        spaced, starts = ~between, np.empty(0, np.int64)
    else:
        unspaced = is_unspaced(code)
        spaced = ~between & ~unspaced
        starts = np.flatnonzero(unspaced[:-1] & unspaced[1:])
    four = np.flatnonzero(spaced[:-3] & spaced[1:-2] & spaced[2:-1] & spaced[3:])
    packed = pairs[four] | pairs[four + 2] << np.uint64(32)
    return np.concatenate([text[four], text[starts]]), np.concatenate([packed, pairs[starts]])


def _assemble(row: _Integers, term: _Integers, evidence: _Integers, *, rows: int) -> Iterator[TextSketch]:
    """Sum the evidence of each (row, term) and write each row's sketch."""
    place = row << 32 | term
    order = np.argsort(place)
    place = place[order]
    first = np.flatnonzero(np.diff(place, prepend=-1))
    total = np.add.reduceat(evidence[order], first) if len(first) else evidence
    row, term = place[first] >> 32, place[first] & 0xFFFFFFFF
    weight = np.clip(np.rint(np.sqrt(total / _EVIDENCE_UNIT) * _WEIGHTS_PER_UNIT), 1, 255).astype(np.uint8)
    kept = _within_limit(row, term, weight)
    row, terms, weights = row[kept], term[kept].astype("<u4").tobytes(), weight[kept].tobytes()
    ends = np.searchsorted(row, np.arange(rows), side="right").tolist()
    begin = 0
    for end in ends:
        yield TextSketch(bytes([_VERSION, end - begin]) + terms[4 * begin : 4 * end] + weights[begin:end])
        begin = end


def _within_limit(row: _Integers, term: _Integers, weight: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which entries stay: of a row with more than MAX_TERMS, the heaviest, equals by smallest term.

    Terms are pseudorandom, so the second rule makes two long texts keep the same ones.
    """
    crowded = np.flatnonzero(np.bincount(row)[row] > MAX_TERMS) if len(row) else row
    order = crowded[np.lexsort((term[crowded], -weight[crowded].astype(np.int64), row[crowded]))]
    rank = np.arange(len(order)) - np.searchsorted(row[order], row[order])
    kept = np.ones(len(row), bool)
    kept[order[rank >= MAX_TERMS]] = False
    return kept
