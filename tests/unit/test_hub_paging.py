"""A page token is the last key of a page and nothing else; what is no token of ours is refused, whatever it is."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alliance.errors import InvalidInput
from hub.fingerprints.service import parse_digest_key
from hub.runtime.paging import MAX_PAGE, page, page_request

KEYS = st.text("abcdefghijklmnopqrstuvwxyz0123456789/:-", min_size=1, max_size=140)


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@given(st.sets(KEYS, max_size=30), st.integers(1, 7))
def test_pages_together_are_the_whole_list_once(keys: set[str], size: int) -> None:
    everything, token = sorted(keys), ""
    seen: list[str] = []
    while True:
        asked = page_request(size, token)
        rest = [key for key in everything if asked.after is None or key > asked.after]
        shown = page(rest[: size + 1], asked, str)
        assert len(shown.items) <= size
        seen += shown.items
        token = shown.next_token
        if not token:
            break
    assert seen == everything


@pytest.mark.parametrize(
    "token",
    [
        "?",
        "not base64 at all",
        "AAA",
        "é",
        encoded("a")[:-1],
        encoded("a") + "=",
        encoded("nul\0"),
        encoded("ünïcode"),
        encoded("[" * 5000),
        base64.b64encode(b"\xff\xfe??>>").decode(),
        "A" * 1_000_000,
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        page_request(10, token)
    assert (caught.value.reason, caught.value.field) == ("PAGE_TOKEN", "page_token")


@pytest.mark.parametrize("key", ["members/acme", "-1", "9" * 19, "1e3", "٣", " 1", "0x1f", ""])
def test_a_number_is_one_that_a_column_holds(key: str) -> None:
    if not key:
        assert page_request(10, encoded(key)).after_number(7) == 7  # no token at all
        return
    try:
        request = page_request(10, encoded(key))
    except InvalidInput:
        return
    with pytest.raises(InvalidInput):
        request.after_number(0)


@pytest.mark.parametrize("key", ["", "zz:1", f"{'ab' * 32}", f"{'ab' * 32}:-1", f"{'ab' * 32}:{10**10}", "ab:1"])
def test_a_hits_key_is_a_digest_and_a_row(key: str) -> None:
    with pytest.raises(InvalidInput):
        parse_digest_key(key)
    assert parse_digest_key(f"{'ab' * 32}:65535") == (bytes.fromhex("ab" * 32), 65_535)


@pytest.mark.parametrize(("asked", "found"), [(0, 100), (1, 1), (1000, 1000), (2**31 - 1, MAX_PAGE)])
def test_page_sizes_are_bounded(asked: int, found: int) -> None:
    assert page_request(asked, "").size == found


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(InvalidInput, match="page_size"):
        page_request(-1, "")
