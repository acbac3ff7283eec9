"""URLs as hashed features: character n-grams, those at the host's ends marked, and what the host looks like.

Pure arithmetic on bytes, so that every member's machine puts the same piece of text into the same bucket, now and
after an upgrade: a polynomial hash modulo 2^64 of each window, then SipHash-2-4 under the group's key, of which the top
bits are the bucket: a hub that sees weights cannot tell of what they are. Without a key, for figures that are compared
with published ones, SplitMix64's finaliser (Steele et al. 2014) takes its place. Text is never decoded from
percent-encoding and never resolved.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from member_agent.training import dataset
from member_agent.training.siphash import siphash

MAX_BYTES = 512
"""What is read of a URL; longer ones are cut."""
SIZES = (3, 4, 5)
_BASE = np.uint64(0x9E3779B97F4A7C15)
_BEFORE, _AFTER_HOST, _END = b"\x02", b"\x03", b"\x04"
"""Bytes no URL has: "paypal" at the start of a host is another feature than in its middle. A name otherwise means the
same wherever it stands; keeping host and rest apart was worse (docs/adr/0012)."""
_SHAPE = 1 << 32
Span = tuple[int, int]
"""The places of a feature's bytes in a URL, from one up to another."""
WHOLE: Span = (0, 0)
"""Of a feature that is of no bytes in particular."""
_CHUNK = 8192


def normalise(url: str) -> str:
    """Lower case, without scheme and surrounding space."""
    text = url.strip().lower()
    return text.partition("://")[2] if "://" in text[:12] else text


def features(urls: Sequence[str], *, bits: int, key: bytes = b"") -> csr_matrix:
    """(len(urls), 2^bits) float32; a present feature counts once, rows have length 1. `key`: 16 bytes, or none."""
    parts = [_chunk(urls[at : at + _CHUNK], bits, key) for at in range(0, len(urls), _CHUNK)]
    data = np.concatenate([p[0] for p in parts]) if parts else np.empty(0, np.float32)
    columns = np.concatenate([p[1] for p in parts]) if parts else np.empty(0, np.int32)
    counts = np.concatenate([p[2] for p in parts]) if parts else np.empty(0, np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)])
    return csr_matrix((data, columns, starts), shape=(len(urls), 1 << bits))


def _chunk(
    urls: Sequence[str], bits: int, key: bytes
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]:
    """Values, columns, and how many of them each row has."""
    plain = [normalise(url) for url in urls]
    texts = [_marked(url.encode()) for url in plain]
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    buffer = np.frombuffer(b"".join(texts), dtype=np.uint8).astype(np.uint64)
    rows = np.repeat(np.arange(len(texts)), lengths)
    inside = np.arange(len(buffer)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    keys, owners = [], []
    for size in SIZES:
        windows = max(0, len(buffer) - size + 1)
        value = np.zeros(windows, dtype=np.uint64)
        for place in range(size):
            value = value * _BASE + buffer[place : place + windows]
        whole = inside[:windows] + size <= np.repeat(lengths, lengths)[:windows]
        keys.append(value[whole] * _BASE + np.uint64(size))
        owners.append(rows[:windows][whole])
    shapes = [_host_shape(url) for url in plain]
    keys.append(np.array([key for row in shapes for key in row], dtype=np.uint64))
    owners.append(np.repeat(np.arange(len(texts)), [len(row) for row in shapes]))
    bucket = _mix(np.concatenate(keys), key) >> np.uint64(64 - bits)
    # Row and bucket in one number: sorting once finds the different features of every row.
    found = np.sort((np.concatenate(owners).astype(np.uint64) << np.uint64(bits)) | bucket)
    unique = found[np.append(found[:-1] != found[1:], True)] if len(found) else found
    counts = np.bincount((unique >> np.uint64(bits)).astype(np.int64), minlength=len(texts))
    values = np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts).astype(np.float32)
    return values, (unique & np.uint64((1 << bits) - 1)).astype(np.int32), counts


