"""What bytes a text file is made of, settled in one pass before a row is read.

An encoding nobody named is UTF-8 (or what a byte order mark says) and must hold for the whole file: a file of
another encoding is refused as a whole, with the offset of the first byte that is wrong, before anything is stored.
An encoding that was named is believed: bytes it cannot read spoil their own row and no other.
"""

from __future__ import annotations

import codecs
import hashlib
from dataclasses import dataclass
from pathlib import Path

from alliance.errors import InvalidInput, NotFound

_CHUNK = 1 << 20
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CONTAINERS = {
    b"PK\x03\x04": ("a workbook or an archive", "save the sheet as CSV"),
    b"\xd0\xcf\x11\xe0": ("an old workbook", "save the sheet as CSV"),
    b"\x1f\x8b": ("gzip", "unpack it first"),
    b"PAR1": ("Parquet", "export it as CSV or JSONL"),
}
_NUL_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A text file's SHA-256 (of its bytes), size in bytes, and the encoding it will be read with."""

    digest: bytes
    size: int
    encoding: str


def survey(path: Path, encoding: str | None) -> Survey:
    """Reads a file once: is it text, of which encoding, and which bytes exactly?

    Raises:
        NotFound: no such file.
        InvalidInput: NOT_TEXT, ENCODING_UNKNOWN, ENCODING_WRONG (names the byte offset and the line) or EMPTY_FILE.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_CHUNK)
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}", reason="FILE_UNREADABLE") from error
    _refuse_containers(path, head)
    name = _checked(encoding) if encoding else _marked(head)
    if not encoding and name == "utf-8" and head.count(0) > len(head) * _NUL_SHARE:
        raise InvalidInput(
            f"{path.name} is full of zero bytes: binary, or UTF-16 without a byte order mark",
            reason="NOT_TEXT",
            remedy="export it as UTF-8 text, or name its encoding with --encoding utf-16-le",
        )
    return _read_through(path, name, named=encoding is not None)


def _refuse_containers(path: Path, head: bytes) -> None:
    if not head:
        raise InvalidInput(f"{path.name} is empty", reason="EMPTY_FILE", remedy="export it again")
    for magic, (what, remedy) in _CONTAINERS.items():
        if head.startswith(magic):
            raise InvalidInput(f"{path.name} is {what}, not text", reason="NOT_TEXT", remedy=remedy)


def _checked(encoding: str) -> str:
    try:
        info = codecs.lookup(encoding)
        "".encode(info.name)  # refuses the codecs that are not for text, such as base64
    except LookupError as error:
        raise InvalidInput(
            f"there is no encoding {encoding!r}",
            reason="ENCODING_UNKNOWN",
            field="--encoding",
            remedy="use a name such as utf-8, cp1252, gb18030 or shift_jis",
        ) from error
    return "utf-8-sig" if info.name == "utf-8" else info.name


def _marked(head: bytes) -> str:
    return next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")


def _read_through(path: Path, encoding: str, *, named: bool) -> Survey:
    decoder = codecs.getincrementaldecoder(encoding)(errors="surrogateescape" if named else "strict")
    digest, size, lines, pending = hashlib.sha256(), 0, 1, 0
    with path.open("rb") as file:
        while True:
            chunk = file.read(_CHUNK)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                offset = size - pending + error.start
                lines += error.object[: error.start].count(b"\n")
                raise _wrong(path, encoding, offset, lines, error, named=named) from error
            if not chunk:
                return Survey(digest=digest.digest(), size=size, encoding=encoding)
            digest.update(chunk)
            size += len(chunk)
            lines += text.count("\n")
            pending = len(decoder.getstate()[0])


def _wrong(
    path: Path, encoding: str, offset: int, line: int, error: UnicodeDecodeError, *, named: bool
) -> InvalidInput:
    byte = error.object[error.start]
    remedy = (
        "name the right one with --encoding"
        if named
        else "name its encoding, often --encoding cp1252; or --encoding utf-8 to give up only the rows that are not"
    )
    return InvalidInput(
        f"{path.name} is not {encoding.removesuffix('-sig')}: byte 0x{byte:02x} at offset {offset} (line {line})",
        reason="ENCODING_WRONG",
        field="--encoding",
        row=line,
        remedy=remedy,
    )
