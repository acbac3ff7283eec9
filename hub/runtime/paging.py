"""AIP-158 paging: an opaque token is the last key of a page, so pages stay right while rows are added."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from alliance.errors import InvalidInput

T = TypeVar("T")
MAX_PAGE = 1000
DEFAULT_PAGE = 100
MAX_TOKEN = 400
# What fits the 64-bit columns that numbers are compared with.
_NUMBER = re.compile(r"[0-9]{1,18}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """`after` is the key the page starts behind, None for the first page."""

    size: int
    after: str | None

    def after_number(self, first_page: int) -> int:
        """The key as a number, `first_page` for the first page. Raises: InvalidInput."""
        if self.after is None:
            return first_page
        if not _NUMBER.match(self.after):
            raise _foreign()
        return int(self.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    items: Sequence[T]
    next_token: str


def page_request(page_size: int, page_token: str, *, most: int = MAX_PAGE) -> PageRequest:
    """Raises: InvalidInput for a negative size or a token that this hub never gave."""
    if page_size < 0:
        raise InvalidInput("a page size is not negative", field="page_size")
    after = _key(page_token) if page_token else None
    return PageRequest(size=min(page_size or min(DEFAULT_PAGE, most), most), after=after)


def _key(token: str) -> str:
    """The key in a token: names, numbers and digests, nothing else ever was one."""
    try:
        key = base64.urlsafe_b64decode(token[:MAX_TOKEN].encode()).decode("ascii")
    except ValueError as error:
        raise _foreign() from error
    if not key.isprintable() or _token(key) != token:
        raise _foreign()
    return key


def _token(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _foreign() -> InvalidInput:
    return InvalidInput(
        "not a page token of this hub",
        reason="PAGE_TOKEN",
        field="page_token",
        remedy="start again without a token",
    )


def page(found: Sequence[T], request: PageRequest, key: Callable[[T], str]) -> Page[T]:
    """`found` holds one item more than the page, if there is one."""
    items = found[: request.size]
    more = len(found) > request.size
    return Page(items=items, next_token=_token(key(items[-1])) if more else "")
