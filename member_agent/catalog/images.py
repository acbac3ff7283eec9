"""A product's pictures on disk: found below the folder they belong to, and known by the bytes in them.

A path in a table is somebody's text: one that leads out of the folder, by `..`, by a root or by a symbolic link, is
not opened. A file whose size and time are those of the last import is not read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from member_agent.catalog.model import Image, RowError, Severity


def find_images(
    root: Path, written: Sequence[str], links: Sequence[str], *, row: int, known: Sequence[Image]
) -> tuple[tuple[Image, ...], list[RowError]]:
    """Looks up what a row names.

    Args:
        root: the folder paths are relative to, resolved.
        written: paths as the row has them.
        links: image links of the row; kept as links, with the file an earlier fetch made of them.
        known: the product's images as stored.

    Returns:
        The images there are, and a warning for each that is not (IMAGE_MISSING, IMAGE_OUTSIDE_FOLDER, IMAGE_EMPTY).
    """
    by_path = {image.path: image for image in known if image.path is not None and not image.link}
    by_link = {image.link: image for image in known if image.link}
    images: list[Image] = []
    warnings: list[RowError] = []
    for name in written:
        try:
            images.append(_found(root, name, by_path))
        except NoImage as error:
            warnings.append(error.warning(row))
    images.extend(by_link.get(link) or Image(link=link) for link in links)
    return tuple(images), warnings


def file_digest(path: Path) -> bytes:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


class NoImage(Exception):
    """A path that names no readable picture below its folder."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def warning(self, row: int) -> RowError:
        return RowError(row=row, field="image", reason=self.reason, message=str(self), severity=Severity.WARNING)


def locate(root: Path, name: str) -> Path:
    """The file a row's image path means. Raises: NoImage."""
    try:
        path = (root / name).resolve(strict=True)
        usable = path.is_file() and path.stat().st_size
    except (OSError, ValueError, RuntimeError) as error:
        detail = error.strerror if isinstance(error, OSError) else str(error)
        raise NoImage("IMAGE_MISSING", f"{name!r} cannot be read below {root}: {detail}") from error
    if not path.is_relative_to(root):
        raise NoImage("IMAGE_OUTSIDE_FOLDER", f"{name!r} leads out of {root}; name its folder with --images")
    if not usable:
        raise NoImage("IMAGE_EMPTY", f"{name!r} is empty or no file")
    return path


def _found(root: Path, name: str, known: dict[Path, Image]) -> Image:
    path = locate(root, name)
    stat = path.stat()
    stored = known.get(path)
    if stored and (stored.size, stored.modified_ns) == (stat.st_size, stat.st_mtime_ns):
        return stored
    try:
        digest = file_digest(path)
    except OSError as error:
        raise NoImage("IMAGE_MISSING", f"{name!r} cannot be read: {error.strerror}") from error
    return Image(path=path, sha256=digest, size=stat.st_size, modified_ns=stat.st_mtime_ns)
