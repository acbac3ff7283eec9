"""A folder of product photos, where nothing else describes the products: one product a picture.

The path below the folder is the product's key, the folder a picture lies in its category. Hidden files and symbolic
links are left alone. The order is that of the paths, so two readings number the pictures alike.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from alliance.errors import InvalidInput, NotFound
from member_agent.catalog.readers.records import Record, checked

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})
FILE_COLUMN, FOLDER_COLUMN = "file", "folder"


class FolderReader:
    """Reads the names of the pictures below a folder.

    Raises:
        NotFound: no such folder.
        InvalidInput: NO_IMAGES.
    """

    columns = (FILE_COLUMN, FOLDER_COLUMN)

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise NotFound(f"there is no folder {root}", reason="FILE_UNREADABLE")
        self._root = root
        self._files = sorted(_pictures(root))
        self.done = 0
        self.total = len(self._files)
        if not self._files:
            raise InvalidInput(
                f"{root} holds no pictures",
                reason="NO_IMAGES",
                remedy=f"name a folder with {' '.join(sorted(IMAGE_SUFFIXES))} files",
            )

    @property
    def digest(self) -> bytes:
        """Of the names, sizes and times; a change of any starts an interrupted import anew."""
        state = hashlib.sha256()
        for name in self._files:
            stat = (self._root / name).lstat()
            state.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        return state.digest()

    def records(self) -> Iterator[Record]:
        for number, name in enumerate(self._files, start=1):
            self.done = number
            parent = Path(name).parent.name
            yield checked(number, {FILE_COLUMN: name, FOLDER_COLUMN: parent})


def _pictures(root: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and path.suffix.lower() in IMAGE_SUFFIXES and not path.is_symlink():
                yield path.relative_to(root).as_posix()
