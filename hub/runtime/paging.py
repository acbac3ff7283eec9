"""AIP-158 paging: an opaque token is the last key of a page, so pages stay right while rows are added."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from alliance.errors import InvalidInput

T = TypeVar("T")
MAX_PAGE = 1000
DEFAULT_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """`after` is the key the page starts behind, None for the first page."""

    size: int
    after: str | None

    def after_number(self, first_page: int) -> int:
        """The key as a number, `first_page` for the first page. Raises: InvalidInput."""
        if self.after is None:
            return first_page
        if not self.after.isdecimal():
            raise InvalidInput("not a page token of this hub", field="page_token")
        return int(self.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    items: Sequence[T]
    next_token: str


def page_request(page_size: int, page_token: str, *, most: int = MAX_PAGE) -> PageRequest:
    """Raises: InvalidInput for a negative size or a token that this hub never gave."""
    if page_size < 0:
        raise InvalidInput("a page size is not negative", field="page_size")
    after = None
    if page_token:
        try:
            after = json.loads(base64.urlsafe_b64decode(page_token.encode()))["after"]
        except (binascii.Error, ValueError, KeyError, TypeError) as error:
            raise InvalidInput(
                "not a page token of this hub", field="page_token", remedy="start again without a token"
            ) from error
        if not isinstance(after, str):
            raise InvalidInput("not a page token of this hub", field="page_token")
    return PageRequest(size=min(page_size or min(DEFAULT_PAGE, most), most), after=after)


def page(found: Sequence[T], request: PageRequest, key: Callable[[T], str]) -> Page[T]:
    """`found` holds one item more than the page, if there is one."""
    items = found[: request.size]
    more = len(found) > request.size
    token = base64.urlsafe_b64encode(json.dumps({"after": key(items[-1])}).encode()).decode() if more else ""
    return Page(items=items, next_token=token)