def _marked(url: bytes) -> bytes:
    ends = [at for at in (url.find(mark) for mark in (b"/", b"?", b"#")) if at >= 0]
    host_end = min(ends, default=len(url))
    return (_BEFORE + url[:host_end] + _AFTER_HOST + url[host_end:])[:MAX_BYTES] + _END


def _host_shape(url: str) -> list[int]:
    """Features of the host and of the URL's outline, each a small number under its own key."""
    name = dataset.host(url)
    labels = name.split(".")
    path, _, query = url.partition("?")
    numbers = (
        min(len(labels), 8),
        min(len(name) // 4, 16),
        min(name.count("-"), 6),
        min(sum(c.isdigit() for c in name), 12),
        int(name.replace(".", "").isdigit()),
        int(":" in url.partition("/")[0]),
        int("@" in url),
        min(path.count("/"), 10),
        min(len(url) // 8, 24),
        min(query.count("="), 8),
        zlib.crc32(labels[-1].encode()),
        zlib.crc32(dataset.registrable_domain(name).partition(".")[2].encode()),
    )
    return [(kind + 1) * _SHAPE + number for kind, number in enumerate(numbers)]


def _mix(value: NDArray[np.uint64], key: bytes) -> NDArray[np.uint64]:
    if key:
        return siphash(value, key)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


class Pieces:
    """One URL's features for whoever explains a score: `buckets` (n,) are those of `features`, here with repeats."""

    def __init__(self, url: str, *, bits: int, key: bytes = b"") -> None:
        self._plain = normalise(url)
        self._marked = _marked(self._plain.encode())
        buffer = np.frombuffer(self._marked, dtype=np.uint8).astype(np.uint64)
        keys: list[NDArray[np.uint64]] = []
        self._spans: list[Span] = []
        for size in SIZES:
            windows = max(0, len(buffer) - size + 1)
            value = np.zeros(windows, dtype=np.uint64)
            for place in range(size):
                value = value * _BASE + buffer[place : place + windows]
            keys.append(value * _BASE + np.uint64(size))
            self._spans += [(at, at + size) for at in range(windows)]
        keys.append(np.array(_host_shape(self._plain), dtype=np.uint64))
        self.buckets = _mix(np.concatenate(keys), key) >> np.uint64(64 - bits)

    def span(self, place: int) -> Span:
        """Of which bytes a feature is."""
        return self._spans[place] if place < len(self._spans) else WHOLE

    def text(self, place: int) -> str:
        """A feature in words."""
        if place >= len(self._spans):
            return list(_outline(self._plain))[place - len(self._spans)]
        return self.words(*self._spans[place])

    def words(self, start: int, end: int) -> str:
        """A piece of the URL in words."""
        piece = self._marked[start:end]
        where = ((_BEFORE, " at the host's start"), (_AFTER_HOST, " at the host's end"), (_END, " at the URL's end"))
        said = next((words for mark, words in where if mark in piece), "")
        text = bytes(c for c in piece if bytes([c]) not in (_BEFORE, _AFTER_HOST, _END)).decode("utf-8", "replace")
        return f'"{text if text.isprintable() else ascii(text)[1:-1]}"{said}'


def _outline(url: str) -> Iterator[str]:
    """What each number of `_host_shape` is of."""
    name = dataset.host(url)
    labels = name.split(".")
    path, _, query = url.partition("?")
    yield f"labels in the host: {len(labels)}"
    yield f"length of the host: about {len(name)}"
    yield f"hyphens in the host: {name.count('-')}"
    yield f"digits in the host: {sum(c.isdigit() for c in name)}"
    yield f"host all digits: {'yes' if name.replace('.', '').isdigit() else 'no'}"
    yield f"a port: {'yes' if ':' in url.partition('/')[0] else 'no'}"
    yield f'an "@": {"yes" if "@" in url else "no"}'
    yield f"slashes: {path.count('/')}"
    yield f"length: about {len(url)}"
    yield f"parameters: {query.count('=')}"
    yield f"last label: {labels[-1][:32]}"
    yield f"domain under: {dataset.registrable_domain(name).partition('.')[2][:32]}"
